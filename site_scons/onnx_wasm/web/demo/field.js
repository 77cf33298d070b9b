// An input that is a tensor: a box for each element if they are few, else a text; or a file.

import { element, fileButton, legend } from "./dom.js";
import { array, numbers, parse, read } from "./tensors.js";

/** More elements than this are typed into one text. */
const MOST_BOXES = 24;

let fields = 0;

/**
 * Makes the widget of a tensor.
 * @param it The input.
 * @param fail Called with an Error if a file does not fit.
 */
export function field(it, fail) {
  const id = `field-${fields++}`;
  const note = element("p", { id: `${id}-note`, className: "help" });
  const boxes = it.size <= MOST_BOXES ? places(it.shape).map((place) => box(it, place, `${id}-note`)) : [];
  const text = element("textarea", { id, rows: 6, spellcheck: false, "aria-describedby": `${id}-note` });
  const typed = boxes.length || it.size === 0
    ? element("div", { className: it.dtype === "bool" ? "boxes switches" : "boxes" }, ...boxes.map((each) => each.element))
    : element("div", { className: "text" }, element("label", { for: id }, `${it.size.toLocaleString("en")} elements`), text);
  const buttons = element("div", { className: "buttons" }, fileButton("Choose a file…", {}, open));
  const widget = element("fieldset", { className: "field" }, legend(it), typed, note, buttons);
  let chosen = null; // the tensor of a file, until something is typed
  typed.addEventListener("input", forget);
  forget();

  function forget() {
    chosen = null;
    note.textContent = boxes.length
      ? "Or a file: NumPy's .npy, or the bare elements."
      : "Separated by spaces, commas or lines; zeros if left empty. Or a file: NumPy's .npy, or the bare elements.";
  }

  async function open(file) {
    try {
      chosen = read(it, new Uint8Array(await file.arrayBuffer()), file.name);
      const shown = numbers(it.dtype, chosen.subarray(0, boxes.length));
      boxes.forEach((each, index) => each.set(it.dtype.endsWith("64") ? chosen[index] : shown[index]));
      text.value = "";
      note.textContent = `${file.name}: ${it.size.toLocaleString("en")} elements.`;
    } catch (error) {
      fail(error);
    }
  }

  function value() {
    if (chosen) return chosen;
    const tensor = array(it.dtype, it.size);
    if (boxes.length) {
      boxes.forEach((each, index) => (tensor[index] = each.value()));
      return tensor;
    }
    const words = text.value.split(/[\s,;[\]]+/).filter(Boolean);
    text.setAttribute("aria-invalid", "true");
    if (words.length && words.length !== it.size) {
      throw new Error(`${it.name} has ${it.size} elements, and ${words.length} are given.`);
    }
    words.forEach((word, index) => (tensor[index] = parse(it.dtype, word, `${it.name}, element ${index}`)));
    text.removeAttribute("aria-invalid");
    return tensor;
  }

  return { element: widget, value, isEmpty: () => false };
}

/** The box of one element. */
function box(it, place, note) {
  const name = place.length ? `[${place.join(", ")}]` : "value";
  const input = it.dtype === "bool"
    ? element("input", { type: "checkbox", "aria-describedby": note })
    : element("input", { type: "text", inputMode: "decimal", autocomplete: "off", value: "0", "aria-describedby": note });
  const value = () => {
    if (it.dtype === "bool") return input.checked ? 1 : 0;
    input.setAttribute("aria-invalid", "true");
    const number = parse(it.dtype, input.value.trim(), `${it.name} ${name}`);
    input.removeAttribute("aria-invalid");
    return number;
  };
  const set = (number) => {
    if (it.dtype === "bool") input.checked = Boolean(number);
    else input.value = String(number);
    input.removeAttribute("aria-invalid");
  };
  return { element: element("label", {}, element("span", {}, name), input), value, set };
}

/** The indices of each element of a shape, in the order they are stored. */
function places(shape) {
  return shape.reduce((all, size) => all.flatMap((place) => Array.from({ length: size }, (_, i) => [...place, i])), [[]]);
}
