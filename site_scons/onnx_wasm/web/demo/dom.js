// Making elements.

/** An element with properties and children; names with a dash are attributes. */
export function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.includes("-") || name === "role" || name === "for") made.setAttribute(name, value);
    else made[name] = value;
  }
  made.append(...children);
  return made;
}

/** A button that looks like the others and opens a chooser of files. */
export function fileButton(text, properties, chosen) {
  const input = element("input", { type: "file", className: "hidden", ...properties });
  input.addEventListener("change", () => {
    if (input.files.length) chosen(input.files[0]);
    input.value = "";
  });
  return element("label", { className: "button" }, text, input);
}

/** What stands above an input: its name, dtype and shape. */
export function legend(it) {
  const type = element("span", { className: "type" }, `${it.dtype} [${it.shape.join(", ")}]`);
  return element("legend", {}, it.name, " ", type);
}
