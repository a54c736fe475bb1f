/** A photo as this browser can show it, and the faces marked on it. */

import { colour } from "./card.js";
import { el, place } from "./dom.js";
import { number, row, text } from "./language.js";
import { count, words } from "./words.js";

const LONGEST = 1800;
const THUMB = 144;
const CROWD = 4; // faces; of more, a phone has the numbers alone
const LARGEST = 4096; // the largest square canvas that phones allow

/** The first frame of a photo, a Blob or a `data:` address, as a canvas with a longest side of at most `longest` pixels,
 * upright; null where the browser does not know its format, as most do not know HEIC. */
export async function decode(photo, longest = LONGEST) {
  const address = typeof photo === "string" ? photo : URL.createObjectURL(photo);
  const image = new Image();
  image.src = address;
  try {
    await image.decode();
    const scale = Math.min(1, longest / Math.max(image.naturalWidth, image.naturalHeight));
    const canvas = el("canvas", { width: Math.round(image.naturalWidth * scale), height: Math.round(image.naturalHeight * scale) });
    const pen = canvas.getContext("2d");
    pen.imageSmoothingQuality = "high";
    pen.fillStyle = "white"; // as the service lays out what is transparent
    pen.fillRect(0, 0, canvas.width, canvas.height);
    pen.drawImage(image, 0, 0, canvas.width, canvas.height);
    return canvas.width && canvas.height ? canvas : null;
  } catch {
    return null;
  } finally {
    if (address !== photo) URL.revokeObjectURL(address);
  }
}

/** Whether a browser may show a photo otherwise than the service sees it, or not at all: HEIC, and a WebP with an
 * orientation, which browsers ignore. */
export async function needsPreview(blob) {
  const head = new Uint8Array(await blob.slice(0, 32).arrayBuffer());
  const text = String.fromCharCode(...head);
  if (text.slice(8, 16) === "WEBPVP8X") return (head[20] & 8) !== 0; // the flag of EXIF (RFC 9649, 2.7)
  return text.slice(4, 8) === "ftyp" && (await decode(blob, 16)) === null;
}

const MAX_SIDE = 2560; // the service looks at no more pixels of a side
const SENT_WHOLE = 1_500_000; // bytes; less is sent as it is

/** What is sent of a photo: the photo, or a smaller JPEG of it, upright, where that is much less and shows the service as much. */
export async function outgoing(photo) {
  const whole = { blob: photo, reduced: false };
  if (photo.size < SENT_WHOLE) return whole;
  const picture = await decode(photo, MAX_SIDE);
  const smaller = picture && (await new Promise((resolve) => picture.toBlob(resolve, "image/jpeg", 0.92)));
  return smaller && smaller.size < 0.7 * photo.size ? { blob: smaller, reduced: true } : whole;
}

/** A photo turned to the right by a multiple of 90 degrees, as a JPEG; null where the browser does not know its format. */
export async function turned(photo, degrees) {
  const picture = await decode(photo, LARGEST);
  if (!picture) return null;
  const sideways = degrees % 180 !== 0;
  const canvas = el("canvas", { width: sideways ? picture.height : picture.width, height: sideways ? picture.width : picture.height });
  const pen = canvas.getContext("2d");
  pen.translate(canvas.width / 2, canvas.height / 2);
  pen.rotate((degrees * Math.PI) / 180);
  pen.drawImage(picture, -picture.width / 2, -picture.height / 2);
  return new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.92));
}

/** A square piece out of the middle of a picture. */
export function thumbnail(picture) {
  const canvas = el("canvas", { width: THUMB, height: THUMB });
  const side = Math.min(picture.width, picture.height);
  const pen = canvas.getContext("2d");
  pen.imageSmoothingQuality = "high";
  // Faces are in the upper part of a portrait more often than in its middle.
  const top = picture.height > picture.width ? (picture.height - side) / 8 : 0;
  pen.drawImage(picture, (picture.width - side) / 2, top, side, side, 0, 0, THUMB, THUMB);
  return canvas;
}

/** The picture with a box on every face; `chosen(index)` is called for the one that is clicked, `over(index | null)` on hover. */
export function annotatedPicture(picture, answer, name, hidden, { chosen, over }) {
  const { width, height } = answer.image;
  // A tag is about 30 pixels high, and a wide picture not much higher on a phone.
  const headroom = Math.max(0.06, width / height / 14);
  const boxes = answer.faces.map((face, index) => {
    const summary = words(face, hidden);
    const crowded = face.box.width / width < 0.07;
    const box = el(
      "button",
      {
        type: "button",
        class: `box${face.box.y / height < headroom ? " under" : ""}${face.box.x / width > 0.7 ? " leftwards" : ""}`,
        "aria-label": summary.length ? text("face.label", { n: index + 1, words: row(summary) }) : text("face.title", { n: index + 1 }),
        onclick: () => chosen(index),
        onpointerenter: () => over(index),
        onpointerleave: () => over(null),
      },
      el("span", { class: "tag", "aria-hidden": "true" }, el("b", {}, number(index + 1)), crowded || !summary.length ? "" : el("span", {}, ` ${row(summary.slice(0, 2))}`)),
    );
    return position(box, face.box, width, height, colour(index));
  });
  const shownPicture = picture ?? el("div", { class: "unshown" }, el("p", {}, text("photo.unshown")));
  if (picture) describe(picture, name, answer.faces.length);
  return place(el("div", { class: `stage${picture ? "" : " blank"}${boxes.length > CROWD ? " many" : ""}` }, shownPicture, points(answer), boxes), { "--ratio": String(width / height), "--natural": `${width}px` });
}

/** A dot on each landmark that was asked for. */
function points({ image, faces }) {
  const all = faces.flatMap(({ landmarks }) => Object.values(landmarks ?? {}));
  return all.map(([x, y]) => place(el("span", { class: "point", "aria-hidden": "true" }), { left: `${(x / image.width) * 100}%`, top: `${(y / image.height) * 100}%` }));
}

function describe(picture, name, faces) {
  picture.setAttribute("role", "img");
  picture.setAttribute("aria-label", text("photo.marked", { name, faces: count(faces, "faces") }));
}

/** Put a box where it belongs on a picture of `width` by `height` pixels. */
export function position(element, box, width, height, face) {
  return place(element, {
    left: `${(box.x / width) * 100}%`,
    top: `${(box.y / height) * 100}%`,
    width: `${(box.width / width) * 100}%`,
    height: `${(box.height / height) * 100}%`,
    "--face": face,
  });
}
