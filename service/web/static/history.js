/** Results that a viewer wants to find again: in this browser's own database, off until it is switched on, never sent. */

import { cropsOf } from "./crops.js";
import { $, el, icon } from "./dom.js";
import { language, text } from "./language.js";
import { faceCell } from "./overview.js";
import { decode, thumbnail } from "./picture.js";
import { count } from "./words.js";

const DATABASE = "facet";
const RESULTS = "results";
const SWITCH = "facet-history";
const MOST = 200; // photos; the oldest go first
const QUALITY = 0.8;

export class History extends EventTarget {
  #photos;
  #switch = el("input", { type: "checkbox", id: "keep-results", "aria-describedby": "history-note" });
  #list = el("ul", { class: "history-list" });
  #head = el("div", { class: "history-head" });
  /** Keys and answers by the photos of this visit that were kept already. */
  #kept = new WeakMap();
  #last = Promise.resolve();

  /** Events named `cleared` have as detail a function that takes the clearing back. */
  constructor(photos) {
    super();
    this.#photos = photos;
    const clear = el("button", { type: "button", class: "quiet", onclick: () => this.clear() }, icon("trash"), el("span", { "data-text": "history.clear" }, text("history.clear")));
    this.#head.append(el("h2", { "data-text": "history.title" }, text("history.title")), clear);
    $("history").append(
      el("label", { class: "check" }, this.#switch, el("span", { "data-text": "history.keep" }, text("history.keep"))),
      el("p", { class: "fine", id: "history-note", "data-text": "history.note" }, text("history.note")),
      this.#head,
      this.#list,
    );
    this.#switch.checked = on();
    this.#switch.addEventListener("change", () => (this.#switch.checked ? this.#start() : this.#stop()));
    language.addEventListener("change", () => this.#draw());
    this.#draw();
  }

  /** Keep a photo's answer, in place of an earlier one. Nothing is kept while the switch is off. */
  keep(photo) {
    if (!on()) return;
    const { answer } = photo;
    this.#last = this.#last.then(() => this.#write(photo, answer)).catch(() => this.#refuse());
  }

  async #write(photo, answer) {
    const { key, answer: before } = this.#kept.get(photo) ?? {};
    if (before === answer) return; // the viewer may have removed it
    const crops = await cropsOf({ preview: photo.preview, blob: photo.blob, answer });
    const picture = await decode(photo.preview ?? photo.blob, 400);
    if (!on() || photo.answer !== answer) return;
    const entry = { at: Date.now(), name: photo.name, answer, crops, picture: picture && thumbnail(picture).toDataURL("image/jpeg", QUALITY) };
    if (key) entry.key = key;
    this.#kept.set(photo, { key: await change((store) => store.put(entry)), answer });
    const keys = await change((store) => store.getAllKeys());
    for (const key of keys.slice(0, -MOST)) await change((store) => store.delete(key));
    await this.#draw();
  }

  #start() {
    try {
      localStorage.setItem(SWITCH, "on");
    } catch {
      return this.#refuse();
    }
    for (const photo of this.#photos.all) {
      if (photo.status !== "done") continue;
      delete this.#kept.get(photo)?.answer;
      this.keep(photo);
    }
    this.#draw();
  }

  /** Switched off, the history is gone as well. */
  async #stop() {
    localStorage.removeItem(SWITCH);
    await this.clear(true);
  }

  /** Remove everything that was kept; `cleared` says how to take that back. */
  async clear(off = false) {
    const before = await entries().catch(() => []);
    if (before.length) {
      await change((store) => store.clear());
      const restore = async () => {
        if (off) localStorage.setItem(SWITCH, "on");
        this.#switch.checked = on();
        for (const entry of before) await change((store) => store.put(entry));
        await this.#draw();
        this.#switch.focus();
      };
      this.dispatchEvent(new CustomEvent("cleared", { detail: restore }));
    }
    await this.#draw();
    this.#switch.focus();
  }

  /** The browser lends no storage, or it is full. */
  #refuse() {
    this.#switch.checked = on();
    this.dispatchEvent(new Event("refused"));
  }

  /** What is there already stays as it is, open and with its focus. */
  async #draw() {
    const kept = on() ? await entries().catch(() => []) : [];
    this.#head.hidden = kept.length === 0;
    const named = ({ key, at }) => [key, at, language.code, ...this.#photos.hidden].join();
    const names = new Set(kept.map(named));
    for (const item of [...this.#list.children]) if (!names.has(item.dataset.entry)) item.remove();
    for (const [index, entry] of kept.reverse().entries()) {
      const there = this.#list.children[index] ?? null;
      if (there?.dataset.entry !== named(entry)) this.#list.insertBefore(this.#item(entry, named(entry)), there);
    }
  }

  #item({ key, at, name, answer, crops, picture }, entry) {
    const when = new Intl.DateTimeFormat(language.code, { dateStyle: "medium", timeStyle: "short" }).format(at);
    const remove = async () => {
      const { nextSibling, previousSibling } = item;
      await change((store) => store.delete(key));
      await this.#draw();
      ((nextSibling ?? previousSibling)?.querySelector("summary") ?? this.#switch).focus();
    };
    const faces = answer.faces.map((face, index) => el("li", { class: "face-cell" }, faceCell(face, Promise.resolve(crops[index]), this.#photos.hidden)));
    const item = el(
      "li",
      { "data-entry": entry },
      el(
        "details",
        {},
        el(
          "summary",
          {},
          picture ? el("img", { class: "crop", src: picture, alt: "" }) : el("span", { class: "crop none", "aria-hidden": "true" }),
          el("span", { class: "who" }, el("b", { class: "file", dir: "auto" }, name), el("span", { class: "fine" }, `${count(answer.faces.length, "faces")} · ${when}`)),
        ),
        faces.length ? el("ul", { class: "face-grid" }, faces) : el("p", { class: "fine" }, text("photo.none")),
        el("button", { type: "button", class: "quiet", onclick: remove }, icon("trash"), text("photo.remove")),
      ),
    );
    return item;
  }
}

/** Whether the viewer has switched the history on. */
function on() {
  try {
    return localStorage.getItem(SWITCH) === "on";
  } catch {
    return false;
  }
}

/** The entries, oldest first. */
const entries = () => change((store) => store.getAll());

/** The result of one request to the store, once it is on the disk. */
async function change(ask) {
  const database = await opened();
  try {
    return await new Promise((resolve, reject) => {
      const transaction = database.transaction(RESULTS, "readwrite");
      const request = ask(transaction.objectStore(RESULTS));
      transaction.oncomplete = () => resolve(request.result);
      transaction.onabort = () => reject(transaction.error);
    });
  } finally {
    database.close();
  }
}

function opened() {
  return new Promise((resolve, reject) => {
    const request = indexedDB.open(DATABASE, 1);
    request.onupgradeneeded = () => request.result.createObjectStore(RESULTS, { keyPath: "key", autoIncrement: true });
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}
