// The model __NAME__ as a function: load it once, run it on typed arrays or pictures. README.md shows how.

const MODEL = __MODEL__;

const EXPORTS = ["memory", "inputs", "outputs", "run", "allocate", "release", "picture",
  ...(MODEL.paramsSize === null ? [] : ["params", "check_params"])];
const IMAGE_TOO_LARGE = -15;
const OUT_OF_MEMORY = -16;
const MODEL_FAILED = -17;
const WRONG_PARAMS = -26;

/** The element type of each dtype: the array that holds it, and others that are taken for it. */
const ARRAYS = {
  float32: [Float32Array],
  float64: [Float64Array],
  float16: [Uint16Array, ...(typeof Float16Array === "undefined" ? [] : [Float16Array])],
  int8: [Int8Array],
  int16: [Int16Array],
  int32: [Int32Array],
  int64: [BigInt64Array],
  uint8: [Uint8Array],
  uint16: [Uint16Array],
  uint32: [Uint32Array],
  uint64: [BigUint64Array],
  bool: [Uint8Array],
};

/** What the model takes, in order. */
export const inputs = MODEL.inputs;

/** What the model gives, in order. */
export const outputs = MODEL.outputs;

/** The module could not do its work; `code` says why, as a number below 0. */
export class ModelError extends Error {
  constructor(code, where, options) {
    super(`${where}: ${MODEL.statuses[code] ?? "the module gave a code that it does not document"} (${code})`, options);
    this.name = "ModelError";
    this.code = code;
  }
}

/**
 * Loads the model.
 * @param source The module: its URL, the response to a request for it, its bytes, or the module compiled.
 *   Without one, the file beside this one.
 * @param options `params`: the weights, if the module does not hold them: their URL, the response to a request for
 *   them, or their bytes. Without them, the file beside this one.
 */
export async function load(source = __SOURCE__, options = {}) {
  const weights = MODEL.paramsSize === null ? null : (options.params ?? new URL("./__FILE__.params", import.meta.url));
  // Both at once: over a network, each takes its time.
  const [module, parts] = await Promise.all([Promise.resolve(source).then(compile), Promise.resolve(weights).then(partsOf)]);
  const missing = EXPORTS.filter((name) => !WebAssembly.Module.exports(module).some((it) => it.name === name));
  if (missing.length || WebAssembly.Module.imports(module).length) {
    throw new Error(`this is not the module of ${MODEL.name} for the web: it ${
      missing.length ? `does not export ${missing.join(", ")}` : "has imports"}`);
  }
  const { exports } = await WebAssembly.instantiate(module);
  if (parts) await fill(exports, parts);
  return new Model(module, exports);
}
__RELAXEDCHECK__
async function compile(source) {
  if (source instanceof WebAssembly.Module) return source;
  if (source instanceof ArrayBuffer || ArrayBuffer.isView(source)) return WebAssembly.compile(source);
  if (typeof source === "string" || source instanceof URL) {
    const url = located(source);
    if (url.protocol !== "file:") return compile(await fetch(url));
    const { readFile } = await import(/* webpackIgnore: true */ /* @vite-ignore */ "node:fs/promises");
    return WebAssembly.compile(await readFile(url));
  }
  // Last, as Node.js takes longer to get its Response ready than a small model to answer.
  if (isResponse(source)) {
    const type = received(source).headers.get("Content-Type") ?? "";
    if (type.startsWith("application/wasm")) return WebAssembly.compileStreaming(source);
    return WebAssembly.compile(await source.arrayBuffer());
  }
  throw new TypeError("load() takes a URL, a Response, an ArrayBuffer or a WebAssembly.Module");
}

/** The bytes of a source, in parts as they come, so that large weights need not be held twice. */
async function partsOf(source) {
  if (source === null) return null;
  if (source instanceof ArrayBuffer) return [new Uint8Array(source)];
  if (ArrayBuffer.isView(source)) return [new Uint8Array(source.buffer, source.byteOffset, source.byteLength)];
  if (typeof source === "string" || source instanceof URL) {
    const url = located(source);
    return url.protocol === "file:" ? fileOf(url) : partsOf(await fetch(url));
  }
  if (isResponse(source)) return bodyOf(received(source));
  throw new TypeError("the params of load() are a URL, a Response or an ArrayBuffer");
}

async function* fileOf(url) {
  const { createReadStream } = await import(/* webpackIgnore: true */ /* @vite-ignore */ "node:fs");
  yield* createReadStream(url);
}

/** The parts of a body: not every browser iterates over its stream. */
async function* bodyOf({ body }) {
  const reader = body?.getReader();
  try {
    for (let it = await reader?.read(); it && !it.done; it = await reader.read()) yield it.value;
  } finally {
    reader?.cancel().catch(() => {}); // what is wrong with it was told before
  }
}

function located(source) {
  return new URL(source, globalThis.location?.href);
}

function isResponse(source) {
  return typeof Response !== "undefined" && source instanceof Response;
}

function received(response) {
  if (!response.ok) throw new Error(`${response.url}: ${response.status} ${response.statusText}`.trim());
  return response;
}

/** Gives a module its weights. */
async function fill(exports, parts) {
  const place = weightsOf(exports);
  let size = 0;
  for await (const part of parts) {
    if (part.length > place.length - size) throw new ModelError(WRONG_PARAMS, MODEL.name);
    place.set(part, size);
    size += part.length;
  }
  if (size < place.length) throw new ModelError(WRONG_PARAMS, MODEL.name);
  succeed(exports.check_params(), MODEL.name);
}

/** Where the weights stand in a module's memory. */
function weightsOf(exports) {
  const address = exports.params() >>> 0;
  if (address === 0) throw new ModelError(OUT_OF_MEMORY, MODEL.name);
  return new Uint8Array(exports.memory.buffer, address, MODEL.paramsSize);
}

/** A loaded model. It runs one thing at a time, and can be used again after it has thrown. */
class Model {
  #module;
  #exports;

  constructor(module, exports) {
    this.#module = module;
    this.#exports = exports;
  }

  /**
   * Runs the model once.
   * @param given A typed array for each input, or a picture where the input is one.
   * @param options `views: true` gives the outputs where they stand in the module's memory, until the next run.
   */
  run(given, options = {}) {
    const tensors = check(given).map(([it, value]) => [it, isPicture(value) ? pixels(it, value) : value]);
    try {
      const start = this.#place("inputs");
      // Pictures come last: making room for one may detach the memory that another run's outputs are views of.
      for (const [it, value] of tensors) if (!isPicture(value)) this.#write(it, start, value);
      for (const [it, value] of tensors) if (isPicture(value)) this.#draw(it, value);
      succeed(this.#exports.run(), MODEL.name);
      return this.#read(options.views === true);
    } catch (error) {
      if (error instanceof ModelError) throw error;
      // It trapped, and what it was doing is left half done: begin with a new instance.
      const { exports } = new WebAssembly.Instance(this.#module);
      if (MODEL.paramsSize !== null) {
        weightsOf(exports).set(weightsOf(this.#exports));
        succeed(exports.check_params(), MODEL.name);
      }
      this.#exports = exports;
      throw new ModelError(MODEL_FAILED, MODEL.name, { cause: error });
    }
  }

  /** The address of the area that holds all inputs or all outputs. */
  #place(area) {
    const address = this.#exports[area]() >>> 0;
    if (address === 0) throw new ModelError(OUT_OF_MEMORY, MODEL.name);
    return address;
  }

  #write(it, start, value) {
    const ItsArray = ARRAYS[it.dtype].find((array) => array.name === kind(value));
    const array = new ItsArray(this.#exports.memory.buffer, start + it.offset, it.size);
    if (it.dtype === "bool") value.forEach((element, index) => (array[index] = element ? 1 : 0));
    else array.set(value);
  }

  #draw(it, { data, width, height }) {
    const address = this.#exports.allocate(data.length) >>> 0;
    if (address === 0) throw new ModelError(OUT_OF_MEMORY, it.name);
    try {
      new Uint8Array(this.#exports.memory.buffer, address, data.length).set(data);
      succeed(this.#exports.picture(inputs.indexOf(it), address, width, height), it.name);
    } finally {
      this.#exports.release(address, data.length);
    }
  }

  #read(views) {
    const start = this.#place("outputs");
    return Object.fromEntries(outputs.map((it) => {
      const array = new ARRAYS[it.dtype][0](this.#exports.memory.buffer, start + it.offset, it.size);
      return [it.name, views ? array : array.slice()];
    }));
  }
}

function succeed(status, where) {
  if (status < 0) throw new ModelError(status, where);
}

/** Pairs each input with its value, or throws all that is wrong with them. */
function check(given) {
  if (given === null || typeof given !== "object") throw new TypeError(`run() takes an object: ${expected()}`);
  const problems = Object.keys(given)
    .filter((name) => !inputs.some((it) => it.name === name))
    .map((name) => `there is no input ${JSON.stringify(name)}`);
  const tensors = inputs.map((it) => {
    const value = Object.hasOwn(given, it.name) ? given[it.name] : undefined;
    const problem = value === undefined ? "is missing" : wrong(it, value);
    if (problem) problems.push(`input ${JSON.stringify(it.name)} ${problem}`);
    return [it, value];
  });
  if (problems.length) throw new TypeError(`${problems.join("; ")}. ${MODEL.name} takes ${expected()}`);
  return tensors;
}

function wrong(it, value) {
  if (isPicture(value)) {
    if (!it.image) return "is not a picture";
    const { width, height, data } = value;
    if (!(Number.isSafeInteger(width) && Number.isSafeInteger(height) && width > 0 && height > 0)) {
      return "is a picture without pixels";
    }
    if (width * height > it.image.maxPixels) throw new ModelError(IMAGE_TOO_LARGE, it.name);
    if (data === undefined) return "";
    if (!["Uint8ClampedArray", "Uint8Array"].includes(kind(data))) return "is a picture of other than 8 bits a channel";
    return data.length === width * height * 4 ? "" : `has ${data.length} bytes, not ${width} × ${height} × 4`;
  }
  const names = ARRAYS[it.dtype].map((array) => array.name);
  if (!names.includes(kind(value))) return `is ${kind(value)}, not ${names.join(" or ")}`;
  return value.length === it.size ? "" : `has ${value.length} elements, not ${it.size}`;
}

/** What a value is called; typed arrays by their class, whichever window they are from. */
function kind(value) {
  if (ArrayBuffer.isView(value)) return value[Symbol.toStringTag] ?? "DataView";
  return value === null ? "null" : typeof value;
}

function expected() {
  return `{ ${inputs.map((it) => `${JSON.stringify(it.name)}: ${it.dtype}[${it.shape}]`).join(", ")} }`;
}

/** Whether a value has a width and a height: ImageData, ImageBitmap, a canvas. */
function isPicture(value) {
  return typeof value === "object" && value !== null && "width" in value && "height" in value;
}

/** The pixels of a picture, four bytes each: red, green, blue, alpha. */
function pixels(it, picture) {
  if (picture.data) return picture;
  const { width, height } = picture;
  let canvas;
  if (typeof OffscreenCanvas !== "undefined") canvas = new OffscreenCanvas(width, height);
  else if (typeof document !== "undefined") canvas = Object.assign(document.createElement("canvas"), { width, height });
  const context = canvas?.getContext("2d", { willReadFrequently: true });
  if (!context) throw new TypeError(`input ${JSON.stringify(it.name)}: this place has no canvas; give an ImageData`);
  context.drawImage(picture, 0, 0);
  return context.getImageData(0, 0, width, height);
}
