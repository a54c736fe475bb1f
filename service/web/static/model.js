/** What the model is and how good it is, from `GET /model`. */

import { $, el, place } from "./dom.js";
import { NEEDS_HTTPS, lent } from "./camera.js";
import { capital, failure, named, percent } from "./words.js";

/** Fill the view with the card, or with why there is none. */
export function showModel(card, error) {
  const title = el("h1", { id: "model-title", class: "view-title" }, "What answers here");
  const [left, right] = card ? [[figures(card), groups(card)], [about(card), use(), install()]] : [[trouble(error)], [use(), install()]];
  $("model").replaceChildren(title, el("div", { class: "sheet" }, el("div", {}, left), el("div", {}, right)));
}

function trouble(error) {
  if (!error) return el("p", { class: "message" }, "Asking the service …");
  const { title, advice } = failure(error);
  return el("div", { class: "message bad" }, el("div", {}, el("h2", {}, title), el("p", {}, advice)));
}

function about(card) {
  const { serving } = card;
  const rows = [
    ["Model", `${card.name}, version ${card.version}`],
    ["Trained on", card.trained_on?.join(", ")],
    ["Made", card.created],
    ["Licence", card.licence],
    ["Answers", answers(card).map(({ name }) => name).join(", ")],
    ["Runs on", `${serving.runtime}, ${serving.precision}`],
    ["Faces found by", `${serving.detector?.name}, version ${serving.detector?.version}`],
    ["Service", `Facet ${serving.facet}`],
  ];
  return panel("The model", list(rows.filter(([, value]) => value)));
}

/** Attributes that the model declares and the operator allows. */
const answers = ({ attributes, serving }) => attributes.filter(({ name }) => serving.attributes.includes(name));

const LABELLED = { gender: "of genders are labelled right", race: "of races are labelled right" };

function figures({ attributes, evaluation }) {
  const all = evaluation?.headline;
  if (!all) return null;
  const tiles = attributes.flatMap(({ name, kind, ...declared }) => (kind === "expectation" ? errors(name, declared, all) : [[all[`${name}_accuracy`], percent, "", LABELLED[name] ?? `of labels of ${name.replaceAll("_", " ")} are right`]])).filter(([value]) => typeof value === "number");
  const found = typeof all.found === "number" ? `; a face was found in ${percent(all.found)} of them` : "";
  return panel(
    "How good it is",
    el("p", { class: "fine" }, `Measured on ${all.count.toLocaleString("en")} labelled pictures that it never saw in training${found}.`),
    el("ul", { class: "tiles" }, tiles.map(([value, form, unit, text]) => el("li", {}, el("b", {}, form(value), unit && el("small", {}, ` ${unit}`)), el("span", {}, text)))),
  );
}

/** Digits of an error behind the point: one of years, as many of another range as its hundredth has. */
const digits = (range) => (range ? Math.max(1, 3 - Math.floor(Math.log10(range[1] - range[0]))) : 1);

function errors(name, { range, unit }, all) {
  return [
    [all[`${name}_mae`], (value) => value.toFixed(digits(range)), range ? unit : "years", `mean error of the ${name.replaceAll("_", " ")}`],
    name === "age" ? [all.interval_coverage, percent, "", "of true ages lie in the interval"] : [all[`${name}_interval_coverage`], percent, "", `of true values of ${name.replaceAll("_", " ")} lie in the interval`],
  ];
}

/** Labels that say what they are are named alone, others with their attribute. */
function group(kind, name) {
  if (kind === "age") return `Age ${name}`;
  return kind in LABELLED ? capital(name) : `${named(kind)}: ${name}`;
}

function groups({ attributes, evaluation }) {
  const kinds = Object.entries(evaluation?.groups ?? {}).filter(([, members]) => Object.keys(members).length);
  if (!kinds.length) return null;
  const rows = kinds.flatMap(([kind, members]) => Object.entries(members).map(([name, figures]) => [group(kind, name), figures]));
  const columns = attributes.map(({ name, kind, range }) => (kind === "expectation" ? mistaken(name, range, rows) : [`${named(name)} right`, (figures) => share(figures[`${name}_accuracy`])]));
  const head = ["Group", "Pictures", ...columns.map(([title]) => title)];
  return panel(
    "For whom",
    el("p", { class: "fine" }, "It errs more for some than for others. Years of age error, and the share of labels that are right."),
    el(
      "div",
      { class: "scroll", tabindex: "0", role: "region", "aria-label": "Quality by group" },
      el(
        "table",
        {},
        el("thead", {}, el("tr", {}, head.map((name) => el("th", { scope: "col" }, name)))),
        el(
          "tbody",
          {},
          rows.map(([name, figures]) =>
            el("tr", {}, el("th", { scope: "row" }, name), el("td", {}, figures.count.toLocaleString("en")), columns.map(([, cell]) => el("td", {}, cell(figures)))),
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
  return [`${named(name)} error`, (figures) => [meter(figures[key] ?? 0), figures[key]?.toFixed(digits(range)) ?? "–"]];
}

const share = (value) => (typeof value === "number" ? percent(value) : "–");

function use() {
  return panel(
    "What it is not for",
    el("p", {}, "The age is an apparent age: how old a face looks to those who labelled the training pictures. The genders and races are the labels of a data set. They say nothing of how a person identifies, and many people fit none of them."),
    el("p", {}, "Do not decide about a person by it, and do not sort people by it where the law forbids that. It cannot tell who somebody is. Photos are answered from memory: nothing of them is stored or logged."),
  );
}

function install() {
  return panel(
    "On a phone",
    el("p", {}, lent() ? "This page can be installed: “Add to home screen” in the browser's menu. It then opens full screen and takes photos with the camera." : `${NEEDS_HTTPS} The same goes for installing this page. Without it, “Take a photo” opens the phone's own camera, and there is no live view.`),
    lent() ? null : el("p", {}, "On a home network, whoever runs the service starts it with ", el("code", {}, "facet serve --tls"), "."),
  );
}

function panel(title, ...content) {
  return el("section", { class: "panel" }, el("h2", {}, title), ...content);
}

function list(rows) {
  return el("dl", { class: "rows" }, rows.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value))));
}
