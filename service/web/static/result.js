/** What is known of the photo that is selected: the picture, a card for each face, the JSON and the command. */

import { card, copyButton } from "./card.js";
import { counterpart, disagreeing } from "./compare.js";
import { el, icon, place } from "./dom.js";
import * as files from "./files.js";
import { annotatedPicture } from "./picture.js";
import { ltr, text } from "./language.js";
import { COMMANDS } from "./snippets.js";
import { count, dimensions, duration, failure, percent } from "./words.js";

/** Up to so many cards are open at first; of more, each is one line. */
const OPEN = 3;

/** An answered photo. `picture` is null where the browser cannot show it; `request` is what the same answer comes of; `turn` asks
 * again with the photo turned, `compareAgain` a second model that failed. */
export function answered(photo, picture, { hidden, request, models, turn, remove, compareAgain }) {
  const { answer } = photo;
  const scale = picture ? picture.width / answer.image.width : 1;
  photo.open ??= new Set(answer.faces.length > OPEN ? [] : answer.faces.keys());
  const names = photo.other && [answer.model.name, photo.other.answer?.model.name ?? photo.other.parameters.model];
  const pair = (face) => (photo.other && photo.other.status !== "failed" ? { names, face: counterpart(photo, face) } : null);
  const cards = answer.faces.map((face, index) =>
    card(face, {
      title: text("face.title", { n: index + 1 }),
      index,
      hidden,
      source: picture,
      scale,
      open: photo.open.has(index),
      toggled: (open) => photo.open[open ? "add" : "delete"](index),
      against: pair(face),
    }),
  );
  const light = (index) => {
    stage.classList.toggle("dimmed", index !== null);
    [...stage.querySelectorAll(".box")].forEach((box, other) => box.classList.toggle("lit", other === index));
    cards.forEach((one, other) => one.classList.toggle("lit", other === index));
  };
  const show = (index) => {
    cards[index].querySelector("details").open = true;
    cards[index].scrollIntoView({ block: "nearest", behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth" });
    cards[index].focus({ preventScroll: true });
  };
  const stage = annotatedPicture(picture, answer, photo.name, hidden, { chosen: show, over: light });
  cards.forEach((one, index) => {
    one.addEventListener("pointerenter", () => light(index));
    one.addEventListener("pointerleave", () => light(null));
  });
  return [
    place(el("div", { class: "stage-column" }, stage, caption(photo), code(photo, request, { turn: picture && turn, remove, keep: picture && (() => keep(photo, picture, hidden, models)) })), { "--ratio": String(answer.image.width / answer.image.height) }),
    el("div", { class: "cards" }, photo.other && answer.faces.length > 0 && comparison(photo, names, hidden, compareAgain), cards.length > OPEN && openAll(cards), cards.length ? cards : noFaces(answer, picture && turn)),
  ];
}

/** How the comparison of two models goes: what it found, or why there is none. */
function comparison(photo, names, hidden, again) {
  const { faces } = photo.answer;
  const { status, error } = photo.other;
  const [first, second] = names;
  const title = el("h2", { translate: "no" }, `${first} · ${second}`);
  if (status === "running") return el("div", { class: "comparison" }, title, el("p", { class: "fine", role: "status" }, text("live.looking")));
  if (status === "failed") {
    const { title: reason, advice } = failure(error);
    return el("div", { class: "comparison" }, title, el("p", { class: "fine", role: "status" }, `${reason}. ${advice}`), el("button", { type: "button", class: "quiet", onclick: again }, text("photo.again")));
  }
  const n = faces.filter((face) => disagreeing(face, counterpart(photo, face), hidden)).length;
  return el("div", { class: "comparison" }, title, el("p", { role: "status" }, text("compare.found", { n, all: faces.length })), el("p", { class: "fine" }, text("compare.note")));
}

/** Save the picture with its boxes. */
async function keep({ name, answer }, picture, hidden, models) {
  files.download(files.annotatedName(name, answer, models), await files.annotated(picture, answer, hidden));
}

function openAll(cards) {
  const bodies = cards.map((one) => one.querySelector("details"));
  const button = el("button", { type: "button", class: "quiet" });
  const name = () => (button.textContent = text(bodies.every(({ open }) => open) ? "cards.close" : "cards.open"));
  button.addEventListener("click", () => {
    const open = !bodies.every((body) => body.open);
    for (const body of bodies) body.open = open;
    name();
  });
  for (const body of bodies) body.addEventListener("toggle", name);
  name();
  return el("div", { class: "all-faces" }, el("h2", {}, count(cards.length, "faces")), button);
}

/** Failures of the photo itself: sending it again would change nothing. */
const FINAL = new Set(["body_too_large", "corrupt_image", "empty_file", "image_error", "image_too_large", "image_too_small", "unreadable_file", "unsupported_format"]);

/** A photo that waits for its answer, or failed. */
export function unanswered(photo, picture, { again, cancel, remove }) {
  const frame = place(el("div", { class: `stage${photo.error ? " failed" : " running"}` }, picture ?? el("div", { class: "unshown" })), {
    "--ratio": picture ? String(picture.width / picture.height) : "1.5",
    "--natural": picture ? `${picture.width}px` : "100vw",
  });
  if (!photo.error) return [el("div", { class: "stage-column" }, frame), el("div", { class: "cards" }, waiting(photo, cancel))];
  const { title, advice, detail } = failure(photo.error);
  const message = el(
    "div",
    { class: "message bad", role: "alert" },
    icon("alert"),
    el("div", {}, el("h3", {}, title), el("p", {}, advice), el("p", { class: "fine where" }, photo.name, detail && [": ", el("span", { lang: "en" }, detail)])),
    !FINAL.has(photo.error.code) && el("button", { type: "button", onclick: again }, text("photo.again")),
    el("button", { type: "button", class: "quiet", onclick: remove }, icon("trash"), text("photo.remove")),
  );
  if (!picture) return [el("div", { class: "alone" }, message)];
  return [el("div", { class: "stage-column" }, frame, el("p", { class: "caption" }, el("span", { class: "file", dir: "auto", title: photo.name }, photo.name))), el("div", { class: "cards" }, message)];
}

/** What happens to a photo that has no answer yet. */
export function progressText({ status, sent, share }) {
  if (status !== "running") return text("photo.queued");
  if (!sent) return text("photo.preparing");
  return share < 1 ? text("photo.sending", { share: percent(share) }) : text("photo.looking");
}

function waiting(photo, cancel) {
  const stop = el("button", { type: "button", class: "quiet", onclick: cancel }, text("photo.cancel"));
  return el("div", { class: "message" }, el("div", { class: "spinner", "aria-hidden": "true" }), el("p", { class: "sending" }, progressText(photo)), stop);
}

function noFaces(answer, turn) {
  const small = Math.max(answer.image.width, answer.image.height) < 200 ? ` ${text("photo.none.small")}` : "";
  return el(
    "div",
    { class: "message" },
    el("div", {}, el("h3", {}, text("photo.none")), el("p", {}, `${text("photo.none.why")}${small}`)),
    turn && el("button", { type: "button", onclick: turn }, icon("turn"), text("photo.none.turn")),
  );
}

function caption({ name, answer, sent }) {
  return el(
    "p",
    { class: "caption" },
    el("span", { class: "file", dir: "auto", title: name }, name),
    el("span", {}, `${count(answer.faces.length, "faces")} · ${ltr(`${dimensions(answer.image)} px`)} · ${duration(answer.timing_ms.total)}`),
    sent?.reduced && el("span", {}, text("photo.reduced", { size: dimensions(answer.image) })),
  );
}

/** Buttons, one click each: the answer as JSON, what asks for the same in some languages, and, where the picture is known, a turn. */
function code(photo, request, { turn, remove, keep }) {
  const panel = el("div", { class: "code-panel", hidden: true });
  const views = { JSON: () => formatted(photo.other?.answer ? [photo.answer, photo.other.answer] : photo.answer) };
  for (const [name, written] of Object.entries(COMMANDS)) views[name] = () => written(request);
  const buttons = Object.keys(views).map((name) =>
    el("button", { type: "button", class: "quiet", "aria-expanded": "false", "aria-controls": "code-panel", onclick: () => toggle(name) }, name),
  );
  panel.id = "code-panel";
  let open = null;
  const toggle = (name) => {
    open = open === name ? null : name;
    Object.keys(views).forEach((view, index) => buttons[index].setAttribute("aria-expanded", String(view === open)));
    panel.hidden = open === null;
    panel.replaceChildren(...(open ? [pre(views[open](), open), ...(open in COMMANDS ? notes(photo, open) : [])] : []));
  };
  const turning = turn && el("button", { type: "button", class: "quiet plain", onclick: turn }, icon("turn"), text("photo.turn"));
  const keeping = keep && el("button", { type: "button", class: "quiet plain", onclick: keep }, icon("image"), text("photo.picture"));
  const removing = el("button", { type: "button", class: "quiet plain", onclick: remove }, icon("trash"), text("photo.remove"));
  return el("div", { class: "code" }, el("div", { class: "code-buttons" }, buttons, el("span", { class: "plain-buttons" }, keeping, turning, removing)), panel);
}

/** What is to be known of a request in some language. */
function notes(photo, language) {
  return [
    !photo.saved && save(photo),
    photo.sent?.reduced && el("p", { class: "fine" }, text("photo.reduced.command", { size: dimensions(photo.answer.image) })),
    language !== "curl" && el("p", { class: "fine" }, text("photo.client")),
    el("p", { class: "fine" }, text("photo.languages")),
  ].filter(Boolean);
}

/** What a command needs before it can name a photo that is no file yet. */
function save({ blob, name }) {
  return el("p", { class: "fine save" }, `${text("photo.save.why")} `, el("button", { type: "button", class: "quiet", onclick: () => files.download(name, blob) }, text("photo.save", { name })));
}

function pre(content, name) {
  return el("div", { class: "pre" }, copyButton(text("photo.copy"), () => content), el("pre", { dir: "ltr", tabindex: "0", "aria-label": text(name === "JSON" ? "photo.result" : "photo.command") }, content));
}

/** JSON with lists of numbers on one line. */
function formatted(answer) {
  return JSON.stringify(answer, null, 2).replace(/\[\s+([-\d.,\s]+?)\s+\]/g, (_, numbers) => `[${numbers.replace(/\s+/g, " ")}]`);
}
