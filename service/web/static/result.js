/** What is known of the photo that is selected: the picture, a card for each face, the JSON and the command. */

import { card } from "./card.js";
import { copy, el, icon, place } from "./dom.js";
import { marked } from "./picture.js";
import { count, failure } from "./words.js";

/** An answered photo. `picture` is null where the browser cannot show it. */
export function answered(photo, picture, { shown, command }) {
  const { answer } = photo;
  const scale = picture ? picture.width / answer.image.width : 1;
  const cards = answer.faces.map((face, index) => card(face, { title: `Face ${index + 1}`, index, shown, source: picture, scale }));
  const light = (index) => {
    stage.classList.toggle("dimmed", index !== null);
    [...stage.querySelectorAll(".box")].forEach((box, other) => box.classList.toggle("lit", other === index));
    cards.forEach((one, other) => one.classList.toggle("lit", other === index));
  };
  const show = (index) => {
    cards[index].scrollIntoView({ block: "nearest", behavior: "smooth" });
    cards[index].focus({ preventScroll: true });
  };
  const stage = marked(picture, answer, photo.name, shown, { chosen: show, over: light });
  cards.forEach((one, index) => {
    one.addEventListener("pointerenter", () => light(index));
    one.addEventListener("pointerleave", () => light(null));
  });
  return [
    place(el("div", { class: "stage-column" }, stage, caption(photo), code(photo, command)), { "--ratio": String(answer.image.width / answer.image.height) }),
    el("div", { class: "cards" }, cards.length ? cards : nobody(answer)),
  ];
}

/** Failures of the photo itself: sending it again would change nothing. */
const FINAL = new Set(["body_too_large", "corrupt_image", "empty_file", "image_error", "image_too_large", "image_too_small", "unsupported_format"]);

/** A photo that waits for its answer, or failed. */
export function unanswered(photo, picture, { again }) {
  const frame = place(el("div", { class: `stage${photo.error ? " failed" : " asking"}` }, picture ?? el("div", { class: "unshown" })), {
    "--ratio": picture ? String(picture.width / picture.height) : "1.5",
  });
  if (!photo.error) return [el("div", { class: "stage-column" }, frame), el("div", { class: "cards" }, waiting(photo))];
  const { title, advice, detail } = failure(photo.error);
  const message = el(
    "div",
    { class: "message bad", role: "alert" },
    icon("alert"),
    el("div", {}, el("h3", {}, title), el("p", {}, advice), detail && el("p", { class: "fine" }, `${photo.name}: ${detail}`)),
    !FINAL.has(photo.error.code) && el("button", { type: "button", onclick: again }, "Try again"),
  );
  if (!picture) return [el("div", { class: "alone" }, message)];
  return [el("div", { class: "stage-column" }, frame, el("p", { class: "caption" }, photo.name)), el("div", { class: "cards" }, message)];
}

function waiting(photo) {
  return el("div", { class: "message" }, el("div", { class: "spinner", "aria-hidden": "true" }), el("p", {}, photo.status === "asking" ? "Looking for faces …" : "Waiting for its turn …"));
}

function nobody(answer) {
  const small = Math.max(answer.image.width, answer.image.height) < 200 ? " The picture is small: a larger one may show more." : "";
  return el("div", { class: "message" }, el("div", {}, el("h3", {}, "No face was found"), el("p", {}, `That is an answer, not a failure. Faces that are tiny, turned far away or covered are missed.${small}`)));
}

function caption({ name, answer }) {
  const { width, height } = answer.image;
  const ms = Math.max(1, Math.round(answer.timing_ms.total));
  return el("p", { class: "caption" }, el("span", {}, name), el("span", {}, `${count(answer.faces.length, "face")} · ${width} × ${height} px · ${ms} ms`));
}

/** Two buttons, one click each: the answer as JSON, and the command that asks for the same. */
function code(photo, command) {
  const panel = el("div", { class: "code-panel", hidden: true });
  const views = { json: () => written(photo.answer), curl: () => command };
  const buttons = Object.keys(views).map((name) =>
    el("button", { type: "button", class: "quiet", "aria-expanded": "false", "aria-controls": "code-panel", onclick: () => toggle(name) }, name === "json" ? "JSON" : "curl"),
  );
  panel.id = "code-panel";
  let open = null;
  const toggle = (name) => {
    open = open === name ? null : name;
    Object.keys(views).forEach((view, index) => buttons[index].setAttribute("aria-expanded", String(view === open)));
    panel.hidden = open === null;
    panel.replaceChildren(...(open ? [pre(views[open](), open)] : []));
  };
  return el("div", { class: "code" }, el("div", { class: "code-buttons" }, buttons), panel);
}

function pre(text, name) {
  const button = el("button", { type: "button", class: "quiet" }, icon("copy"), "Copy");
  button.addEventListener("click", async () => {
    await copy(text);
    button.lastChild.textContent = "Copied";
    setTimeout(() => (button.lastChild.textContent = "Copy"), 2000);
  });
  return el("div", { class: "pre" }, button, el("pre", { tabindex: "0", "aria-label": name === "json" ? "Answer as JSON" : "Command" }, text));
}

/** JSON with lists of numbers on one line. */
function written(answer) {
  return JSON.stringify(answer, null, 2).replace(/\[\s+([-\d.,\s]+?)\s+\]/g, (_, numbers) => `[${numbers.replace(/\s+/g, " ")}]`);
}

/** The equivalent call of curl, quoted for a shell. */
export function curl(url, name, key) {
  const quoted = (text) => (/^[\w./:@=?&%,+-]+$/.test(text) && !/[?&]/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);
  // curl gives commas and semicolons in a form's file name a meaning of their own, unless the name is in double quotes.
  const file = /[;,"\\]/.test(name) ? `file=@"${name.replace(/(["\\])/g, "\\$1")}"` : `file=@${name}`;
  const header = key ? ' -H "X-API-Key: $FACET_KEY"' : "";
  return `curl${header} -F ${quoted(file)} ${quoted(url)}`;
}

