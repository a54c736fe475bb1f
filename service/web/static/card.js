/** One face in words and drawings: crop, attributes, quality and warnings. */

import { expectationChart, bars } from "./chart.js";
import { apart, disagree, disagreeing } from "./compare.js";
import { AGE } from "./contract.js";
import { copy, el, icon, place } from "./dom.js";
import { attributesOf } from "./facet.js";
import { number, row, text } from "./language.js";
import { term } from "./terms.js";
import { amount, capital, cases, inFull, labelled, measures, named, percent, thing, unsure, visible, warning, words } from "./words.js";

/** Boxes and the numbers on cards; white letters are readable on each. */
export const COLOURS = ["#c2410c", "#1d4ed8", "#15803d", "#86198f", "#b91c1c", "#0e7490", "#a16207", "#4338ca"];

export const colour = (index) => COLOURS[index % COLOURS.length];

const CROP = 176;

/** A card that opens and closes; closed, it is one line. `hidden` has the attributes that the viewer does not want to see; `source` is
 * what the crop is cut from, or null; `toggled(open)` is called when it is opened or closed. `against` is a second model's answer to
 * the face: `{ names, face }`, of which `face` may still lack; null where none is asked. */
export function card(face, { title, index, hidden, source, scale, open, toggled, against }) {
  const id = `face-${index}`;
  const summary = row(words(face, hidden)) || text("face.found.only");
  const body = el(
    "details",
    { open, ontoggle: () => toggled(body.open) },
    el(
      "summary",
      {},
      source ? crop(source, face.box, scale) : el("span", { class: "crop none", "aria-hidden": "true" }),
      el(
        "span",
        { class: "who" },
        el("h3", { id: `${id}-title` }, el("span", { class: "number", "aria-hidden": "true" }, number(index + 1)), title),
        el("span", { class: "brief" }, summary, face.warnings.length > 0 && icon("alert"), against && disagreeing(face, against.face, hidden) && el("span", { class: "badge" }, text("compare.disagree"))),
        el("span", { class: "fine found" }, text("face.found", { share: percent(face.confidence) })),
      ),
      icon("down"),
    ),
    against ? compared(face, against, hidden) : attributes(face, hidden),
    quality(face),
    copying(title, face, hidden, against),
  );
  return place(el("article", { class: "card", id, tabindex: "-1", "aria-labelledby": `${id}-title` }, body), { "--face": colour(index) });
}

/** A button that copies what `content()` gives, and says so for a moment. */
export function copyButton(name, content, kind = "") {
  const label = el("span", {}, name);
  const onclick = async () => {
    await copy(content());
    label.textContent = text("photo.copied");
    setTimeout(() => (label.textContent = name), 2000);
  };
  return el("button", { type: "button", class: `quiet ${kind}`, "aria-live": "polite", onclick }, icon("copy"), label);
}

/** One that copies the answers for a face, in words: those of two models with their names. */
function copying(title, face, hidden, against) {
  const uncertain = (answer) => (answer.uncertain ? ` (${text("label.uncertain")})` : "");
  const lines = (one) => visible(one, hidden).map(([name, answer]) => `${capital(thing(name))}: ${inFull(answer)}${uncertain(answer)}`);
  const both = () => against?.face && [against.names[0], ...lines(face), against.names[1], ...lines(against.face)];
  return copyButton(text("face.copy"), () => [title, ...(both() ?? lines(face)), ...face.warnings.map(warning)].join("\n"), "copying");
}

/** The face and a little round it, as a square picture. */
export function crop(source, box, scale) {
  const canvas = el("canvas", { class: "crop", width: CROP, height: CROP, "aria-hidden": "true" });
  const side = Math.max(box.width, box.height) * 1.35 * scale;
  const left = (box.x + box.width / 2) * scale - side / 2;
  const top = (box.y + box.height / 2) * scale - side / 2;
  const pen = canvas.getContext("2d");
  pen.imageSmoothingQuality = "high";
  pen.drawImage(source, left, top, side, side, 0, 0, CROP, CROP);
  return canvas;
}

/** A section for every answer that the viewer has not hidden. */
export function attributes(face, hidden) {
  return visible(face, hidden).map(([name, answer]) => el("section", { class: kindOf(answer) }, el("h4", {}, headingOf(name, answer)), contents(name, answer)));
}

const kindOf = (answer) => `attribute${"label" in answer ? "" : " age"}`;

const headingOf = (name, answer) => (name === AGE && !("label" in answer) ? term("apparent", text("age.title")) : named(name));

const contents = (name, answer, like) => ("label" in answer ? label(answer, like) : expectation(name, answer));

/** The same sections with the answers of two models in each, and a mark where they disagree. */
function compared(face, { names, face: other }, hidden) {
  const answers = [face, other].map((one) => (one ? attributesOf(one) : {}));
  const all = [...new Set(answers.flatMap(Object.keys))].filter((name) => !hidden.has(name));
  return all.map((name) => {
    const [one, second] = answers.map((one) => one[name]);
    const columns = [one, second].map((answer, index) => {
      const missing = el("p", { class: "fine" }, index === 1 && !other ? text("live.looking") : "–");
      return el("div", { class: index ? "second" : null }, el("p", { class: "model-name", translate: "no" }, names[index]), answer ? contents(name, answer, one) : missing);
    });
    return el("section", { class: kindOf(one ?? second) }, el("div", { class: "attribute-head" }, el("h4", {}, headingOf(name, one ?? second)), difference(one, second)), el("div", { class: "pair" }, columns));
  });
}

/** How far two numbers are apart, marked as the labels are where they disagree. */
function difference(one, other) {
  const distance = apart(one, other);
  const sentence = distance ? text("compare.apart", { amount: distance }) : text("compare.disagree");
  if (disagree(one, other)) return el("span", { class: "badge" }, sentence);
  return distance && el("span", { class: "fine" }, sentence);
}

function expectation(name, answer) {
  const interval = answer.low == null ? null : el("p", { class: "between" }, text("age.between", { low: answer.low, high: answer.high }), el("span", {}, " ", term("interval", cases(answer.coverage))));
  return [
    el("div", { class: "age-line" }, el("p", { class: "years" }, amount(answer)), interval),
    expectationChart(answer, named(name)),
    answer.at_least && el("ul", { class: "at-least" }, Object.entries(answer.at_least).map(([age, share]) => el("li", {}, text("age.at_least", { age: Number(age) }), el("b", {}, percent(share))))),
  ].filter(Boolean);
}

function label(answer, like) {
  const badge = answer.uncertain ? el("span", { class: "badge" }, term("uncertain", text("label.uncertain"))) : null;
  const value = capital(answer.uncertain ? unsure(answer) : labelled(answer.label));
  return [el("p", { class: "label" }, value, badge), bars(answer, like)];
}

function quality(face) {
  return el(
    "section",
    { class: "attribute quality" },
    el("h4", {}, text("quality.title")),
    face.warnings.length > 0 && el("ul", { class: "warnings" }, face.warnings.map((name) => el("li", {}, icon("alert"), warning(name)))),
    el(
      "dl",
      { class: "measures" },
      measures(face.quality, face.warnings).map(([name, value, bad]) => el("div", { class: bad ? "bad" : null }, el("dt", {}, name), el("dd", {}, value))),
    ),
  );
}
