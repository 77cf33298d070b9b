// Times every call of a model's kernels in V8. Standard input: JSON { module, driver, peak, params, sizes, calls, target }:
// paths, the sizes of the areas, the number of calls, and the milliseconds that each is timed for at least.
// Standard output: JSON { version, calls: [milliseconds], peak: milliseconds of a turn of its loop }.

import { readFileSync } from "node:fs";
import { setFlagsFromString } from "node:v8";

setFlagsFromString("--experimental-wasm-relaxed-simd"); // Node.js has it without a flag since 21

const { module, driver, peak, params, sizes, calls, target } = JSON.parse(readFileSync(0, "utf8"));
const ROUNDS = 7;

const compile = (path) => WebAssembly.compile(readFileSync(path));
const { exports: model } = await WebAssembly.instantiate(await compile(module));
const areas = {};
let end = model.__heap_base.value;
for (const [area, size] of Object.entries(sizes)) {
  areas[area] = Math.ceil(end / 64) * 64;
  end = areas[area] + size;
}
const missing = end - model.memory.buffer.byteLength;
if (missing > 0) model.memory.grow(Math.ceil(missing / 65536));
new Uint8Array(model.memory.buffer).set(readFileSync(params), areas.params);
const { exports: timed } = await WebAssembly.instantiate(await compile(driver), { areas, model });
const { exports: registers } = await WebAssembly.instantiate(await compile(peak));

function measure(call, times) {
  const start = performance.now();
  call(times);
  return performance.now() - start;
}

/** The least of several rounds: what disturbs a run only ever makes it longer. */
function best(call) {
  let times = 1;
  let took = measure(call, 1);
  while (took < target) {
    times *= 2;
    took = measure(call, times);
  }
  const rounds = Array.from({ length: ROUNDS }, () => measure(call, times));
  return Math.min(took, ...rounds) / times;
}

for (let index = 0; index < calls; index++) timed[index](2); // everything is compiled, the workspace holds real values
const found = Array.from({ length: calls }, (_, index) => best(timed[index]));
process.stdout.write(JSON.stringify({ version: process.versions.node, calls: found, peak: best(registers.peak) }));
