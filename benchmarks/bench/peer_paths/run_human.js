// Human's own path under Node, in its WASM build: each line of standard input is the path of a photo, each line of output an answer.
'use strict';
const fs = require('fs');
const http = require('http');
const path = require('path');
const readline = require('readline');
const tf = require('@tensorflow/tfjs');
const wasm = require('@tensorflow/tfjs-backend-wasm');
const sharp = require('sharp');

const packages = path.join(process.cwd(), 'node_modules');
// By its path: the package's exports do not name this build.
const { Human } = require(path.join(packages, '@vladmandic/human/dist/human.node-wasm.js'));
const models = path.join(packages, '@vladmandic/human/models');

async function main() {
  // The package loads its models over HTTP alone in this build.
  const server = http.createServer((request, response) => {
    fs.createReadStream(path.join(models, path.basename(request.url))).on('error', () => response.writeHead(404).end()).pipe(response);
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  wasm.setWasmPaths(path.join(packages, '@tensorflow/tfjs-backend-wasm/dist/'));
  const human = new Human({
    backend: 'wasm',
    wasmPath: path.join(packages, '@tensorflow/tfjs-backend-wasm/dist/'),
    modelBasePath: `http://127.0.0.1:${server.address().port}/`,
    cacheSensitivity: 0,
    skipAllowed: false,
    body: { enabled: false },
    hand: { enabled: false },
    gesture: { enabled: false },
    face: { enabled: true, detector: { maxDetected: 100, rotation: true }, emotion: { enabled: false }, iris: { enabled: false } },
  });
  await human.load();
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const { data, info } = await sharp(line).removeAlpha().toColourspace('srgb').raw().toBuffer({ resolveWithObject: true });
    const tensor = tf.tensor3d(data, [info.height, info.width, info.channels], 'int32');
    const result = await human.detect(tensor);
    tf.dispose(tensor);
    if (result.error) throw new Error(result.error);
    process.stdout.write(`${JSON.stringify({ faces: result.face.filter((one) => one.age !== undefined).length })}\n`);
  }
  server.close();
}

main();
