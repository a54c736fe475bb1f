#!/usr/bin/env bash
# Question: TensorFlow.js finds and judges faces in browsers. Where no graphics card is at hand it computes in plain JavaScript
#   (`cpu`) or in WebAssembly (`wasm`), which is the quicker. Is an answer the same on both?
# Guess before the run: to a thousandth, or a layer is missing on one of them, which is told by name.
# Found: six things are not, and nothing is told. In plain JavaScript `image.transform`, by which faces are aligned, aligns the first
#   face of a batch; all others are the fill colour from edge to edge, with one matrix for all and with one each. In WebAssembly
#   `image.rotateWithOffset` fills corners with 4294967296 where -1 was asked for, which is black for networks that take -1 to 1,
#   and with 0 where 0.5 was. A cast to booleans keeps the lowest byte of the whole part: 0.5 and 256 are false, and the sum of
#   three trues is 257. Pools whose size is rounded up ("ceil", as in Caffe's networks) compute as many places as if it were rounded
#   down and write them in a row, so that of a map of nine ones five are zeros, and places are moved. `dilation2d` starts from
#   1e-38, the least positive number, and no answer is less. relu6 and clipByValue make 0 of NaN, and relu does not, so that a
#   broken network looks whole.
#   So test on the backend that users get, in batches of more than one, and align on wasm.
# Versions: @tensorflow/tfjs-core, tfjs-backend-cpu and tfjs-backend-wasm 4.22.0, Node 20, Linux x86-64.
# Output seen (cpu, wasm):
#   brightness of eight aligned faces, eight matrices: 113.36 0 0 0 0 0 0 0, 113.36 111.54 110.04 108.85 107.98 107.31 107.26 107.25
#   brightness of eight aligned faces, one matrix: 110.04 0 0 0 0 0 0 0, 110.04 110.04 110.04 110.04 110.04 110.04 110.04 110.04
#   corner of a turned face, filled with 100: 100, 100
#   corner of a turned face, filled with -1: -1, 4294967296
#   corner of a turned face, filled with 0.5: 0.5, 0
#   0,0.5,1,254.5,256,-1 as booleans: 0 1 1 1 1 1, 0 0 1 254 0 255
#   sum of three trues, of 1, 1 and 255: 3, 257
#   average of ones, floor: 1 1 1 1, 1 1 1 1
#   greatest of 1 to 16, floor: 6 8 14 16, 6 8 14 16
#   average of ones, ceil: 1 1 1 1 1 1 1 1 1, 1 1 1 1 0 0 0 0 0
#   greatest of 1 to 16, ceil: 6 8 8 14 16 16 14 16 16, 6 8 14 16 0 0 0 0 0
#   dilation of a map of -9 to -1: -5 -4 -4 -2 -1 -1 -2 -1 -1, 0 0 0 0 0 0 0 0 0
#   relu of NaN and 7: NaN 7, NaN 7
#   relu6 of NaN and 7: NaN 6, 0 6
#   clipByValue of NaN and 7: NaN 6, 0 6
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --silent --no-audit --no-fund @tensorflow/tfjs-core@4.22.0 @tensorflow/tfjs-backend-cpu@4.22.0 \
    @tensorflow/tfjs-backend-wasm@4.22.0 > npm.log 2>&1
cat > compare.mjs <<'NODE'
import assert from "node:assert";
import { createRequire } from "node:module";
import path from "node:path";
import * as tf from "@tensorflow/tfjs-core";
import "@tensorflow/tfjs-backend-cpu";
import { setWasmPaths } from "@tensorflow/tfjs-backend-wasm";

const wasm = createRequire(import.meta.url).resolve("@tensorflow/tfjs-backend-wasm");
setWasmPaths(path.dirname(wasm) + "/");

/** What `compute` gives on each backend, in a flat array. */
async function both(compute) {
  const given = [];
  for (const name of ["cpu", "wasm"]) {
    await tf.setBackend(name);
    await tf.ready();
    given.push(Array.from(tf.tidy(compute).dataSync(), Number));
  }
  return given;
}

const words = (values) => values.map((value) => Number(value.toFixed(2))).join(" ");
async function show(name, compute) {
  const [cpu, wasm] = await both(compute);
  console.log(`${name}: ${words(cpu)}, ${words(wasm)}`);
  return [cpu, wasm];
}

// Eight faces of 32 by 32 pixels, each a bright disc; they are turned by their own angle about their middle.
const side = 32;
const disc = Array.from({ length: side * side }, (_, at) =>
  Math.hypot((at % side) - 15.5, Math.floor(at / side) - 15.5) < 12 ? 200 : 50);
const faces = () => tf.tensor(Array(8).fill(disc).flat(), [8, side, side, 1]);
const turn = (angle) => {
  const [c, s] = [Math.cos(angle), Math.sin(angle)];
  return [c, -s, 15.5 - 15.5 * c + 15.5 * s, s, c, 15.5 - 15.5 * s - 15.5 * c, 0, 0];
};
const angles = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8];
for (const [name, matrices] of [["eight matrices", angles.map(turn)], ["one matrix", [turn(0.3)]]]) {
  const align = () => tf.image.transform(faces(), tf.tensor2d(matrices), "bilinear", "constant", 0);
  const [cpu, wasm] = await show(`brightness of eight aligned faces, ${name}`, () => tf.mean(align(), [1, 2, 3]));
  assert(cpu[0] > 90 && cpu.slice(1).every((value) => value === 0) && wasm.every((value) => value > 90));
  const alone = () => tf.image.transform(tf.slice(faces(), [3], [1]), tf.tensor2d([turn(0.4)]), "bilinear", "constant", 0);
  const [first, second] = await both(alone);
  assert(first.every((value, at) => Math.abs(value - second[at]) < 0.01));
}

const corner = (fill) => () => tf.slice(tf.image.rotateWithOffset(tf.zeros([1, 9, 9, 1]), 0.7, fill), [0, 0, 0, 0], [1, 1, 1, 1]);
for (const [fill, filled] of [[100, 100], [-1, 4294967296], [0.5, 0]]) {
  const [cpu, wasm] = await show(`corner of a turned face, filled with ${fill}`, corner(fill));
  assert(cpu[0] === fill && wasm[0] === filled);
}

const values = [0, 0.5, 1, 254.5, 256, -1];
let [cpu, given] = await show(`${values} as booleans`, () => tf.cast(tf.tensor1d(values), "bool"));
assert.deepEqual([cpu, given], [[0, 1, 1, 1, 1, 1], [0, 0, 1, 254, 0, 255]]);
const trues = () => tf.sum(tf.cast(tf.cast(tf.tensor1d([1, 1, 255]), "bool"), "float32"));
[cpu, given] = await show("sum of three trues, of 1, 1 and 255", trues);
assert.deepEqual([cpu, given], [[3], [257]]);

const ramp = () => tf.reshape(tf.range(1, 17), [1, 4, 4, 1]);
for (const round of ["floor", "ceil"]) {
  [cpu, given] = await show(`average of ones, ${round}`, () => tf.avgPool(tf.ones([1, 4, 4, 1]), 3, 2, 1, round));
  assert(cpu.every((value) => value === 1) && given.every((value) => value === 1) === (round === "floor"));
  [cpu, given] = await show(`greatest of 1 to 16, ${round}`, () => tf.maxPool(ramp(), 3, 2, 1, round));
  assert.equal(String(cpu) === String(given), round === "floor");
}
[cpu, given] = await show("dilation of a map of -9 to -1", () =>
  tf.dilation2d(tf.reshape(tf.range(-9, 0), [1, 3, 3, 1]), tf.zeros([3, 3, 1]), 1, "same", 1));
assert(cpu.every((value) => value < 0) && given.every((value) => value > 0 && value < 1e-37));
for (const [name, compute] of [["relu", tf.relu], ["relu6", tf.relu6], ["clipByValue", (x) => tf.clipByValue(x, 0, 6)]]) {
  [cpu, given] = await show(`${name} of NaN and 7`, () => compute(tf.tensor1d([NaN, 7])));
  assert(Number.isNaN(cpu[0]) && Number.isNaN(given[0]) === (name === "relu"));
}
NODE
node compare.mjs 2> node.log || { grep -v ' Hi, looks' node.log; exit 1; }
