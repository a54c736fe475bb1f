/** What a viewer takes away: tables, documents, pictures with their boxes, and archives of them. */

import { colour } from "./card.js";
import { atLeastColumn, columnNames } from "./columns.js";
import { answersOf } from "./compare.js";
import { el } from "./dom.js";
import { attributesOf } from "./facet.js";
import { number, row } from "./language.js";
import { words } from "./words.js";

const REVOKE_MS = 1000;

/** Let the browser save a blob under a name. */
export function download(name, blob) {
  const link = el("a", { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), REVOKE_MS);
}

/** Columns of one face, under the names that `facet predict --out` gives them. */
function cells(face, { prefixes, labels }) {
  const row = { ...face.box, confidence: face.confidence };
  const rest = {};
  for (const [name, answer] of Object.entries(attributesOf(face))) {
    const put = (ending, value) => (row[prefixes.get(name) + ending] = value);
    if ("label" in answer) {
      put("", answer.label);
      put("_confidence", answer.confidence);
      put("_uncertain", answer.uncertain);
      for (const [label, share] of Object.entries(answer.probabilities)) rest[labels.get(name).get(label)] = share;
    } else {
      if ("years" in answer) put("_years", answer.years);
      else put("", answer.value);
      put("_low", answer.low);
      put("_high", answer.high);
      for (const [age, share] of Object.entries(answer.at_least ?? {})) rest[atLeastColumn(age)] = share;
    }
  }
  for (const [point, at] of Object.entries(face.landmarks ?? {})) [rest[`${point}_x`], rest[`${point}_y`]] = at;
  return { ...row, ...rest, ...face.quality, warnings: face.warnings.join(" ") };
}

/** A row for each face and model, one without a face for a photo that has none, and one with the problem of a photo that failed. */
function rows(photos, names) {
  return photos.flatMap((photo) => {
    const { name: file, status, error } = photo;
    if (status === "failed") return [{ file, problem: error.code, detail: error.detail }];
    if (status !== "done") return [];
    return answersOf(photo).flatMap(({ faces, model: { name, version } }) => {
      const model = { model: name, version };
      return faces.length ? faces.map((face, index) => ({ file, face: index, ...cells(face, names), ...model })) : [{ file, ...model }];
    });
  });
}

/** Declarations of attributes, and after them those that only the answers tell of: the model may have changed since. */
function completed(declared, photos) {
  const all = new Map(declared.map((one) => [one.name, { ...one, labels: [...(one.labels ?? [])] }]));
  for (const face of photos.flatMap((photo) => (photo.status === "done" ? answersOf(photo).flatMap(({ faces }) => faces) : []))) {
    for (const [name, answer] of Object.entries(attributesOf(face))) {
      const known = all.get(name) ?? { name, kind: "label" in answer ? "labels" : "expectation", labels: [] };
      known.labels = [...new Set([...known.labels, ...Object.keys(answer.probabilities ?? {})])];
      all.set(name, known);
    }
  }
  return [...all.values()];
}

/** A table as RFC 4180 has it, of a model that declares these attributes. A text that a spreadsheet would take for a formula begins
 * with an apostrophe. */
export function csv(photos, declared) {
  const all = rows(photos, columnNames(completed(declared, photos)));
  const last = ["problem", "detail"];
  const columns = [...new Set(["file", "face", ...all.flatMap(Object.keys).filter((name) => !last.includes(name)), ...last])];
  const cell = (value) => {
    const safe = typeof value === "string" && /^[=+\-@\t\r]/.test(value) ? `'${value}` : String(value ?? "");
    return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
  };
  const lines = [columns, ...all.map((row) => columns.map((name) => row[name]))];
  return new Blob([lines.map((line) => line.map(cell).join(",")).join("\r\n"), "\r\n"], { type: "text/csv;charset=utf-8" });
}

/** Every answer and failure with the name of its photo. */
export function json(photos) {
  const all = photos
    .filter(({ status }) => status === "done" || status === "failed")
    .flatMap((photo) => {
      const { name: file, status, error } = photo;
      return status === "done" ? answersOf(photo).map((result) => ({ file, result })) : [{ file, problem: { code: error.code, detail: error.detail } }];
    });
  return new Blob([JSON.stringify(all, null, 2), "\n"], { type: "application/json" });
}

/** A picture with a box and a few words on every face, as a JPEG. */
export function annotated(picture, answer, hidden) {
  const canvas = el("canvas", { width: picture.width, height: picture.height });
  const pen = canvas.getContext("2d");
  const scale = picture.width / answer.image.width;
  const size = Math.max(12, Math.round(Math.max(picture.width, picture.height) / 55));
  pen.drawImage(picture, 0, 0);
  answer.faces.forEach((face, index) => {
    const { x, y, width, height } = face.box;
    const tag = [number(index + 1), row(words(face, hidden).slice(0, 2))].filter(Boolean).join(" ");
    drawBox(pen, { x: x * scale, y: y * scale, width: width * scale, height: height * scale }, tag, colour(index), size);
  });
  return new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.92));
}

/** Draw a box in pixels of the canvas, and a tag in letters of `size` pixels above it or, without room there, below it. */
export function drawBox(pen, { x, y, width, height }, tag, colour, size) {
  pen.font = `600 ${size}px Figtree, sans-serif`;
  pen.textBaseline = "top";
  pen.strokeStyle = pen.fillStyle = colour;
  pen.lineWidth = Math.max(2, size / 6);
  pen.strokeRect(x, y, width, height);
  const tagWidth = pen.measureText(tag).width + size * 0.8;
  const tagHeight = size * 1.5;
  const left = Math.max(0, Math.min(x, pen.canvas.width - tagWidth));
  const top = y - tagHeight >= 0 ? y - tagHeight : Math.min(pen.canvas.height - tagHeight, y + height);
  pen.fillRect(left, top, tagWidth, tagHeight);
  pen.fillStyle = "white";
  pen.fillText(tag, left + size * 0.4, top + size * 0.25);
}

/** The name of a picture with boxes, and of the model whose answers they carry where there are several. */
export function annotatedName(name, { model }, models) {
  const which = models.length > 1 ? `.${model.name}-${model.version}` : "";
  return `${name.replace(/\.[^.]*$/, "")}${which}.faces.jpg`;
}

/** An archive of files by name (APPNOTE 6.3.10), stored as they are. No two have one name on any disk. */
export async function zip(files) {
  const encoder = new TextEncoder();
  const same = (name) => name.normalize().toLowerCase();
  const taken = new Set();
  const parts = [];
  const directory = [];
  let offset = 0;
  for (const [title, blob] of files) {
    let own = title;
    for (let n = 2; taken.has(same(own)); n++) own = title.replace(/(\.[^/]*)?$/, `-${n}$1`);
    taken.add(same(own));
    const name = encoder.encode(own);
    const bytes = new Uint8Array(await blob.arrayBuffer());
    // Version 2.0, names in UTF-8, stored, 1 January 1980, then the sum and both sizes.
    const common = numbers([2, 20], [2, 0x800], [2, 0], [2, 0], [2, 33], [4, crc32(bytes)], [4, bytes.length], [4, bytes.length], [2, name.length], [2, 0]);
    const head = [numbers([4, 0x04034b50]), common, name];
    directory.push(numbers([4, 0x02014b50], [2, 20]), common, numbers([2, 0], [2, 0], [2, 0], [4, 0], [4, offset]), name);
    parts.push(...head, bytes);
    offset += 30 + name.length + bytes.length;
  }
  const length = directory.reduce((sum, part) => sum + part.length, 0);
  const end = numbers([4, 0x06054b50], [2, 0], [2, 0], [2, files.length], [2, files.length], [4, length], [4, offset], [2, 0]);
  return new Blob([...parts, ...directory, end], { type: "application/zip" });
}

/** Numbers of so many bytes each, lowest byte first. */
function numbers(...fields) {
  return Uint8Array.from(fields.flatMap(([bytes, value]) => Array.from({ length: bytes }, (_, index) => (value >>> (8 * index)) & 255)));
}

const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte;
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1;
  return value;
});

function crc32(bytes) {
  let sum = 0xffffffff;
  for (const byte of bytes) sum = TABLE[(sum ^ byte) & 255] ^ (sum >>> 8);
  return (sum ^ 0xffffffff) >>> 0;
}
