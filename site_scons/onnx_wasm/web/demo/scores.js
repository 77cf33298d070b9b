// An output: bars if it is a row of scores, else its figures and first elements.

import { element } from "./dom.js";
import { numbers } from "./tensors.js";

/** As many scores are shown in their own order; of more, the best ones. */
const MOST_BARS = 12;
const MOST_SCORES = 100_000;
const MOST_ELEMENTS = 24;

/**
 * Makes the display of an output: `show` gives an element that says what is in it in short, `clear` empties it.
 * @param it The output.
 * @param changed Called when it wants to show the same in another way.
 */
export function scores(it, changed) {
  const isRow = it.size > 1 && it.size <= MOST_SCORES && it.shape.filter((size) => size > 1).length === 1 && it.dtype !== "bool";
  return isRow ? bars(it, changed) : figures(it);
}

function bars(it, changed) {
  const softmax = element("input", { type: "checkbox" });
  const body = element("tbody");
  const type = element("span", { className: "type" }, `${it.dtype} [${it.shape.join(", ")}]`);
  const table = element("table", { className: "bars" }, element("caption", {}, it.name, " ", type), body);
  const option = element("label", { className: "option" }, softmax, "As probabilities (softmax)");
  const widget = element("div", { className: "output" }, table, option);
  const rows = Array.from({ length: Math.min(it.size, MOST_BARS) }, () => {
    const cells = { name: element("th", { scope: "row" }), bar: element("span", { className: "bar" }), value: element("td", { className: "value" }) };
    const track = element("td", { className: "track", "aria-hidden": "true" }, cells.bar);
    cells.row = element("tr", {}, cells.name, track, cells.value);
    return cells;
  });
  body.append(...rows.map((cells) => cells.row));
  softmax.addEventListener("change", changed);

  function show(tensor) {
    const raw = numbers(it.dtype, tensor);
    const isDistribution = raw.every((value) => value >= 0 && value <= 1) && Math.abs(sum(raw) - 1) < 1e-3;
    option.hidden = isDistribution || !it.dtype.startsWith("float");
    const isShare = isDistribution || softmax.checked;
    const values = isShare && !isDistribution ? shares(raw) : raw;
    const order = raw.map((_, index) => index);
    const best = order.reduce((left, right) => (values[right] > values[left] || Number.isNaN(values[left]) ? right : left));
    if (order.length > MOST_BARS) order.sort((left, right) => values[right] - values[left]);
    const [low, high] = isShare ? [0, 1] : extremes(raw);
    const format = isShare ? percent : figure;
    rows.forEach((cells, index) => {
      const place = order[index];
      const [from, to] = [Math.min(values[place], 0), Math.max(values[place], 0)].map((value) => (value - low) / (high - low || 1));
      cells.name.textContent = place;
      cells.value.textContent = format(values[place]);
      cells.bar.style.left = `${100 * from}%`;
      cells.bar.style.width = `${100 * (to - from)}%`;
      cells.row.classList.toggle("best", place === best);
    });
    return Number.isNaN(values[best]) ? answer("NaN", it.name) : answer(best, format(values[best]));
  }

  function clear() {
    rows.forEach((cells, index) => {
      cells.name.textContent = it.size > MOST_BARS ? "–" : index;
      cells.value.textContent = "";
      cells.bar.style.width = "0";
      cells.row.classList.remove("best");
    });
  }

  clear();
  return { element: widget, show, clear };
}

function figures(it) {
  const list = element("p", { className: "elements" });
  const type = element("span", { className: "type" }, `${it.dtype} [${it.shape.join(", ")}]`);
  const widget = element("div", { className: "output" }, element("h3", {}, it.name, " ", type), list);

  function show(tensor) {
    const raw = numbers(it.dtype, tensor.subarray(0, MOST_ELEMENTS));
    const more = it.size > MOST_ELEMENTS ? `, … (${it.size.toLocaleString("en")} elements)` : "";
    list.textContent = raw.map(figure).join(", ") + more;
    return it.size === 1 ? answer(figure(raw[0]), it.name) : answer("Done", it.name);
  }

  return { element: widget, show, clear: () => (list.textContent = "") };
}

function answer(text, note) {
  return element("span", { className: "short" }, element("strong", {}, text), ` ${note} `);
}

/** Each element's share of the whole by softmax. */
function shares(values) {
  const most = values.reduce((left, right) => Math.max(left, right));
  const weights = values.map((value) => Math.exp(value - most));
  const whole = sum(weights);
  return weights.map((weight) => weight / whole);
}

/** The least and the largest of the values and 0. */
function extremes(values) {
  return values.reduce(([low, high], value) => [Math.min(low, value), Math.max(high, value)], [0, 0]);
}

function sum(values) {
  return values.reduce((whole, value) => whole + value, 0);
}

function percent(value) {
  return `${(100 * value).toFixed(1)} %`;
}

function figure(value) {
  const isPlain = Math.abs(value) >= 0.01 && Math.abs(value) < 1e6;
  const text = Number.isInteger(value) || !Number.isFinite(value) ? String(value) : isPlain ? value.toFixed(2) : value.toExponential(2);
  return text.replaceAll("-", "−");
}
