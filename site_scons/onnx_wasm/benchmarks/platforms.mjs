// The time to a first result in a fresh process: ours, then that of onnxruntime-web, both from bytes that are there.
// Arguments: the package of the model, onnxruntime-web, the ONNX file.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const [folder, onnxruntime, onnx] = process.argv.slice(2);
const { load } = await import(pathToFileURL(join(folder, "mnist.js")));
const ort = await import(pathToFileURL(join(onnxruntime, "dist/ort.wasm.bundle.min.mjs")));
const [module, model, runtime] =
  [join(folder, "mnist.wasm"), onnx, join(onnxruntime, "dist/ort-wasm-simd-threaded.wasm")].map((it) => readFileSync(it));
Object.assign(ort.env.wasm, { numThreads: 1, wasmBinary: runtime });
const Input3 = Float32Array.from({ length: 784 }, (_, index) => Math.abs(Math.sin(index)));

async function timed(work) {
  const start = performance.now();
  const result = await work();
  return [performance.now() - start, result];
}

const [ours, found] = await timed(async () => (await load(module)).run({ Input3 }).Plus214_Output_0);
const [theirs, expected] = await timed(async () => {
  const session = await ort.InferenceSession.create(model, { executionProviders: ["wasm"] });
  return (await session.run({ Input3: new ort.Tensor("float32", Input3, [1, 1, 28, 28]) })).Plus214_Output_0.data;
});
const difference = Math.max(...found.map((value, index) => Math.abs(value - expected[index])));
process.stdout.write(JSON.stringify({ ours, theirs, difference }));
