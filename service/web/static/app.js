/** The page: wires the photos, the views, the key and the connection together. */

import { agesField } from "./ages.js";
import * as camera from "./camera.js";
import { modelChoice } from "./choice.js";
import { answersOf } from "./compare.js";
import { $, el, icon, refill } from "./dom.js";
import { Facet } from "./facet.js";
import * as save from "./files.js";
import { History } from "./history.js";
import { Live } from "./live.js";
import { LANGUAGES, language, list, number, preferred, speak, text } from "./language.js";
import { showModel } from "./model.js";
import { detectorOptions } from "./options.js";
import { overview, refreshOverview } from "./overview.js";
import { Photos } from "./photos.js";
import { decode, thumbnail, turned } from "./picture.js";
import { answered, progressText, unanswered } from "./result.js";
import { send } from "./upload.js";
import { count, failure, named, thing } from "./words.js";

const KEY = "facet-key";
const MOST = 100; // photos of one visit
const LATE_MS = 150; // a picture that takes longer to decode is waited for in sight

// Until the words have come ---
// What is clicked, pasted or dropped before the page knows what to do is not lost: it is done once it does.

let begin = null;
const ready = new Promise((resolve) => (begin = resolve));

const early = new Set(); // buttons, once each, however often they are clicked
const keep = ({ target }) => early.add(target.closest?.("button"));
document.addEventListener("click", keep, true);

document.addEventListener("paste", async (event) => {
  const files = [...(event.clipboardData?.files ?? [])];
  const typed = event.target.closest?.("input");
  if (files.length) event.preventDefault();
  await ready;
  if (files.length) add(files);
  else if (!typed) notify(text("strip.no_picture"));
});

let depth = 0;
const carriesFiles = (event) => event.dataTransfer?.types.includes("Files");
document.addEventListener("dragenter", (event) => carriesFiles(event) && ($("veil").hidden = ++depth === 0));
document.addEventListener("dragleave", (event) => carriesFiles(event) && ($("veil").hidden = --depth <= 0));
document.addEventListener("dragover", (event) => carriesFiles(event) && event.preventDefault());
document.addEventListener("drop", async (event) => {
  depth = 0;
  $("veil").hidden = true;
  if (!carriesFiles(event)) return;
  event.preventDefault();
  const files = [...event.dataTransfer.files]; // the event holds them no longer than this turn
  await ready;
  add(files, true);
});

await speak(preferred()).catch(() => speak("en")).catch(() => {}); // without its words, a page still works

const facet = new Facet({ key: remembered(KEY), fetch: send });
const photos = new Photos(facet);
const live = new Live(facet, photos);
const history = new History(photos);
let selected = null;

// Photos ---

/** `saved` says whether the photos are files of the viewer's. */
function add(files, saved = false) {
  const isFilm = ({ type }) => type.startsWith("video/");
  const [film, ...further] = [...files].filter(isFilm);
  const images = [...files].filter((file) => !isFilm(file) && (file.size > 0 || file.type || file.name));
  const room = MOST - photos.all.length;
  if (further.length) notify(text("live.film.one"));
  if (images.length > room) notify(text("strip.limit", { n: MOST }));
  const added = images.slice(0, room).map((file) => photos.add(file, file.name || "pasted.png", saved));
  if (added.length) select(added[0].id);
  if (film) live.play(film);
  if (film || added.length) location.hash = film ? "#live" : "#photos";
}

async function select(id) {
  selected = id;
  showOverview(false);
  for (const tile of $("tiles").children) mark(tile);
  await draw();
}

/** Pictures are decoded when they are looked at, one at a time; the last one is kept, for it is drawn again when it is answered. */
let decoded = { id: null, picture: null };

/** What the browser is to show of a photo: the service's picture where its own would be another. */
const shown = (photo) => photo.preview ?? photo.blob;

async function pictureOf(photo) {
  if (decoded.id !== photo.id || decoded.of !== shown(photo)) decoded = { id: photo.id, of: shown(photo), picture: decode(shown(photo)) };
  return decoded.picture;
}

async function draw() {
  const photo = photos.find(selected);
  $("result").hidden = !photo && !overviewShown;
  if (overviewShown) return redrawn([overview(photos, { chosen: ({ id }) => select(id), pictures: archive })]);
  if (!photo) return $("result").replaceChildren();
  const actions = { cancel: () => photos.cancel(photo), again: () => again(photo), remove: () => remove(photo), turn: () => turn(photo), compareAgain: () => photos.compareAgain(photo) };
  const opening = () => photo.id === selected && !overviewShown && photo.status === "running" && redrawn(unanswered(photo, null, actions));
  const late = setTimeout(opening, LATE_MS); // twelve megapixels take a while, in which the page would be empty
  const of = shown(photo);
  const picture = await pictureOf(photo);
  clearTimeout(late);
  if (photo.id !== selected || of !== shown(photo) || overviewShown) return;
  const options = photos.options(photo.parameters ?? {});
  const request = { url: facet.url("predict", options).href, base: facet.url("").href, name: photo.name, options, key: facet.key };
  const parts = photo.status === "done" ? answered(photo, picture, { ...actions, hidden: photos.hidden, request, models: photos.models }) : unanswered(photo, picture, actions);
  redrawn(parts.filter(Boolean));
}

/** Name of the control in the result that had the focus when it was drawn without it; it may come back with the answer. */
let lostFocus = null;

/** Draw the result anew, and give the focus back to the control that had it. */
function redrawn(parts) {
  lostFocus = refill($("result"), parts, lostFocus);
}

/** Whether all results are shown in place of one photo. */
let overviewShown = false;

function showOverview(shown) {
  overviewShown = shown;
  $("overview").setAttribute("aria-pressed", String(shown));
}

$("overview").addEventListener("click", () => {
  showOverview(!overviewShown);
  draw();
});

/** All pictures with their boxes, and the table and the document, as one file. */
async function archive() {
  const done = photos.all.filter(({ status }) => status === "done");
  const files = [["facet.csv", save.csv(photos.all, photos.declared)], ["facet.json", save.json(photos.all)]];
  for (const [index, photo] of done.entries()) {
    notify(text("overview.zipping", { done: index + 1, n: done.length }));
    const picture = await decode(shown(photo));
    for (const answer of picture ? answersOf(photo) : []) files.push([save.annotatedName(photo.name, answer, photos.models), await save.annotated(picture, answer, photos.hidden)]);
  }
  $("banner").hidden = !connection.away;
  save.download("facet.zip", await save.zip(files));
}

const UNDO_MS = 10_000;
let undoTimer;

/** Remove one photo or all, which can be undone for a while. */
function remove(photo = null) {
  const at = photos.all.indexOf(photo);
  if (photo && at < 0) return; // pressed twice
  const before = photos.remove(photo);
  if (photo && photos.all.length) select(photos.all[Math.min(at, photos.all.length - 1)].id);
  const undo = () => {
    $("undo").hidden = true;
    photos.restore(before);
    select(photo?.id ?? before[0].id);
    $("result").focus();
  };
  offerUndo(photo ? text("undo.removed", { name: photo.name }) : text("undo.forgotten", { n: before.length }), undo);
}

/** Say what was removed, and for a while let it be taken back. */
function offerUndo(sentence, undo) {
  $("undo").replaceChildren(sentence, " ", el("button", { type: "button", onclick: undo }, text("undo")));
  $("undo").hidden = false;
  clearTimeout(undoTimer);
  const end = () => {
    if ($("undo").contains(document.activeElement)) undoTimer = setTimeout(end, UNDO_MS); // somebody is about to
    else ($("undo").replaceChildren(), ($("undo").hidden = true));
  };
  undoTimer = setTimeout(end, UNDO_MS);
}

history.addEventListener("cleared", ({ detail: restore }) => offerUndo(text("history.cleared"), () => (($("undo").hidden = true), restore())));
history.addEventListener("refused", () => notify(text("history.refused")));

function again(photo) {
  if (photo.error?.code === "unauthenticated") askKey();
  else photos.again(photo);
}

/** Turn a photo to the right by a quarter, from its first bytes each time, so that it is compressed once only. */
async function turn(photo) {
  photo.first ??= { blob: photo.blob, preview: photo.preview, name: photo.name, saved: photo.saved };
  const degrees = (photo.degrees = ((photo.degrees ?? 0) + 90) % 360);
  const { blob, preview, name, saved } = photo.first;
  const picture = degrees === 0 ? blob : await turned(preview ?? blob, degrees);
  if (!picture || photo.degrees !== degrees || !photos.find(photo.id)) return; // it was turned further, or removed, meanwhile
  if (decoded.id === photo.id) decoded = { id: null, picture: null };
  const plain = name.replace(/\.[^.]*$/, "");
  photos.replace(photo, picture, degrees === 0 ? name : `${plain}-turned.jpg`, degrees === 0 && saved);
  paint(photo);
}

photos.addEventListener("change", ({ detail: photo }) => {
  if (!photo) return removed();
  $("photos").classList.add("busy");
  $("strip").hidden = $("options").hidden = false;
  tileOf(photo);
  progress();
  if (photo.error?.code === "unauthenticated") askKey();
  if (photo.error?.code === "network_error") connection.lost();
  if (photo.status === "done") {
    connection.found();
    if (photo.preview) paint(photo);
    history.keep(photo);
    if (card && (photo.parameters.model ?? null) === photos.model && titled(photo.answer.model) !== titled(card)) loadModel(); // another one took its place
  }
  if (overviewShown) refreshOverview();
  else if (photo.id === selected) draw();
});

photos.addEventListener("progress", ({ detail: photo }) => {
  const line = photo.id === selected && $("result").querySelector(".sending");
  if (line) line.textContent = progressText(photo);
});

function removed() {
  const kept = new Set(photos.all.map(({ id }) => String(id)));
  for (const tile of [...$("tiles").children]) if (!kept.has(tile.dataset.photo)) tile.remove();
  for (const { id } of photos.all) $("tiles").append(...$("tiles").querySelectorAll(`[data-photo="${id}"]`));
  if (photos.all.length) return progress();
  showOverview(false);
  selected = null;
  decoded = { id: null, picture: null };
  $("tiles").replaceChildren();
  $("strip").hidden = $("options").hidden = $("result").hidden = true;
  $("result").replaceChildren();
  $("photos").classList.remove("busy");
  $("choose").focus();
}

function progress() {
  const having = (state) => photos.all.filter(({ status }) => status === state);
  const done = having("done");
  const failed = having("failed").length;
  const faces = done.reduce((sum, { answer }) => sum + answer.faces.length, 0);
  const ended = done.length + failed;
  const all = photos.all.length;
  const running = ended < all;
  $("progress").classList.toggle("running", running);
  $("progress").style.setProperty("--done", String(ended / all));
  const found = { faces: count(faces, "faces"), photos: count(all - failed, "photos"), n: failed };
  $("progress").textContent = running ? text("strip.running", { done: ended, n: all }) : text(failed ? "strip.failed" : "strip.done", found);
}

// Tiles: the photos of this visit ---

let thumbs = Promise.resolve();

function tileOf(photo) {
  const tile = $("tiles").querySelector(`[data-photo="${photo.id}"]`) ?? newTile(photo);
  const { status, answer } = photo;
  const state = status === "done" ? count(answer.faces.length, "faces") : text(`tile.${status}`);
  tile.dataset.status = status;
  tile.querySelector("button").setAttribute("aria-label", text("tile.label", { name: photo.name, state }));
  tile.querySelector("button").title = photo.name;
  tile.querySelector(".tile-mark").textContent = { waiting: "", running: "", failed: "!", done: answer ? number(answer.faces.length) : "" }[status];
  mark(tile);
}

function newTile(photo) {
  const holder = el("span", { class: "tile-picture" });
  const button = el("button", { type: "button", onclick: () => select(photo.id) }, holder, el("span", { class: "tile-mark" }));
  const tile = el("li", { "data-photo": String(photo.id) }, button);
  $("tiles").append(tile);
  paint(photo);
  return tile;
}

/** Draw a photo on its tile. One at a time: a dozen decoded phone photos are half a gigabyte. */
function paint(photo) {
  thumbs = thumbs.then(async () => {
    const holder = $("tiles").querySelector(`[data-photo="${photo.id}"] .tile-picture`);
    if (!holder) return;
    const picture = photo.id === selected ? await pictureOf(photo) : await decode(shown(photo), 400);
    holder.replaceChildren(picture ? thumbnail(picture) : icon("image"));
  });
}

function mark(tile) {
  const current = tile.dataset.photo === String(selected);
  const button = tile.querySelector("button");
  if (current && button.ariaCurrent !== "true") tile.scrollIntoView({ block: "nearest", inline: "nearest" });
  button.ariaCurrent = String(current);
}

$("forget").addEventListener("click", () => remove());

// Ways in ---

$("choose").addEventListener("click", () => $("files").click());
for (const id of ["files", "capture"]) {
  const chosen = () => {
    add($(id).files, id === "files");
    $(id).value = "";
  };
  $(id).addEventListener("change", chosen);
  if ($(id).files.length) queueMicrotask(chosen); // chosen before this script ran
}

$("take").addEventListener("click", async () => {
  if (!camera.available()) return $("capture").click();
  const photo = await camera.takePhoto();
  if (photo) add([new File([photo], `camera-${photos.all.length + 1}.jpg`, { type: "image/jpeg" })]);
});

for (const button of document.querySelectorAll("[data-example]")) {
  button.addEventListener("click", async () => {
    const { src } = button.querySelector("img");
    try {
      const response = await fetch(src);
      if (!response.ok) throw new Error(String(response.status));
      const photo = new File([await response.blob()], src.split("/").at(-1), { type: "image/jpeg" });
      const focused = document.activeElement === button; // which is hidden now
      add([photo]);
      if (focused) $("result").focus({ preventScroll: true });
    } catch {
      connection.lost();
    }
  });
}

document.addEventListener("keydown", (event) => {
  const onwards = document.documentElement.dir === "rtl" ? -1 : 1;
  const step = { ArrowLeft: -onwards, ArrowRight: onwards }[event.key];
  const tile = document.activeElement?.closest?.("#tiles li");
  const next = step && tile && (step < 0 ? tile.previousElementSibling : tile.nextElementSibling);
  if (!next) return;
  event.preventDefault();
  next.querySelector("button").focus();
  next.querySelector("button").click();
});

// What is shown ---

$("options").append(modelChoice(photos, "model-of-photos", { chosen: loadModel, compared: compareWith }), agesField(photos, "ages"), detectorOptions(photos));
$("live").querySelector(".stage-column").append(modelChoice(photos, "model-of-live", { chosen: loadModel }));
const choice = modelChoice(photos, "model-of-card", { chosen: loadModel });

/** A switch for every attribute of the model; what the operator does not allow cannot be switched on. */
function offer({ attributes, serving }) {
  const allowed = new Set(serving.attributes);
  photos.offer(attributes, allowed, serving.models);
  const switches = attributes.map(({ name }) => toggle(name, allowed.has(name)));
  refill($("show"), [$("show").firstElementChild, ...switches]);
  $("show").hidden = false;
  showLead();
}

/** The page promises what the model estimates, and nothing before that is known. */
function showLead() {
  const things = photos.offered?.map(({ name }) => thing(name)) ?? [];
  $("lead").textContent = things.length ? text("hero.lead", { things: list(things) }) : text("hero.lead.any");
}

function toggle(name, allowed) {
  const box = el("input", { type: "checkbox", name, checked: allowed && !photos.hidden.has(name), disabled: !allowed });
  box.addEventListener("change", () => {
    photos.hidden[box.checked ? "delete" : "add"](name);
    photos.againWhere((photo) => photos.outdated(photo));
    draw();
  });
  return el("label", { class: "toggle", title: allowed ? null : text("options.off") }, box, el("span", {}, named(name)));
}

// The model and the connection ---

const titled = ({ name, version }) => `${name}/${version}`;

let card = null;
let missing = null; // why there is no card

let modelAsked = null;
let comparisonAsked = null;

/** Have a model answer from now on, by its name, or the service's default one, unless another one is asked for meanwhile. */
async function loadModel(model = photos.model) {
  const wanted = (modelAsked = {});
  showModel(card, null, choice);
  try {
    const loaded = await facet.model({ model, timeoutMs: 10_000 });
    if (modelAsked !== wanted) return;
    card = loaded;
    photos.model = model;
    if (photos.compared?.name === card.name) photos.compare(null);
    offer(card);
    $("served").textContent = `Facet ${card.serving.facet} · ${titled(card)}`;
    showModel(card, null, choice);
    connection.found();
  } catch (error) {
    if (modelAsked !== wanted) return;
    missing = error;
    showModel(card, error, choice);
    refused(error);
  }
}

/** Compare with a second model, by its name; null ends it. */
async function compareWith(model) {
  const wanted = (comparisonAsked = {});
  try {
    const other = model && (await facet.model({ model, timeoutMs: 10_000 }));
    if (comparisonAsked !== wanted) return;
    photos.compare(other?.name === card?.name ? null : other);
    draw();
  } catch (error) {
    if (comparisonAsked === wanted) refused(error);
  }
}

/** No model could be had: the choices show what holds. */
function refused(error) {
  if (card) photos.dispatchEvent(new Event("offer"));
  if (error.code === "unauthenticated") askKey();
  else if (!error.status || error.status > 501) connection.lost();
  else if (card) notify(failure(error).title);
}

const connection = {
  away: false,
  lost() {
    this.away = true;
    notify(text(navigator.onLine === false ? "banner.offline" : "banner.unreachable"), true);
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.ask(), 5000);
  },
  found() {
    clearTimeout(this.timer);
    if (!this.away) return;
    this.away = false;
    $("banner").hidden = true;
    photos.resend();
    loadModel(); // it may have come back with other settings
  },
  async ask() {
    try {
      await facet.health({ timeoutMs: 4000 });
      this.found();
    } catch {
      this.lost();
    }
  },
};
addEventListener("offline", () => connection.lost());
addEventListener("online", () => connection.ask());

let bannerTimer;
/** Say something for a while, or, where the service is away, for as long as it is. */
function notify(text, stays = false) {
  $("banner").textContent = text;
  $("banner").classList.toggle("bad", stays);
  $("banner").hidden = false;
  clearTimeout(bannerTimer);
  if (!stays) bannerTimer = setTimeout(() => ($("banner").hidden = !connection.away), 6000);
}

// The key ---

function remembered(name) {
  try {
    return sessionStorage.getItem(name);
  } catch {
    return null; // storage may be switched off
  }
}

function askKey() {
  const dialog = $("key-dialog");
  if (dialog.open || $("camera-dialog").open) return;
  $("key-title").textContent = text(facet.key ? "key.wrong" : "key.title");
  $("key").value = "";
  dialog.showModal();
}

$("key-cancel").addEventListener("click", () => $("key-dialog").close());
$("change-key").addEventListener("click", askKey);
$("live").addEventListener("key", askKey);
$("live").addEventListener("snapshot", ({ detail: photo }) => {
  if (photos.all.length >= MOST) return notify(text("strip.limit", { n: MOST }));
  const added = photos.add(photo, `camera-${photos.all.length + 1}.jpg`, false);
  selected ??= added.id;
  notify(text("live.snapshot.done"));
});
$("key-dialog")
  .querySelector("form")
  .addEventListener("submit", async (event) => {
    event.preventDefault();
    facet.key = $("key").value.trim();
    $("key-dialog").close();
    $("change-key").hidden = false;
    try {
      sessionStorage.setItem(KEY, facet.key);
    } catch {
      // It is kept in memory all the same.
    }
    await loadModel();
    if (card) photos.againWhere((photo) => photo.error?.code === "unauthenticated");
  });
$("change-key").hidden = !facet.key;

// Language ---

$("language").replaceChildren(...Object.entries(LANGUAGES).map(([code, name]) => el("option", { value: code, lang: code, selected: code === language.code }, name)));
const showLanguage = () => ($("language").value = language.code);
$("language").addEventListener("change", () => speak($("language").value, true).catch(() => (showLanguage(), connection.lost())));
language.addEventListener("change", () => {
  showLanguage();
  showLead();
  if (card) offer(card);
  showModel(card, card ? null : missing, choice);
  for (const photo of photos.all) tileOf(photo);
  if (photos.all.length) progress();
  draw();
  route();
});

// Views ---

const VIEWS = ["photos", "live", "model"];

// An address of its own would be a view's.
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  $("main").focus();
});

function route() {
  const view = VIEWS.includes(location.hash.slice(1)) ? location.hash.slice(1) : "photos";
  for (const name of VIEWS) $(name).hidden = name !== view;
  for (const link of document.querySelectorAll("[data-view]")) {
    if (link.dataset.view === view) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.title = view === "photos" ? "Facet" : `${text(`nav.${view}`)} · Facet`;
  if (view === "live") live.opened();
  else live.stop();
}
addEventListener("hashchange", () => {
  route();
  scrollTo(0, 0);
});

// Installing ---

addEventListener("beforeinstallprompt", (event) => {
  event.preventDefault();
  $("install").hidden = false;
  $("install").onclick = async () => {
    await event.prompt();
    $("install").hidden = true;
  };
});

function keepForOffline() {
  if (!("serviceWorker" in navigator)) return; // also where there is no HTTPS
  const allowed = (path) => {
    if (path === "sw.js") return path;
    throw new TypeError(path);
  };
  const policy = globalThis.trustedTypes?.createPolicy("facet", { createScriptURL: allowed });
  navigator.serviceWorker.register(policy ? policy.createScriptURL("sw.js") : "sw.js", { scope: "./" }).catch(() => {
    // A certificate that the browser does not trust: the page works, but not without a connection.
  });
}

showLead();
route();
keepForOffline();
loadModel();
document.removeEventListener("click", keep, true);
for (const button of early) button?.click();
begin();
