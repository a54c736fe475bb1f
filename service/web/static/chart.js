/** An age, or another number, as a curve over its interval, and labels as bars. */

import { el, place, svg } from "./dom.js";
import { number, text } from "./language.js";
import { term } from "./terms.js";
import { amount, capital, cases, labelled, percent } from "./words.js";

const WIDTH = 320;
const HEIGHT = 76;
const BASE = 58;
const STEPS = 100; // years of an age, hundredths of any other range

const x = (step) => 6 + (Math.min(STEPS, Math.max(0, step)) / STEPS) * (WIDTH - 12);

/** The distribution of an expectation, its interval and its value; without a distribution, the interval alone. */
export function expectationChart(answer, name) {
  const [lowest, highest] = answer.range ?? [0, STEPS];
  const step = (value) => ((value - lowest) / (highest - lowest)) * STEPS;
  const chart = svg("svg", {
    class: "age-chart",
    viewBox: `0 0 ${WIDTH} ${HEIGHT}`,
    role: "img",
    "aria-label": described(answer, name),
  });
  for (const tick of [0, 20, 40, 60, 80, 100]) {
    chart.append(svg("line", { class: "tick", x1: x(tick), x2: x(tick), y1: BASE, y2: BASE + 4 }));
    const value = Number((lowest + (tick / STEPS) * (highest - lowest)).toPrecision(4));
    chart.append(svg("text", { class: "tick-label", x: x(tick), y: HEIGHT - 2, "text-anchor": "middle" }, number(value)));
  }
  const [low, high] = answer.low == null ? [] : [step(answer.low), step(answer.high)];
  if (answer.distribution) {
    const curve = outline(answer.distribution);
    chart.append(svg("path", { class: "curve-fill", d: `${curve}L${x(STEPS)} ${BASE}L${x(0)} ${BASE}Z` }));
    if (low != null) chart.append(slice(answer.distribution, low - 0.5, high + 0.5));
    chart.append(svg("path", { class: "curve", d: curve }));
  } else if (low != null) {
    chart.append(svg("rect", { class: "curve-interval", x: x(low), width: Math.max(3, x(high) - x(low)), y: 26, height: BASE - 26, rx: 4 }));
  }
  const mean = x(step(answer.years ?? answer.value));
  chart.append(svg("line", { class: "axis", x1: x(0), x2: x(STEPS), y1: BASE, y2: BASE }));
  chart.append(svg("line", { class: "mean", x1: mean, x2: mean, y1: 6, y2: BASE }));
  chart.append(svg("circle", { class: "mean-dot", cx: mean, cy: 6, r: 3 }));
  return chart;
}

function described(answer, name) {
  if (!("years" in answer)) return text("face.named", { attribute: name, value: amount(answer) });
  const values = { attribute: name, years: Math.round(answer.years), low: answer.low, high: answer.high };
  return answer.low == null ? text("age.chart", values) : text("age.chart.between", { ...values, cases: cases(answer.coverage) });
}

function heights(distribution) {
  // A flat distribution must not look as sure as a steep one: the curve fills the chart from a peak of 0.08 on.
  const peak = Math.max(0.08, ...distribution);
  return distribution.map((value) => BASE - (value / peak) * (BASE - 12));
}

function outline(distribution) {
  return heights(distribution).map((y, step) => `${step ? "L" : "M"}${x(step).toFixed(1)} ${y.toFixed(1)}`).join("");
}

/** The part of the curve from one step to another, down to the axis. */
function slice(distribution, from, to) {
  const y = heights(distribution);
  const at = (step) => {
    const left = Math.min(STEPS, Math.max(0, Math.floor(step)));
    const right = Math.min(STEPS, left + 1);
    return y[left] + (y[right] - y[left]) * Math.max(0, step - left);
  };
  const inner = y.map((_, step) => step).filter((step) => step > from && step < to);
  const points = [Math.max(0, from), ...inner, Math.min(STEPS, to)];
  const top = points.map((step) => `L${x(step).toFixed(1)} ${at(step).toFixed(1)}`).join("");
  return svg("path", { class: "curve-interval", d: `M${x(points[0]).toFixed(1)} ${BASE}${top}L${x(points.at(-1)).toFixed(1)} ${BASE}Z` });
}

/** Every label of an attribute with its probability, the most probable first, or in the order of another answer. */
export function bars(answer, order = answer) {
  const chance = (label) => order.probabilities[label] ?? 0;
  const sorted = Object.entries(answer.probabilities).sort(([a], [b]) => chance(b) - chance(a));
  return el(
    "ul",
    { class: `bars${answer.uncertain ? " unsure" : ""}` },
    sorted.map(([label, probability]) =>
      el(
        "li",
        { class: label === answer.label ? "top" : null },
        el("span", { class: "bar-label" }, label === "other" ? term("other", capital(labelled(label))) : capital(labelled(label))),
        el("span", { class: "bar-track", "aria-hidden": "true" }, place(el("span", { class: "bar-fill" }), { width: `${Math.max(1, probability * 100)}%` })),
        el("span", { class: "bar-value" }, percent(probability)),
      ),
    ),
  );
}
