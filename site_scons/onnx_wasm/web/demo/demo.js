// The page: inputs on one side, what the model makes of them on the other.

import { load, inputs, outputs } from "../__FILE__.js";
import { element } from "./dom.js";
import { field } from "./field.js";
import { pad } from "./pad.js";
import { scores } from "./scores.js";

/** A model that is this quick answers while a line is being drawn. */
const LIVE_MILLISECONDS = 10;

const [form, status, alert, results] = ["inputs", "status", "error", "outputs"].map((id) => document.getElementById(id));
const isAutomatic = inputs.every((it) => it.image);
let model;
let recent = 0; // milliseconds that runs take
let scheduled = 0;

const widgets = inputs.map((it) => (it.image ? pad(it, changed, fail) : field(it, fail)));
const displays = outputs.map((it) => scores(it, () => run()));
form.append(...widgets.map((it) => it.element));
results.append(...displays.map((it) => it.element));
if (!isAutomatic) {
  form.append(element("button", { className: "primary" }, "Run"));
}
form.addEventListener("submit", (event) => {
  event.preventDefault();
  run();
});
// A file that misses its place must not replace the page.
for (const kind of ["dragover", "drop"]) window.addEventListener(kind, (event) => event.preventDefault());

try {
  const start = performance.now();
  model = await load();
  status.textContent = `Ready: loaded in ${duration(performance.now() - start)}.`;
  document.body.dataset.ready = "";
} catch (error) {
  status.textContent = "The model could not be loaded.";
  fail(error);
}

/** Answers a picture that changed; while it still changes, at most once per frame. */
function changed(isFinal) {
  if (!isAutomatic || !model) return;
  cancelAnimationFrame(scheduled);
  if (isFinal) run();
  else if (recent < LIVE_MILLISECONDS) scheduled = requestAnimationFrame(() => run(false));
}

/** Runs the model on what the form holds; says what came of it only if that will stay. */
function run(isFinal = true) {
  if (!model) return;
  try {
    if (isAutomatic && widgets.some((it) => it.isEmpty())) {
      displays.forEach((it) => it.clear());
      status.textContent = "Draw or choose a picture.";
    } else {
      const given = Object.fromEntries(inputs.map((it, index) => [it.name, widgets[index].value()]));
      const start = performance.now();
      const found = model.run(given);
      const took = performance.now() - start;
      recent = Math.max(took, recent * 0.9);
      const said = outputs.map((it, index) => displays[index].show(found[it.name]));
      const short = said.length === 1 ? said[0] : "Done";
      if (isFinal) status.replaceChildren(short, element("span", { className: "time" }, duration(took)));
    }
    alert.hidden = true;
  } catch (error) {
    fail(error);
  }
}

/** Tells what went wrong. What was there before is no answer to it. */
function fail(error) {
  displays.forEach((it) => it.clear());
  if (model) status.textContent = "";
  alert.textContent = error.message;
  alert.hidden = false;
}

function duration(milliseconds) {
  if (milliseconds < 0.1) return "less than 0.1 ms";
  return `${milliseconds < 10 ? milliseconds.toFixed(1) : Math.round(milliseconds)} ms`;
}
