// An input that is a picture: draw it with a pointer or with keys, drop a file on it, or choose one.

import { element, fileButton, legend } from "./dom.js";

/** Width or height that a small picture is drawn at, in pixels of the canvas. */
const LARGE = 280;

/** Width of the pen, as a part of the smaller side. */
const PEN = 0.1;

/** How far an arrow key goes, as a part of the smaller side. */
const STEP = 1 / 28;

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const INKS = { "White on black": ["#fff", "#000"], "Black on white": ["#000", "#fff"] };

let pads = 0;

/**
 * Makes the widget of a picture.
 * @param it The input.
 * @param changed Called when the picture is another: with false while a line is being drawn, else with true.
 * @param fail Called with an Error if a file is not a picture.
 */
export function pad(it, changed, fail) {
  const id = `pad-${pads++}`;
  const { width, height, color } = it.image;
  const zoom = Math.max(1, Math.floor(LARGE / Math.max(width, height)));
  const canvas = element("canvas", {
    id, width: width * zoom, height: height * zoom, tabIndex: 0,
    role: "application", "aria-label": `Picture for ${it.name}`, "aria-describedby": `${id}-help`,
  });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  const step = STEP * Math.min(canvas.width, canvas.height);
  const cursor = element("span", { className: "cursor", "aria-hidden": "true" });
  const inks = element("fieldset", { className: "inks" }, element("legend", { className: "hidden" }, "Pen"));
  let [ink, paper] = Object.values(INKS)[color === "gray" ? 0 : 1];
  let chosen = null; // the file's picture, until it is drawn on
  let isEmpty = true;
  let isDown = false; // the keys' pen
  let at = [canvas.width / 2, canvas.height / 2];

  for (const [name, colours] of Object.entries(INKS)) {
    const radio = element("input", { type: "radio", name: `${id}-ink`, checked: colours[0] === ink });
    radio.addEventListener("change", () => {
      [ink, paper] = colours;
      clear();
    });
    inks.append(element("label", {}, radio, name));
  }
  const clearButton = element("button", { type: "button", className: "button" }, "Clear");
  clearButton.addEventListener("click", clear);
  const surface = element("div", { className: "surface" }, canvas, cursor);
  const help = element("p", { id: `${id}-help`, className: "help" },
    "Draw here, drop a picture, or choose one. With keys: arrows move the pen, ",
    element("kbd", {}, "Space"), " lowers and lifts it, ", element("kbd", {}, "Delete"), " clears.");
  const buttons = element("div", { className: "buttons" },
    fileButton("Choose a picture…", { accept: "image/*" }, open), clearButton);
  const widget = element("fieldset", { className: "pad" }, legend(it), surface, help, buttons, inks);

  function clear() {
    chosen?.close();
    [chosen, isEmpty] = [null, true];
    context.fillStyle = paper;
    context.fillRect(0, 0, canvas.width, canvas.height);
    changed(true);
  }

  function line(from, to) {
    chosen?.close();
    [chosen, isEmpty] = [null, false];
    Object.assign(context, { strokeStyle: ink, lineCap: "round", lineWidth: PEN * Math.min(canvas.width, canvas.height) });
    context.beginPath();
    context.moveTo(...from);
    context.lineTo(...to);
    context.stroke();
  }

  async function open(file) {
    let picture;
    try {
      // The pixels as they are in the file, as a module that decodes it itself would have them.
      picture = await createImageBitmap(file, { colorSpaceConversion: "none", premultiplyAlpha: "none" });
    } catch {
      fail(new Error(`${file.name} is not a picture that this browser can read.`));
      return;
    }
    chosen?.close();
    [chosen, isEmpty] = [picture, false];
    context.imageSmoothingQuality = "high";
    context.fillStyle = paper;
    context.fillRect(0, 0, canvas.width, canvas.height);
    context.drawImage(picture, 0, 0, canvas.width, canvas.height);
    changed(true);
  }

  /** A file's picture as it is; a drawing as large as the model takes it, where its edges are smooth. */
  function value() {
    if (chosen) return chosen;
    const small = Object.assign(document.createElement("canvas"), { width, height });
    const reduced = small.getContext("2d", { willReadFrequently: true });
    reduced.imageSmoothingQuality = "high";
    reduced.drawImage(canvas, 0, 0, width, height);
    return reduced.getImageData(0, 0, width, height);
  }

  // The pointer

  let last = null;
  const place = (event) => {
    const box = canvas.getBoundingClientRect();
    return [
      ((event.clientX - box.left) / box.width) * canvas.width,
      ((event.clientY - box.top) / box.height) * canvas.height,
    ];
  };
  canvas.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || last) return;
    canvas.setPointerCapture(event.pointerId);
    last = { id: event.pointerId, at: place(event) };
    line(last.at, last.at);
    changed(false);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (event.pointerId !== last?.id) return;
    const events = event.getCoalescedEvents?.() ?? [];
    for (const each of events.length ? events : [event]) {
      const next = place(each);
      line(last.at, next);
      last.at = next;
    }
    changed(false);
  });
  for (const kind of ["pointerup", "pointercancel"]) {
    canvas.addEventListener(kind, (event) => {
      if (event.pointerId !== last?.id) return;
      last = null;
      changed(true);
    });
  }

  // The keys

  function showCursor() {
    cursor.style.left = `${(100 * at[0]) / canvas.width}%`;
    cursor.style.top = `${(100 * at[1]) / canvas.height}%`;
    cursor.classList.toggle("down", isDown);
  }
  canvas.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key in ARROWS) {
      const [x, y] = ARROWS[event.key];
      const limit = (place, size) => Math.min(Math.max(place, 0), size);
      const next = [limit(at[0] + x * step, canvas.width), limit(at[1] + y * step, canvas.height)];
      if (isDown) line(at, next);
      at = next;
      if (isDown) changed(true);
    } else if (event.key === " ") {
      isDown = !isDown && !event.repeat;
      if (isDown) {
        line(at, at);
        changed(true);
      }
    } else if (event.key === "Delete" || event.key === "Backspace") {
      isDown = false;
      clear();
    } else {
      return;
    }
    event.preventDefault();
    showCursor();
  });
  canvas.addEventListener("blur", () => {
    isDown = false;
    showCursor();
  });

  // Files

  for (const kind of ["dragenter", "dragover"]) {
    surface.addEventListener(kind, (event) => {
      event.preventDefault();
      surface.classList.add("target");
    });
  }
  for (const kind of ["dragleave", "drop"]) surface.addEventListener(kind, () => surface.classList.remove("target"));
  surface.addEventListener("drop", (event) => {
    const [file] = event.dataTransfer.files;
    if (file) open(file);
  });

  showCursor();
  clear();
  return { element: widget, value, isEmpty: () => isEmpty };
}
