#!/usr/bin/env bash
# Question: face-api tells by how much each head is turned (`angle.yaw`), beside roll and pitch: "in radians in range of -pi/2 to
#   pi/2". Programs take faces that look at the camera by a bound on it. Is it the same angle when the photo is smaller or larger?
# Guess before the run: to three degrees; the landmarks are shares of the face's box.
# Found: it is no angle. It is how far the nose lies from one side of the face, less how far from the other, in pixels. So a photo
#   of half the size has half the yaw, and one of twice the size twice as much: one head of eleven has -43, -86 and -173. By a bound
#   of 20 four of the eleven look at the camera, then one, then nobody, and who comes nearer turns away. Roll and pitch are
#   angles, in whole degrees, and stay within one. Who looks straight on has yaw near 0 in each size, so that a first
#   trial shows nothing, and neither does one with thumbnails. Divide yaw by the width of the face's box, and set the bound for that.
# Versions: @vladmandic/face-api 1.7.15 (its networks and photos), @tensorflow/tfjs 4.22.0 (WASM), jpeg-js 0.4.4, Node.js 20.
# Output seen (of each head in the photo at half its size, as it is, and at twice the size; here the first four):
#   yaw 32, 67, 139; pitch -14, -15, -15; roll 4, 5, 5
#   yaw 23, 49, 96; pitch -13, -13, -13; roll 34, 34, 34
#   yaw 11, 25, 53; pitch 4, 4, 4; roll -42, -42, -42
#   yaw -36, -72, -142; pitch 14, 14, 14; roll 20, 19, 20
#   of 11 heads within 20: 4, 1, 0
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --silent --no-audit --no-fund --ignore-scripts @vladmandic/face-api@1.7.15 @tensorflow/tfjs@4.22.0 \
  @tensorflow/tfjs-backend-wasm@4.22.0 jpeg-js@0.4.4
cat >turn.js <<'JAVASCRIPT'
const [assert, fs, jpeg, tf, wasm] = ["assert", "fs", "jpeg-js", "@tensorflow/tfjs", "@tensorflow/tfjs-backend-wasm"].map(require);

const modules = `${process.cwd()}/node_modules/`;
const faceapi = require(`${modules}@vladmandic/face-api/dist/face-api.node-wasm.js`);

async function main() {
  wasm.setWasmPaths(`${modules}@tensorflow/tfjs-backend-wasm/dist/`);
  await tf.setBackend("wasm");
  for (const net of ["ssdMobilenetv1", "faceLandmark68Net"]) {
    await faceapi.nets[net].loadFromDisk(`${modules}@vladmandic/face-api/model`);
  }
  const see = async (photo, scale) => {
    const sized = tf.image.resizeBilinear(photo, photo.shape.slice(0, 2).map((side) => Math.round(scale * side)));
    const faces = await faceapi.detectAllFaces(sized, new faceapi.SsdMobilenetv1Options({ minConfidence: 0.9 })).withFaceLandmarks();
    return faces.sort((one, other) => one.detection.box.x - other.detection.box.x);
  };
  const yaws = [];
  for (const name of [1, 4, 5]) {
    const { data, width, height } = jpeg.decode(fs.readFileSync(`${modules}@vladmandic/face-api/demo/sample${name}.jpg`));
    const photo = tf.slice(tf.tensor(Float32Array.from(data), [height, width, 4]), [0, 0, 0], [height, width, 3]);
    const sizes = [await see(photo, 0.5), await see(photo, 1), await see(photo, 2)];
    assert(sizes.every((faces) => faces.length === sizes[0].length));
    for (let index = 0; index < sizes[0].length; index++) {
      const [yaw, pitch, roll] = ["yaw", "pitch", "roll"].map((angle) => sizes.map((faces) => faces[index].angle[angle]));
      console.log(`yaw ${yaw.join(", ")}; pitch ${pitch.join(", ")}; roll ${roll.join(", ")}`);
      assert(Math.abs(2 * yaw[0] - yaw[1]) <= 4 && Math.abs(yaw[2] - 2 * yaw[1]) <= 6);
      assert([pitch, roll].every((angles) => Math.max(...angles) - Math.min(...angles) <= 2));
      yaws.push(yaw);
    }
  }
  const within = [0, 1, 2].map((size) => yaws.filter((yaw) => Math.abs(yaw[size]) < 20).length);
  console.log(`of ${yaws.length} heads within 20: ${within.join(", ")}`);
  assert(within[0] >= 3 && within[1] <= 2 && within[2] === 0 && yaws.some((yaw) => Math.abs(yaw[2]) > 150));
}

main().then(() => process.exit(0), (error) => { console.error(error); process.exit(1); });
JAVASCRIPT
node turn.js 2>&1
