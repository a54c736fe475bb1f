/** What the service says in codes, in plain words. */

import { attributesOf } from "./facet.js";

/** Failures by code: what happened, and what to do about it. A test holds them to the service's own codes. */
export const PROBLEMS = {
  missing_file: ["No photo arrived", "Choose the photo again."],
  empty_file: ["This file is empty", "It holds no bytes. Choose another one."],
  malformed_multipart: ["The upload arrived broken", "Try again; something between here and the service may change requests."],
  malformed_json: ["The upload arrived broken", "Try again; something between here and the service may change requests."],
  malformed_base64: ["The upload arrived broken", "Try again; something between here and the service may change requests."],
  too_many_fields: ["The upload arrived broken", "Try again; something between here and the service may change requests."],
  bad_request: ["The service did not understand", "Reload the page and try again."],
  unauthenticated: ["The service asks for an API key", "Give the key that its operator gave you."],
  not_found: ["The service is not where the page thinks", "Reload the page, or ask who runs it."],
  method_not_allowed: ["The service is not where the page thinks", "Reload the page, or ask who runs it."],
  http_error: ["Something between here and the service refused", "Try again, or ask who runs it."],
  body_timeout: ["The upload took too long", "Try again where the connection is better, or with a smaller photo."],
  body_too_large: ["This photo is too large a file", "Save it smaller, or as a JPEG, and try again."],
  unsupported_format: ["This is not a photo that Facet reads", "JPEG, PNG, WebP, HEIC, AVIF, BMP and GIF are read."],
  unsupported_media_type: ["The service did not understand", "Reload the page and try again."],
  unsupported_encoding: ["The service did not understand", "Reload the page and try again."],
  invalid_parameter: ["The service refused what was asked", "Reload the page: its settings may have changed."],
  corrupt_image: ["This photo is damaged", "It cannot be read to its end. Try the original file."],
  image_too_large: ["This photo has too many pixels", "Save it smaller and try again."],
  image_too_small: ["This picture is too small", "It has too few pixels for any face."],
  image_error: ["This photo cannot be used", "Try another one."],
  rate_limited: ["That was a lot of photos", "The key's share for this minute is used up. Wait a little and try again."],
  internal_error: ["The service failed", "The fault is not the photo's. Try again."],
  inference_failed: ["The service failed", "The fault is not the photo's. Try again."],
  queue_full: ["The service is busy", "It has as much to do as it takes on. Try again in a moment."],
  not_ready: ["The service starts or stops", "Try again in a moment."],
  unavailable: ["The service is busy", "Try again in a moment."],
  deadline_exceeded: ["The answer took too long", "The service is busy. Try again in a moment."],
  foreign_origin: ["This page may not open a stream", "It was loaded from another address than the service's. Ask who runs it."],
  malformed_message: ["The service did not understand", "Reload the page and try again."],
  too_many_streams: ["The service is busy", "As many live views are open as it takes on. Try again in a moment."],
  stream_over: ["The stream has ended", "It has run for as long as the service allows. Start it again if you like."],
  stream_idle: ["The stream has ended", "Nothing was sent for too long. Start it again if you like."],
  unreadable_file: ["This cannot be opened", "It is a folder, or it was moved or changed. Choose the photo again."],
  closed: ["The stream was closed", "Start it again if you like."],
  network_error: ["The service cannot be reached", "Check the connection, and whether the service runs."],
  timeout: ["The service does not answer", "Try again in a moment."],
  malformed_request: ["The request arrived damaged", "Reload the page and try again."],
  head_too_large: ["The request is too large", "Clear this site's cookies, and try again."],
  head_timeout: ["The connection is too slow", "Try again, perhaps on another network."],
  bad_answer: ["The answer cannot be read", "Something between here and the service changes it."],
};

/** Title, advice and the service's own sentence for a failure. */
export function failure(error) {
  const offline = error.code === "network_error" && navigator.onLine === false;
  if (offline) return { title: "You are offline", advice: "Photos are looked at by the service. Try again when you are connected.", detail: "" };
  const [title, advice] = PROBLEMS[error.code] ?? ["Something went wrong", "Try again."];
  return { title, advice, detail: error.status ? error.detail : "" };
}

/** Warnings by name. A test holds them to those that the service gives. */
export const WARNINGS = {
  small: "The face is small: all answers err more.",
  blurred: "The face is blurred: all answers err more.",
  dark: "The face is dark: all answers err more.",
  bright: "The face is overexposed: all answers err more.",
  rolled: "The head is tilted far: the gender may err more.",
  turned: "The face is turned away: take the answer with care.",
  cut_off: "Part of the face is outside the photo: all answers err more.",
};

export const warning = (name) => WARNINGS[name] ?? `Take care: ${name.replaceAll("_", " ")}.`;

/** Five short measures of a face: name, value, and whether it is of concern. */
export function measures(quality, warnings) {
  const has = (...names) => names.some((name) => warnings.includes(name));
  const roll = Math.abs(quality.roll);
  const yaw = Math.abs(quality.yaw);
  return [
    ["Size", `${Math.round(quality.size_px)} px`, has("small")],
    ["Focus", has("blurred") ? "blurred" : quality.sharpness < 6 ? "soft" : "sharp", has("blurred")],
    ["Light", has("dark") ? "dark" : has("bright") ? "too bright" : `${Math.round(quality.brightness * 100)} %`, has("dark", "bright")],
    ["Tilt", roll < 4 ? "upright" : `${Math.round(roll)}° ${quality.roll > 0 ? "right" : "left"}`, has("rolled")],
    ["Pose", yaw < 0.2 ? "frontal" : `${yaw < 0.5 ? "slightly " : ""}${quality.yaw > 0 ? "right" : "left"}`, has("turned", "cut_off")],
  ];
}

/** 0.9694 as "97 %"; never quite none and never quite all, unless it is so. */
export function percent(share) {
  if (share > 0 && share < 0.005) return "< 1 %";
  if (share < 1 && share > 0.995) return "> 99 %";
  return `${Math.round(share * 100)} %`;
}

export const capital = (word) => word.charAt(0).toUpperCase() + word.slice(1);

/** 840 as "840 ms", 2187 as "2.2 s". */
export const duration = (ms) => (ms < 1000 ? `${Math.max(1, Math.round(ms))} ms` : `${(ms / 1000).toFixed(1)} s`);

export const count = (number, word) => `${number} ${word}${number === 1 ? "" : "s"}`;

/** "in 8 of 10 cases" for 0.8; in hundred where tenths would not be true. */
export function cases(coverage) {
  const tenths = coverage * 10;
  return Math.abs(tenths - Math.round(tenths)) < 0.01 ? `in ${Math.round(tenths)} of 10 cases` : `in ${Math.round(coverage * 100)} of 100 cases`;
}

/** The name of an attribute as a title: "Glasses" for `glasses`. */
export const named = (name) => capital(name.replaceAll("_", " "));

/** Answers to a face by the names of their attributes, without those that the viewer has hidden. */
export const visible = (face, hidden) => Object.entries(attributesOf(face)).filter(([name]) => !hidden.has(name));

/** Attributes whose answers say what they are. */
const PLAIN = new Set(["age", "gender", "race"]);

/** The two most probable labels, where none is probable enough: "not sure: white 37 %, other 36 %". */
export function unsure(answer) {
  const likeliest = Object.entries(answer.probabilities).sort(([, one], [, other]) => other - one).slice(0, 2);
  return `not sure: ${likeliest.map(([label, probability]) => `${label} ${percent(probability)}`).join(", ")}`;
}

/** An expectation in words: "34" for an age, "24.1 kg" for a number with a unit. */
export const amount = (answer) => ("years" in answer ? String(Math.round(answer.years)) : `${answer.value} ${answer.unit}`.trim());

/** A few words for one face, the answer to each attribute by itself: "34", "female", "race not sure", "glasses: no". */
export function words(face, hidden) {
  return visible(face, hidden).map(([name, answer]) => {
    const title = name.replaceAll("_", " ");
    if (answer.uncertain) return `${title} not sure`;
    const said = "label" in answer ? answer.label : amount(answer);
    return PLAIN.has(name) ? said : `${title}: ${said}`;
  });
}

const ARTICLES = { age: "an apparent age", gender: "a gender", race: "a race" };

/** What is answered for every face: "an apparent age, a gender and a race". */
export function listed(names) {
  const things = names.map((name) => ARTICLES[name] ?? name.replaceAll("_", " "));
  return things.length > 1 ? `${things.slice(0, -1).join(", ")} and ${things.at(-1)}` : (things[0] ?? "nothing");
}
