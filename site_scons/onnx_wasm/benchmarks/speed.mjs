// One model in one process: our module and onnxruntime-web in turn, on the same input.
// Arguments: the package of the model, its name, onnxruntime-web, the ONNX file, the number of runs.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const [folder, name, onnxruntime, onnx, runs] = process.argv.slice(2);
const { load, inputs, outputs } = await import(pathToFileURL(join(folder, `${name}.js`)));
const ort = await import(pathToFileURL(join(onnxruntime, "dist/ort.wasm.bundle.min.mjs")));
const [module, model, runtime] =
  [join(folder, `${name}.wasm`), onnx, join(onnxruntime, "dist/ort-wasm-simd-threaded.wasm")].map((it) => readFileSync(it));
Object.assign(ort.env.wasm, { numThreads: 1, wasmBinary: runtime });

const given = Object.fromEntries(inputs.map((it) =>
  [it.name, Float32Array.from({ length: it.size }, (_, index) => Math.sin(index * 0.37) / 2 + 0.5)]));

async function timed(work) {
  const start = performance.now();
  const result = await work();
  return [performance.now() - start, result];
}

const [theirFirst, theirs] = await timed(async () => {
  const session = await ort.InferenceSession.create(model, { executionProviders: ["wasm"], graphOptimizationLevel: "all" });
  const feeds = Object.fromEntries(inputs.map((it) => [it.name, new ort.Tensor("float32", given[it.name], it.shape)]));
  const run = () => session.run(feeds);
  return { run, result: await run() };
});
const [ourFirst, ours] = await timed(async () => {
  const loaded = await load(module);
  const run = () => loaded.run(given);
  return { run, result: run() };
});

let difference = 0;
for (const it of outputs) {
  const expected = theirs.result[it.name].data;
  const largest = expected.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  ours.result[it.name].forEach((value, index) => {
    difference = Math.max(difference, Math.abs(value - expected[index]) / largest);
  });
}

const [theirTimes, ourTimes] = [[], []];
for (let index = 0; index < Number(runs); index++) {
  theirTimes.push((await timed(theirs.run))[0]);
  ourTimes.push((await timed(async () => ours.run()))[0]);
}
const median = (times) => times.sort((a, b) => a - b)[times.length >> 1];
process.stdout.write(JSON.stringify(
  { ours: median(ourTimes), theirs: median(theirTimes), ourFirst, theirFirst, difference }));
