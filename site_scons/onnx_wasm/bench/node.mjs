// One start of a model in V8, through its package's own glue. Standard input: JSON { glue, module, params, inputs, warm,
// seconds, fewest, most }: paths (params: null if the module holds them), the file of each input's elements, the seconds
// that are run before anything counts and those that are measured, and how many runs at least and at most.
// Standard output: JSON { version, compile, instantiate, first, runs: [milliseconds], memory }.

import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";
import { setFlagsFromString } from "node:v8";

setFlagsFromString("--experimental-wasm-relaxed-simd"); // Node.js has it without a flag since 21

const { glue, module, params, inputs: files, warm, seconds, fewest, most } = JSON.parse(readFileSync(0, "utf8"));
const ARRAYS = {
  ...{ float32: Float32Array, float64: Float64Array, float16: Uint16Array, bool: Uint8Array },
  ...{ int8: Int8Array, int16: Int16Array, int32: Int32Array, int64: BigInt64Array },
  ...{ uint8: Uint8Array, uint16: Uint16Array, uint32: Uint32Array, uint64: BigUint64Array },
};

const { load, inputs } = await import(pathToFileURL(glue));
const given = Object.fromEntries(inputs.map((it) => [it.name, elements(files[it.name], ARRAYS[it.dtype])]));
const bytes = readFileSync(module);
const options = params === null ? {} : { params: readFileSync(params) };

function elements(file, ItsArray) {
  const data = readFileSync(file);
  return new ItsArray(data.buffer.slice(data.byteOffset, data.byteOffset + data.length));
}

async function timed(work) {
  const start = performance.now();
  const result = await work();
  return [performance.now() - start, result];
}

/** The milliseconds of each run, for so many seconds. */
function runs(seconds, fewest, most) {
  const times = [];
  const end = performance.now() + seconds * 1000;
  while (times.length < fewest || (times.length < most && performance.now() < end)) {
    const start = performance.now();
    model.run(given);
    times.push(performance.now() - start);
  }
  return times;
}

const [compile, compiled] = await timed(() => WebAssembly.compile(bytes));
const [instantiate, model] = await timed(() => load(compiled, options));
const [first] = await timed(() => model.run(given));
runs(warm, 1, Infinity); // V8 compiles once more what it sees to be busy
const found = runs(seconds, fewest, most);
const memory = Object.values(model.run(given, { views: true }))[0].buffer.byteLength;
process.stdout.write(JSON.stringify({ version: process.versions.node, compile, instantiate, first, runs: found, memory }));
