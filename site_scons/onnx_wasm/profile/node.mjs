// Times every call of kernels in V8. Standard input: JSON { modules: [{ module, driver, params, sizes, calls }],
// machine: { module, functions }, target }: paths, the sizes of the areas, the number of calls, the names of the
// functions, and the milliseconds that each is timed for at least. A machine need not be given.
// Standard output: JSON { version, milliseconds: of each call, then of a turn of each of the machine's functions }.

import { readFileSync } from "node:fs";
import { setFlagsFromString } from "node:v8";

setFlagsFromString("--experimental-wasm-relaxed-simd"); // Node.js has it without a flag since 21

const { modules, machine, target } = JSON.parse(readFileSync(0, "utf8"));
const ROUNDS = 7;

const compile = (path) => WebAssembly.compile(readFileSync(path));

/** For each call of a module what makes it, as often as it is told. */
async function functions({ module, driver, params, sizes, calls }) {
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
  return Array.from({ length: calls }, (_, index) => timed[index]);
}

function measure(call, times) {
  const start = performance.now();
  call(times);
  return performance.now() - start;
}

/** How often a call is made for a round to last. */
function enough(call) {
  let times = 1;
  while (measure(call, times) < target) times *= 2;
  return times;
}

/** The least of several rounds: what disturbs a run only ever makes it longer. */
function least(calls) {
  const times = calls.map(enough);
  const rounds = Array.from({ length: ROUNDS }, () => calls.map((call, index) => measure(call, times[index])));
  return calls.map((_, index) => Math.min(...rounds.map((took) => took[index])) / times[index]);
}

const timed = (await Promise.all(modules.map(functions))).flat();
for (const call of timed) call(2); // everything is compiled, the workspace holds real values
if (machine) {
  const { exports } = await WebAssembly.instantiate(await compile(machine.module));
  timed.push(...machine.functions.map((name) => exports[name]));
}
process.stdout.write(JSON.stringify({ version: process.versions.node, milliseconds: least(timed) }));
