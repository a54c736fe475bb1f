/** What the model is and how good it is, from `GET /model`. */

import { $, el, place } from "./dom.js";
import { available } from "./camera.js";
import { AGE, CONTRACT } from "./contract.js";
import { known, list, ltr, number, text } from "./language.js";
import { TERMS } from "./terms.js";
import { capital, failure, labelled, named, percent, thing } from "./words.js";

/** Fill the view with the card, or with why there is none, below a choice of the model, which keeps its focus. */
export function showModel(card, error, choice) {
  if (!$("model").contains(choice)) $("model").append(el("h1", { id: "model-title", class: "view-title" }), choice, el("div", { class: "sheet" }));
  $("model-title").textContent = text("model.title");
  const [left, right] = card ? [[figures(card), groups(card)], [about(card), use(card), terms(card), install()]] : [[trouble(error)], [install()]];
  $("model").lastChild.replaceChildren(el("div", {}, left), el("div", {}, right));
}

function trouble(error) {
  if (!error) return el("p", { class: "message" }, text("model.loading"));
  const { title, advice } = failure(error);
  return el("div", { class: "message bad" }, el("div", {}, el("h2", {}, title), el("p", {}, advice)));
}

function about(card) {
  const { serving } = card;
  const rows = [
    [text("model.row.model"), versioned(card)],
    [text("model.row.trained"), card.trained_on?.join(", ")],
    [text("model.row.made"), card.created],
    [text("model.row.licence"), card.licence && el("span", { lang: "en" }, card.licence)],
    [text("model.row.answers"), list(answers(card).map(({ name }) => thing(name)))],
    [text("model.row.runs"), `${serving.runtime}, ${serving.precision}`],
    [text("model.row.detector"), serving.detector && versioned(serving.detector)],
    [text("model.row.service"), `Facet ${serving.facet}`],
  ];
  return panel(text("model.about"), rowsOf(rows.filter(([, value]) => value)));
}

const versioned = ({ name, version }) => text("model.versioned", { name, version: String(version) });

/** Attributes that the model declares and the operator allows. */
const answers = ({ attributes, serving }) => attributes.filter(({ name }) => serving.attributes.includes(name));

function figures({ attributes, evaluation }) {
  const all = evaluation?.headline;
  if (!all) return null;
  const tiles = attributes.flatMap(({ name, kind, ...declared }) => (kind === "expectation" ? errors(name, declared, all) : [[all[`${name}_accuracy`], percent, "", known(`right.${name}`) ?? text("model.label_right", { attribute: thing(name) })]])).filter(([value]) => typeof value === "number");
  const found = typeof all.found === "number";
  return panel(
    text("model.quality"),
    el("p", { class: "fine" }, text(found ? "model.quality.found" : "model.quality.on", { n: all.count, share: found ? percent(all.found) : "" })),
    el("ul", { class: "tiles" }, tiles.map(([value, form, unit, text]) => el("li", {}, el("b", {}, form(value), unit && el("small", {}, ` ${unit}`)), el("span", {}, text)))),
  );
}

/** Digits of an error behind the point: one of years, as many of another range as its hundredth has. */
const digits = (range) => (range ? Math.max(1, 3 - Math.floor(Math.log10(range[1] - range[0]))) : 1);

function errors(name, { range, unit }, all) {
  return [
    [all[`${name}_mae`], (value) => decimal(value, range), range ? unit : text("model.years"), text("model.mae", { attribute: thing(name) })],
    [name === AGE ? all.interval_coverage : all[`${name}_interval_coverage`], percent, "", text("model.covered", { attribute: thing(name) })],
  ];
}

/** Labels that say what they are are named alone, others with their attribute. */
function group(kind, name) {
  if (kind === AGE) return text("model.group.age", { name: ltr(name.replace("-", "–")) });
  return CONTRACT.has(kind) ? capital(labelled(name)) : text("face.named", { attribute: named(kind), value: labelled(name) });
}

function groups({ attributes, evaluation }) {
  const kinds = Object.entries(evaluation?.groups ?? {}).filter(([, members]) => Object.keys(members).length);
  if (!kinds.length) return null;
  const rows = kinds.flatMap(([kind, members]) => Object.entries(members).map(([name, figures]) => [group(kind, name), figures]));
  const columns = attributes.map(({ name, kind, range }) => (kind === "expectation" ? mistaken(name, range, rows) : [text("model.column.right", { attribute: named(name) }), (figures) => share(figures[`${name}_accuracy`])]));
  const head = [text("model.group"), text("model.pictures"), ...columns.map(([title]) => title)];
  return panel(
    text("model.groups"),
    el("p", { class: "fine" }, text("model.groups.text")),
    el(
      "div",
      { class: "scroll", tabindex: "0", role: "region", "aria-label": text("model.groups.table") },
      el(
        "table",
        {},
        el("thead", {}, el("tr", {}, head.map((name) => el("th", { scope: "col" }, name)))),
        el(
          "tbody",
          {},
          rows.map(([name, figures]) =>
            el("tr", {}, el("th", { scope: "row" }, name), el("td", {}, number(figures.count)), columns.map(([, cell]) => el("td", {}, cell(figures)))),
          ),
        ),
      ),
    ),
  );
}

/** A column of an expectation's errors, each with a bar beside those of the other groups. */
function mistaken(name, range, rows) {
  const key = `${name}_mae`;
  const worst = Math.max(...rows.map(([, figures]) => figures[key] ?? 0)) || 1;
  const meter = (value) => el("span", { class: "meter", "aria-hidden": "true" }, place(el("span"), { width: `${(100 * value) / worst}%` }));
  return [text("model.column.error", { attribute: named(name) }), (figures) => [meter(figures[key] ?? 0), figures[key] == null ? "–" : decimal(figures[key], range)]];
}

const decimal = (value, range) => number(value, { minimumFractionDigits: digits(range), maximumFractionDigits: digits(range) });

const share = (value) => (typeof value === "number" ? percent(value) : "–");

/** The notes on ages and on labels go by what the model estimates. */
function use(card) {
  const names = answers(card).map(({ name }) => name);
  const about = [names.includes(AGE) && "model.use.age", names.some((name) => name !== AGE && CONTRACT.has(name)) && "model.use.labels", "model.use.never"];
  return panel(text("model.use"), about.filter(Boolean).map((key) => el("p", {}, text(key))));
}

const OF_LABELS = new Set(["uncertain", "other"]);

function terms(card) {
  const kinds = new Set(answers(card).map(({ kind }) => kind));
  const wanted = TERMS.filter((name) => kinds.has(OF_LABELS.has(name) ? "labels" : "expectation"));
  return panel(text("model.terms"), el("dl", { class: "terms" }, wanted.flatMap((name) => [el("dt", {}, text(`term.${name}.name`)), el("dd", {}, text(`term.${name}`))])));
}

function install() {
  return panel(
    text("model.phone"),
    el("p", {}, text(available() ? "model.phone.install" : "model.phone.https")),
    available() ? null : el("p", {}, `${text("model.phone.tls")} `, el("code", {}, "facet serve --tls"), "."),
  );
}

function panel(title, ...content) {
  return el("section", { class: "panel" }, el("h2", {}, title), content.flat());
}

function rowsOf(rows) {
  return el("dl", { class: "rows" }, rows.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value))));
}
