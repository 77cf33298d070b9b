// Pictures and tensors of every kind into a package for JavaScript: what it refuses it throws, and goes on.
// Arguments: the package, how many cases, a seed. Prints what came of them as JSON.

import { join } from "node:path";
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const [folder, cases, seed] = process.argv.slice(2);
const { load, ModelError } = await import(pathToFileURL(join(folder, "mnist.js")));

// The glue keeps the memory to itself: the instances that it makes are noted as it makes them.
const instances = [];
const { instantiate } = WebAssembly;
WebAssembly.instantiate = async (...given) => {
  const made = await instantiate(...given);
  instances.push(made.instance ?? made);
  return made;
};
WebAssembly.Instance = new Proxy(WebAssembly.Instance, {
  construct(Instance, given) {
    instances.push(new Instance(...given));
    return instances.at(-1);
  },
});
const memory = () => Math.max(...instances.map((it) => it.exports.memory.buffer.byteLength));

let state = Number(seed) >>> 0;
/** A number from 0 to below a limit: mulberry32. */
function below(limit) {
  state = (state + 0x6d2b79f5) >>> 0;
  let mixed = Math.imul(state ^ (state >>> 15), state | 1);
  mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
  return ((mixed ^ (mixed >>> 14)) >>> 0) % limit;
}
const oneOf = (...them) => them[below(them.length)];
const bytes = (size) => Uint8Array.from({ length: size }, () => below(256));

function tensor() {
  const size = oneOf(784, 784, 784, 783, 785, 0, 1);
  const values = [NaN, Infinity, -Infinity, -0, 1e38, -1e38, 1e-45, 0.5];
  return oneOf(
    () => new Float32Array(bytes(4 * size).buffer),
    () => Float32Array.from({ length: size }, () => oneOf(...values)),
    () => new Float32Array(784).fill(oneOf(...values)),
    () => new Float64Array(784),
    () => [...new Float32Array(784)],
    () => oneOf(null, undefined, 0, "784", {}, new ArrayBuffer(3136)),
  )();
}

function picture() {
  const side = () => oneOf(0, 1, 2, 27, 28, 29, 100, below(300), -1, NaN, 0.5, 4001, 65536, 2 ** 31, 2 ** 32 + 1);
  const [width, height] = [side(), side()];
  const fits = width * height * 4;
  const size = oneOf(fits, fits, fits, fits + 4, fits - 1, 64);
  const made = size >= 0 && size < 1e6 ? bytes(Math.floor(size)) : new Uint8Array(64);
  return { width, height, data: oneOf(made, made, new Uint8ClampedArray(made), [...made].slice(0, 16), null) };
}

const given = Float32Array.from({ length: 784 }, (_, index) => Math.abs(Math.sin(index)));
const module = await WebAssembly.compile(readFileSync(join(folder, "mnist.wasm")));
const largest = await load(module);
largest.run({ Input3: { width: 4000, height: 4000, data: new Uint8Array(4 * 16e6) } });
const bound = memory();
instances.length = 0;

const model = await load(module);
const expected = model.run({ Input3: given }).Plus214_Output_0.join();
const results = {};
const failures = [];
for (let number = 0; number < Number(cases); number += 1) {
  const inputs = { Input3: number % 2 ? tensor() : picture() };
  let came = "accepted";
  try {
    const { Plus214_Output_0: scores } = model.run(inputs);
    if (scores.length !== 10) failures.push(`case ${number}: ${scores.length} scores`);
  } catch (error) {
    came = error instanceof ModelError ? `ModelError ${error.code}` : error.constructor.name;
    if (!(error instanceof ModelError || error instanceof TypeError) || !error.message) failures.push(`case ${number}: ${error}`);
  }
  results[came] = (results[came] ?? 0) + 1;
  if (number % 100 === 0 && model.run({ Input3: given }).Plus214_Output_0.join() !== expected) {
    failures.push(`case ${number}: the model does not give what it gave before`);
  }
}
if (instances.length !== 1) failures.push(`${instances.length - 1} instances were made anew: a run trapped`);
process.stdout.write(JSON.stringify({ results, failures: failures.slice(0, 100), memory: memory(), bound }));
