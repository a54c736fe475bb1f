#!/usr/bin/env bash
# Question: human tells age, gender and embedding of each face in films and rows of photos. To save time it keeps answers while a
#   frame is like the last one (`cacheSensitivity`), for three seconds or 99 frames (`skipTime`, `skipFrames`). Two persons stand
#   before a fixed camera, leave, and two others come. Whose answers are told, and how long?
# Guess before the run: a change of persons is no like frame. At worst the former answers stay for three seconds, for all faces.
# Found: two faces of 110 pixels in a frame of 1280 by 720 are too small to make it another one: the bound of 0.7 is no share, but the
#   mean square divided by 255, a difference of 13 levels over the whole frame. So answers stay, and the first face's are renewed
#   after three seconds. Those of all others never are. Clock and count are one for all faces, and the first face sets both back, so
#   that the second one counts as fresh and takes its old answers, as long as there are as many faces as before: age, gender and
#   embedding are those of somebody who has left, to the last digit. Who recognises faces greets who is gone. Faces are told apart by
#   their place in a list ordered by score: of three, one who stayed is told as who stood at the other end. One face alone is
#   right after three seconds. `cacheSensitivity: 0` makes all of them right.
# Versions: @vladmandic/human 3.3.6 and face-api 1.7.15 (its photos), @tensorflow/tfjs 4.22.0 (WASM), jpeg-js 0.4.4, Node.js 20.
# Output seen (whom each place's embedding is most like, of the four told without keeping; age, by chance 23 or 29 where renewed):
#   two faces: AB for two frames, then CD, a frame a second
#     second 1: A 23.5, B 28.6
#     second 6: C 23.4, B 28.6
#     second 12: C 23.4, B 28.6; 1 of second 1, to the last digit
#   three faces, two of them others: ABC for two frames, then ADB, a frame a second
#     second 1: A 23.5, B 28.6, C 23.4
#     second 6: C 23.4, D 23.5, B 28.6
#     second 12: C 23.4, D 23.5, B 28.6; 2 of second 1, to the last digit
#   one face: B for two frames, then D, a frame a second
#     second 1: B 28.6
#     second 6: D 28.5
#     second 12: D 23.4; 0 of second 1, to the last digit
#   two faces, cacheSensitivity 0: AB for two frames, then CD, a frame a second
#     second 1: A 23.5, B 28.6
#     second 6: C 23.4, D 23.5
#     second 12: C 23.4, D 23.5; 0 of second 1, to the last digit
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --silent --no-audit --no-fund --ignore-scripts @vladmandic/human@3.3.6 @vladmandic/face-api@1.7.15 \
    @tensorflow/tfjs@4.22.0 @tensorflow/tfjs-backend-wasm@4.22.0 jpeg-js@0.4.4
cat > film.js <<'JAVASCRIPT'
const [assert, fs, http, jpeg] = ["assert", "fs", "http", "jpeg-js"].map((name) => require(name));

const modules = `${process.cwd()}/node_modules/`;
const { Human } = require(`${modules}@vladmandic/human/dist/human.node-wasm.js`);
// Photo, left, top and side of each person's face, as human finds it in the photo.
const PERSONS = { A: [4, 611, 63, 280], B: [5, 525, 400, 308], C: [1, 331, 313, 356], D: [1, 1438, 205, 279] };
const PLACES = [[300, 250], [700, 300], [1000, 350]];
const SIDE = 110;
const off = { enabled: false };
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, Math.max(0, ms)));

async function main() {
  const server = http.createServer((ask, answer) =>
    fs.createReadStream(`${modules}@vladmandic/human/models${ask.url}`).pipe(answer));
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const options = {
    backend: "wasm", wasmPath: `${modules}@tensorflow/tfjs-backend-wasm/dist/`, filter: off,
    modelBasePath: `http://127.0.0.1:${server.address().port}/`,
    body: off, hand: off, gesture: off, object: off, segmentation: off, face: { detector: { maxDetected: 10 }, emotion: off },
  };
  const human = new Human(options);
  const tf = human.tf;
  await human.load();

  const faces = {};
  for (const [name, [photo, left, top, side]] of Object.entries(PERSONS)) {
    const { data, width, height } = jpeg.decode(fs.readFileSync(`${modules}@vladmandic/face-api/demo/sample${photo}.jpg`));
    const rgb = tf.slice(tf.tensor(Float32Array.from(data), [1, height, width, 4]), [0, 0, 0, 0], [1, height, width, 3]);
    const box = [top - 0.15 * side, left - 0.15 * side, top + 1.15 * side, left + 1.15 * side];
    const share = box.map((at, index) => at / (index % 2 ? width : height));
    faces[name] = tf.squeeze(tf.image.cropAndResize(rgb, [share], [0], [SIDE, SIDE]));
  }
  // A frame of grey with a face at each place, and noise of a camera.
  const frame = (names, seed) => tf.tidy(() => {
    const parts = [...names].map((name, at) => {
      const [x, y] = PLACES[at];
      return tf.pad(tf.sub(faces[name], 128), [[y, 720 - y - SIDE], [x, 1280 - x - SIDE], [0, 0]]);
    });
    return tf.clipByValue(tf.add(tf.addN(parts), tf.randomNormal([720, 1280, 3], 128, 1, "float32", seed)), 0, 255);
  });
  const fromLeft = ({ face }) => face.sort((one, other) => one.box[0] - other.box[0]);

  const own = {};
  for (const pair of ["AB", "CD"]) {
    const found = fromLeft(await human.detect(frame(pair, 1), { cacheSensitivity: 0 }));
    [...pair].forEach((name, at) => { own[name] = found[at].embedding; });
  }
  const whom = ({ embedding }) => Object.keys(own).reduce((best, name) =>
    (human.match.similarity(embedding, own[name]) > human.match.similarity(embedding, own[best]) ? name : best));

  async function film(title, before, after, cacheSensitivity) {
    console.log(`${title}: ${before} for two frames, then ${after}, a frame a second`);
    const [camera, told, start] = [new Human(options), [], Date.now()];
    await camera.load();
    const was = (face) => told[1].some(({ embedding }) => face.embedding.every((value, index) => value === embedding[index]));
    for (let second = 0; second < 13; second++) {
      await pause(start + 1000 * second - Date.now());
      const found = fromLeft(await camera.detect(frame(second < 2 ? before : after, second + 2), { cacheSensitivity }));
      assert.equal(found.length, before.length);
      told.push(found);
      const names = found.map((face) => `${whom(face)} ${face.age}`).join(", ");
      if ([1, 6].includes(second)) console.log(`  second ${second}: ${names}`);
      if (second === 12) console.log(`  second ${second}: ${names}; ${found.filter(was).length} of second 1, to the last digit`);
    }
    return [told[12].map(whom).join(""), told[12].filter(was).length];
  }
  const keep = 0.7; // the default
  const [two, three, one, none] = [
    await film("two faces", "AB", "CD", keep),
    await film("three faces, two of them others", "ABC", "ADB", keep),
    await film("one face", "B", "D", keep),
    await film("two faces, cacheSensitivity 0", "AB", "CD", 0),
  ];
  assert.equal([...two[0]].filter((name) => "AB".includes(name)).length, 1);
  assert.deepEqual([two[1], three[1]], [1, 2]);
  assert.deepEqual([one, none], [["D", 0], ["CD", 0]]);
  process.exit(0);
}

main().catch((error) => { console.error(error); process.exit(1); });
JAVASCRIPT
node film.js 2>&1
