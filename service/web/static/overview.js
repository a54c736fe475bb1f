/** All results of the visit: a grid or a table of the faces, sorted and filtered, and what can be downloaded of it. */

import { counterpart, disagreeing } from "./compare.js";
import { cropsOf } from "./crops.js";
import { el, refill } from "./dom.js";
import { attributesOf } from "./facet.js";
import { csv, download, json } from "./files.js";
import { text } from "./language.js";
import { amount, capital, failure, inFull, labelled, named, percent, unsure, visible } from "./words.js";

const state = { view: "grid", filter: "all", uncertain: false, key: null, down: false };

/** Draw the faces anew, below controls and at a place that stay as they are. */
export let refreshOverview = () => {};

const KEPT = {
  all: () => true,
  with: ({ face }) => face !== null,
  without: ({ photo, face }) => photo.status === "done" && face === null,
  failed: ({ photo }) => photo.status === "failed",
  disagree: ({ photo, face }, hidden) => face !== null && disagreeing(face, counterpart(photo, face), hidden),
};

const doubtful = (face) => face !== null && Object.values(attributesOf(face)).some(({ uncertain }) => uncertain);

/** What is shown in place of the photo: `chosen(photo)` is called for one that is wanted, `pictures()` makes the archive. */
export function overview(photos, { chosen, pictures }) {
  const body = el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": text("overview.title") });
  const names = (photos.offered ?? []).map(({ name }) => name).filter((name) => !photos.hidden.has(name));
  const views = ["grid", "table"].map((view) => el("button", { type: "button", class: "quiet", onclick: () => ((state.view = view), draw()) }, text(`overview.${view}`)));
  const order = sorting(names, () => draw());
  const draw = () => {
    const rows = shown(photos.all, photos.hidden);
    views.forEach((button, index) => button.setAttribute("aria-pressed", String(state.view === ["grid", "table"][index])));
    order.hidden = state.view === "table"; // whose heads sort
    refill(body, [state.view === "table" ? table(rows, names, chosen, draw) : grid(rows, photos.hidden, chosen)]);
  };
  refreshOverview = draw;
  const filters = Object.keys(KEPT).filter((name) => name !== "disagree" || photos.compared);
  if (!filters.includes(state.filter)) state.filter = "all";
  const filter = el("select", { "aria-label": text("overview.filter") }, filters.map((name) => el("option", { value: name, selected: name === state.filter }, text(`overview.${name}`))));
  filter.addEventListener("change", () => ((state.filter = filter.value), draw()));
  const only = el("input", { type: "checkbox", checked: state.uncertain });
  only.addEventListener("change", () => ((state.uncertain = only.checked), draw()));
  const saves = [
    ["CSV", () => download("facet.csv", csv(photos.all, photos.declared))],
    ["JSON", () => download("facet.json", json(photos.all))],
    [text("overview.zip"), pictures],
  ];
  draw();
  return el(
    "div",
    { class: "overview panel" },
    el(
      "div",
      { class: "overview-head" },
      el("h2", {}, text("overview.title")),
      el("div", { class: "switch", role: "group", "aria-label": text("overview.view") }, views),
      filter,
      order,
      el("label", { class: "check" }, only, el("span", {}, text("overview.uncertain"))),
      el("div", { class: "overview-saves" }, el("span", { class: "fine" }, text("overview.download")), saves.map(([name, save]) => el("button", { type: "button", class: "quiet", onclick: save }, name))),
    ),
    body,
  );
}

/** A row for each face, and one for each photo without any. */
function shown(all, hidden) {
  const rows = all.flatMap((photo) => (photo.status === "done" && photo.answer.faces.length ? photo.answer.faces.map((face, index) => ({ photo, face, index })) : [{ photo, face: null, index: 0 }]));
  const kept = rows.filter((row) => KEPT[state.filter](row, hidden) && (!state.uncertain || doubtful(row.face)));
  if (!state.key) return state.down ? kept.reverse() : kept;
  const sign = state.down ? -1 : 1;
  return kept.sort((one, other) => sign * compared(value(one, state.key), value(other, state.key)));
}

function value({ photo, face }, key) {
  if (key === "photo") return photo.name;
  if (face === null) return null;
  if (key === "confidence") return face.confidence;
  const answer = attributesOf(face)[key];
  return answer ? (answer.years ?? answer.value ?? labelled(answer.label)) : null;
}

function compared(one, other) {
  if (one === null || other === null) return (one === null) - (other === null);
  return typeof one === "number" ? one - other : String(one).localeCompare(String(other));
}

/** What the grid is sorted by, and a button that turns the order round. */
function sorting(names, draw) {
  const keys = [["", text("overview.order")], ["photo", text("overview.photo")], ...names.map((name) => [name, named(name)]), ["confidence", text("overview.confidence")]];
  const select = el("select", { "aria-label": text("overview.sort") }, keys.map(([key, title]) => el("option", { value: key, selected: key === (state.key ?? "") }, title)));
  const turn = el("button", { type: "button", class: "quiet", "aria-label": text("overview.down"), "aria-pressed": String(state.down) }, state.down ? "↓" : "↑");
  select.addEventListener("change", () => ((state.key = select.value || null), draw()));
  turn.addEventListener("click", () => {
    state.down = !state.down;
    turn.setAttribute("aria-pressed", String(state.down));
    turn.replaceChildren(state.down ? "↓" : "↑");
    draw();
  });
  return el("span", { class: "sorting" }, select, turn);
}

function grid(rows, hidden, chosen) {
  if (!rows.length) return el("p", { class: "fine" }, text("overview.empty"));
  const crops = (photo, index) => (photo.status === "done" && photo.answer.faces.length ? cropsOf(photo).then((all) => all[index]) : null);
  const cells = rows.map(({ photo, face, index }) => {
    const title = face && photo.answer.faces.length > 1 ? `${photo.name} · ${index + 1}` : photo.name;
    return el("li", {}, el("button", { type: "button", class: "face-cell", onclick: () => chosen(photo) }, faceCell(face, crops(photo, index), hidden, face ? null : outcome(photo)), el("span", { class: "fine file", dir: "auto" }, title)));
  });
  return el("ul", { class: "face-grid" }, cells);
}

/** A face's crop, which comes as a promise of an address or as null, above a few words; `reason` stands for a face that is not there. */
export function faceCell(face, address, hidden, reason = null) {
  const image = el("span", { class: "crop none", "aria-hidden": "true" });
  address?.then((source) => source && image.replaceWith(el("img", { class: "crop", src: source, alt: "" })));
  const answers = face ? visible(face, hidden).map(([name, answer]) => el("span", { class: "answer" }, brief(answer, name))) : el("span", {}, reason);
  return [image, el("span", { class: "answers" }, answers)];
}

/** An answer in a word, with a mark where it is uncertain. */
function brief(answer, name) {
  if (!("label" in answer)) return el("b", {}, amount(answer), answer.low == null ? null : el("small", { dir: "ltr" }, ` ${answer.low}–${answer.high}`));
  return answer.uncertain ? el("span", { class: "badge", title: capital(unsure(answer)) }, text("face.not_sure", { attribute: named(name) })) : capital(labelled(answer.label));
}

/** Why a photo has no face to show. */
function outcome(photo) {
  return photo.status === "done" ? text("photo.none") : photo.status === "failed" ? failure(photo.error).title : text(`tile.${photo.status}`);
}

function table(rows, names, chosen, draw) {
  if (!rows.length) return el("p", { class: "fine" }, text("overview.empty"));
  const columns = [["photo", text("overview.photo")], ...names.map((name) => [name, named(name)]), ["confidence", text("overview.confidence")]];
  const head = columns.map(([key, title]) => {
    const sorted = state.key === key ? (state.down ? "descending" : "ascending") : "none";
    const sort = () => {
      state.down = state.key === key && !state.down;
      state.key = key;
      draw();
    };
    return el("th", { scope: "col", "aria-sort": sorted }, el("button", { type: "button", class: "quiet", "aria-label": title, onclick: sort }, title, { none: "", ascending: " ↑", descending: " ↓" }[sorted]));
  });
  return el("table", {}, el("thead", {}, el("tr", {}, head)), el("tbody", {}, rows.map((row) => line(row, names, chosen))));
}

function line({ photo, face, index }, names, chosen) {
  const open = el("button", { type: "button", class: "quiet", dir: "auto", onclick: () => chosen(photo) }, photo.name);
  const first = el("th", { scope: "row" }, open, face && photo.answer.faces.length > 1 ? el("span", { class: "fine" }, ` ${text("face.title", { n: index + 1 })}`) : null);
  if (face === null) {
    return el("tr", {}, first, el("td", { colspan: String(names.length + 1) }, outcome(photo)));
  }
  const answers = attributesOf(face);
  return el("tr", {}, first, names.map((name) => cell(answers[name])), el("td", {}, percent(face.confidence)));
}

function cell(answer) {
  if (!answer) return el("td", {}, "–");
  return el("td", {}, answer.uncertain ? el("span", { class: "badge", title: capital(unsure(answer)) }, text("label.uncertain")) : capital(inFull(answer)));
}
