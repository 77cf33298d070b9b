// One model in one process: our modules and onnxruntime-web in turn, on the same input.
// Arguments: the package of the model, its name, onnxruntime-web, the ONNX file, and a folder with "inputs" and for results:
// raw files, the tensors of each in order.

import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { setFlagsFromString } from "node:v8";

const WARM_UP = 4000; // milliseconds
const SETTLED = 3000; // milliseconds
const RUNS = 25;
const MEASURED = 4000; // milliseconds: small models are run more often

setFlagsFromString("--experimental-wasm-relaxed-simd"); // Node.js has it without a flag since 21

const [folder, name, onnxruntime, onnx, results] = process.argv.slice(2);
const { load, inputs, outputs } = await import(pathToFileURL(join(folder, `${name}.js`)));
const ort = await import(pathToFileURL(join(onnxruntime, "dist/ort.wasm.bundle.min.mjs")));
const [module, relaxedModule, model, runtime] = [
  ...[`${name}.wasm`, `${name}.relaxed-simd.wasm`].map((file) => join(folder, file)),
  ...[onnx, join(onnxruntime, "dist/ort-wasm-simd-threaded.wasm")],
].map((it) => readFileSync(it));
Object.assign(ort.env.wasm, { numThreads: 1, wasmBinary: runtime });

const ARRAYS = { float32: Float32Array, int64: BigInt64Array, int32: Int32Array };
const { buffer: stored, byteOffset } = readFileSync(join(results, "inputs"));
let read = byteOffset;
const given = Object.fromEntries(inputs.map(({ name, dtype, size }) => {
  const tensor = new ARRAYS[dtype](stored.slice(read, read += size * ARRAYS[dtype].BYTES_PER_ELEMENT));
  return [name, tensor];
}));

async function timed(work) {
  const start = performance.now();
  const result = await work();
  return [performance.now() - start, result];
}

const [theirFirst, theirs] = await timed(async () => {
  const session = await ort.InferenceSession.create(model, { executionProviders: ["wasm"], graphOptimizationLevel: "all" });
  const feeds = Object.fromEntries(inputs.map((it) => [it.name, new ort.Tensor(it.dtype, given[it.name], it.shape)]));
  const run = () => session.run(feeds);
  return { run, result: await run() };
});
await new Promise((done) => setTimeout(done, SETTLED)); // V8 still compiles theirs, beside what would be timed
const [ourFirst, ours] = await timed(() => started(module));
const relaxed = await started(relaxedModule);

async function started(source) {
  const loaded = await load(source);
  const run = () => loaded.run(given);
  return { run, result: run() };
}

let difference = 0;
for (const it of outputs) {
  const expected = theirs.result[it.name].data;
  const largest = expected.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  for (const { result } of [ours, relaxed]) {
    result[it.name].forEach((value, index) => {
      difference = Math.max(difference, Math.abs(value - expected[index]) / largest);
    });
  }
}

const written = { inputs: inputs.map((it) => given[it.name]), simd: of(ours), relaxed: of(relaxed) };
for (const [file, tensors] of Object.entries(written)) writeFileSync(join(results, file), Buffer.concat(tensors.map(bytes)));

function of({ result }) {
  return outputs.map((it) => result[it.name]);
}

function bytes({ buffer, byteOffset, byteLength }) {
  return Buffer.from(buffer, byteOffset, byteLength);
}

// V8 compiles once more what runs often, beside the runs.
const warm = performance.now() + WARM_UP;
while (performance.now() < warm) {
  await theirs.run();
  ours.run();
  relaxed.run();
}

const [theirTimes, ourTimes, relaxedTimes] = [[], [], []];
const end = performance.now() + MEASURED;
while (ourTimes.length < RUNS || performance.now() < end) {
  theirTimes.push((await timed(theirs.run))[0]);
  ourTimes.push((await timed(async () => ours.run()))[0]);
  relaxedTimes.push((await timed(async () => relaxed.run()))[0]);
}
const median = (times) => times.sort((a, b) => a - b)[times.length >> 1];
process.stdout.write(JSON.stringify({
  ...{ ours: median(ourTimes), oursRelaxed: median(relaxedTimes), theirs: median(theirTimes) },
  ...{ ourFirst, theirFirst, difference },
}));
