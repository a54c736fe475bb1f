/** What the service says in codes and numbers, in the viewer's words. */

import { CONTRACT } from "./contract.js";
import { attributesOf } from "./facet.js";
import { known, ltr, number, text } from "./language.js";

/** Failures by code: the key of their words. A test holds them to the service's own codes. */
export const PROBLEMS = {
  missing_file: "missing",
  empty_file: "empty",
  malformed_multipart: "upload",
  malformed_json: "upload",
  malformed_base64: "upload",
  malformed_tensor: "upload",
  unknown_model: "address",
  too_many_fields: "upload",
  bad_request: "understood",
  unauthenticated: "key",
  not_found: "address",
  method_not_allowed: "address",
  http_error: "refused",
  body_timeout: "slow_upload",
  body_too_large: "large_file",
  unsupported_format: "format",
  unsupported_media_type: "understood",
  unsupported_encoding: "understood",
  invalid_parameter: "parameter",
  corrupt_image: "corrupt",
  image_too_large: "many_pixels",
  image_too_small: "few_pixels",
  image_error: "image",
  model_refused: "refused",
  rate_limited: "rate",
  internal_error: "internal",
  inference_failed: "internal",
  queue_full: "busy",
  not_ready: "starting",
  unavailable: "busy",
  deadline_exceeded: "deadline",
  foreign_origin: "origin",
  malformed_message: "understood",
  too_many_streams: "streams",
  stream_over: "stream_over",
  stream_idle: "stream_idle",
  unreadable_file: "unreadable",
  closed: "closed",
  cancelled: "cancelled",
  network_error: "network",
  timeout: "timeout",
  malformed_request: "damaged",
  head_too_large: "head",
  head_timeout: "slow",
  bad_answer: "answer",
};

/** Answers of something before the service, such as a proxy whose bound is lower than the service's own. */
const BY_STATUS = { 408: "slow_upload", 413: "large_file", 429: "rate", 502: "network", 503: "busy", 504: "deadline" };

/** Title, advice and the service's own sentence for a failure. */
export function failure(error) {
  const offline = error.code === "network_error" && navigator.onLine === false;
  const foreign = error.code === "http_error" && BY_STATUS[error.status];
  const key = offline ? "problem.offline" : `problem.${foreign || (PROBLEMS[error.code] ?? "unknown")}`;
  return { title: text(key), advice: text(`${key}.advice`), detail: error.status ? error.detail : "" };
}

const spaced = (name) => name.replaceAll("_", " ");

/** A warning of the service; one that came after this page is shown by its name. */
export const warning = (name) => known(`warning.${name}`) ?? text("warning.unknown", { name: spaced(name) });

/** Five short measures of a face: name, value, and whether it is of concern. */
export function measures(quality, warnings) {
  const has = (...names) => names.some((name) => warnings.includes(name));
  const roll = Math.abs(quality.roll);
  const yaw = Math.abs(quality.yaw);
  const side = quality.yaw > 0 ? "right" : "left";
  const angle = number(Math.round(roll), { style: "unit", unit: "degree", unitDisplay: "narrow" });
  const words = {
    focus: has("blurred") ? "blurred" : has("noisy") ? "noisy" : quality.sharpness < 6 ? "soft" : "sharp",
    light: has("dark") ? "dark" : has("bright") ? "bright" : has("low_contrast") ? "low_contrast" : null,
    tilt: roll < 4 ? "upright" : quality.roll > 0 ? "tilt_right" : "tilt_left",
    pose: yaw < 0.2 ? "frontal" : yaw < 0.5 ? `slightly_${side}` : side,
  };
  const worded = (word) => text(`quality.${word}`, { angle });
  return [
    [text("quality.size"), pixels(quality.size_px), has("small")],
    [text("quality.focus"), worded(words.focus), has("blurred", "noisy")],
    [text("quality.light"), words.light ? worded(words.light) : percent(quality.brightness), has("dark", "bright", "low_contrast")],
    [text("quality.tilt"), worded(words.tilt), has("rolled")],
    [text("quality.pose"), worded(words.pose), has("turned", "cut_off", "occluded")],
  ];
}

/** 0.9694 as "97%"; never quite none and never quite all, unless it is so. */
export function percent(share) {
  const whole = (value) => number(value, { style: "percent", maximumFractionDigits: 0 });
  if (share > 0 && share < 0.005) return `<\u2009${whole(0.01)}`;
  if (share < 1 && share > 0.995) return `>\u2009${whole(0.99)}`;
  return whole(share);
}

export const pixels = (value) => ltr(`${number(Math.round(value))} px`);

/** A picture's size: "512 × 512". */
export const dimensions = ({ width, height }) => `${number(width, { useGrouping: false })} × ${number(height, { useGrouping: false })}`;

export const capital = (word) => word.charAt(0).toLocaleUpperCase() + word.slice(1);

/** 840 as "840 ms", 2187 as "2.2 sec". */
export function duration(ms) {
  if (ms < 1000) return number(Math.max(1, Math.round(ms)), { style: "unit", unit: "millisecond", unitDisplay: "short" });
  return number(ms / 1000, { style: "unit", unit: "second", unitDisplay: "short", maximumFractionDigits: 1 });
}

/** "3 faces": a number of faces, photos or frames. */
export const count = (n, things) => text(`count.${things}`, { n });

/** "in 8 of 10 cases" for 0.8; in hundred where tenths would not be true. */
export function cases(coverage) {
  const tenths = coverage * 10;
  const whole = Math.abs(tenths - Math.round(tenths)) < 0.01;
  return text("age.cases", whole ? { n: Math.round(tenths), all: 10 } : { n: Math.round(coverage * 100), all: 100 });
}

/** The name of an attribute as a title: "Glasses" for `glasses`. */
export const named = (name) => known(`attribute.${name}`) ?? capital(spaced(name));

/** A label of the model in the viewer's language, where the page knows it. */
export const labelled = (label) => known(`label.${label}`) ?? label;

/** Answers to a face by the names of their attributes, without those that the viewer has hidden. */
export const visible = (face, hidden) => Object.entries(attributesOf(face)).filter(([name]) => !hidden.has(name));

/** The two most probable labels, where none is probable enough: "white 37% or other 36%". */
export function unsure(answer) {
  const [first, second] = Object.entries(answer.probabilities).sort(([, one], [, other]) => other - one);
  return text("label.unsure", { first: labelled(first[0]), first_share: percent(first[1]), second: labelled(second[0]), second_share: percent(second[1]) });
}

/** An expectation in words: "34" for an age, "24.1 kg" for a number with a unit. */
export const amount = (answer) => ("years" in answer ? number(Math.round(answer.years)) : `${number(answer.value)} ${answer.unit}`.trim());

/** An answer with its uncertainty: "34 (27 to 44)", "female 82%", or "white 47% or other 32%" where none is sure. */
export function inFull(answer) {
  if ("label" in answer) return answer.uncertain ? unsure(answer) : `${labelled(answer.label)} ${percent(answer.confidence)}`;
  return answer.low == null ? amount(answer) : `${amount(answer)} (${text("age.between", { low: answer.low, high: answer.high })})`;
}

/** A few words for one face, the answer to each attribute by itself: "34", "female", "race uncertain". Those beside the contract's are named: "glasses: no". */
export function words(face, hidden) {
  return visible(face, hidden).map(([name, answer]) => {
    const attribute = named(name).toLocaleLowerCase();
    if (answer.uncertain) return text("face.not_sure", { attribute });
    const value = "label" in answer ? labelled(answer.label) : amount(answer);
    return CONTRACT.has(name) ? value : text("face.named", { attribute, value });
  });
}

/** What is estimated, as part of a sentence: "apparent age". */
export const thing = (name) => known(`thing.${name}`) ?? spaced(name);
