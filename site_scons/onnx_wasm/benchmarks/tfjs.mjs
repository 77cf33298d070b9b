// mnist in TensorFlow.js and as our module, in turn; prints their time as a share of ours.
// Arguments: the package of our module, the folder with "inputs" and "tfjs", which are raw float32, and the folders of
// tfjs-core and tfjs-backend-wasm.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { pathToFileURL } from "node:url";

const RUNS = 500;

const [folder, data, core, backend] = process.argv.slice(2);
const nodes = createRequire(import.meta.url);
const tf = loaded(join(core, "dist/tf-core.js"), {});
const wasm = loaded(join(backend, "dist/tf-backend-wasm.node.js"), { "@tensorflow/tfjs-core": tf });
wasm.setWasmPaths(join(backend, "dist/"));
await tf.setBackend("wasm");

/** A script that is loaded without the packages that it names but does not need here. */
function loaded(file, known) {
  const module = { exports: {} };
  const text = readFileSync(file, "utf8");
  new Function("module", "exports", "require", "__dirname", "__filename", text)(
    module, module.exports, (name) => known[name] ?? nodes(name), dirname(file), file);
  return module.exports;
}

function floats(name) {
  const { buffer, byteOffset, byteLength } = readFileSync(join(data, name));
  return new Float32Array(buffer.slice(byteOffset, byteOffset + byteLength));
}

const weights = floats("tfjs");
let read = 0;
const tensor = (...shape) => tf.tensor(weights.slice(read, read += shape.reduce((a, b) => a * b)), shape);
const [w1, b1, w2, b2, w3, b3] =
  [[5, 5, 1, 8], [8], [5, 5, 8, 16], [16], [256, 10], [1, 10]].map((shape) => tensor(...shape));
const picture = floats("inputs");

function theirs() {
  return tf.tidy(() => {
    const x = tf.tensor(picture, [1, 28, 28, 1]);
    const half = tf.maxPool(tf.relu(tf.add(tf.conv2d(x, w1, 1, "same"), b1)), 2, 2, "valid");
    const few = tf.maxPool(tf.relu(tf.add(tf.conv2d(half, w2, 1, "same"), b2)), 3, 3, "valid");
    return tf.add(tf.matMul(tf.reshape(few, [1, 256]), w3), b3).dataSync();
  });
}

const { load, inputs, outputs } = await import(pathToFileURL(join(folder, "mnist.js")));
const model = await load();
const ours = () => model.run({ [inputs[0].name]: picture })[outputs[0].name];

const [expected, found] = [ours(), theirs()];
const largest = Math.max(...expected.map(Math.abs));
if (!expected.every((value, index) => Math.abs(value - found[index]) < 1e-4 * largest)) {
  throw new Error(`${[...found]} is not ${[...expected]}`);
}

const [theirTimes, ourTimes] = [[], []];
for (let index = 0; index < RUNS; index++) {
  for (const [run, times] of [[theirs, theirTimes], [ours, ourTimes]]) {
    const start = performance.now();
    run();
    times.push(performance.now() - start);
  }
}
const median = (times) => times.sort((a, b) => a - b)[times.length >> 1];
process.stdout.write(String(median(theirTimes) / median(ourTimes)));
