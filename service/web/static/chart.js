/** An age as a curve over its interval, and labels as bars. */

import { el, place, svg } from "./dom.js";
import { capital, cases, percent } from "./words.js";

const WIDTH = 320;
const HEIGHT = 76;
const BASE = 58;
const OLDEST = 100;

const x = (years) => 6 + (Math.min(OLDEST, Math.max(0, years)) / OLDEST) * (WIDTH - 12);

/** The distribution of an age, its interval and its expectation; without a distribution, the interval alone. */
export function ageChart(age, name) {
  const between = age.low == null ? "" : `, between ${age.low} and ${age.high} ${cases(age.coverage)}`;
  const chart = svg("svg", {
    class: "age-chart",
    viewBox: `0 0 ${WIDTH} ${HEIGHT}`,
    role: "img",
    "aria-label": `${name} about ${Math.round(age.years)} years${between}`,
  });
  for (const years of [0, 20, 40, 60, 80, 100]) {
    chart.append(svg("line", { class: "tick", x1: x(years), x2: x(years), y1: BASE, y2: BASE + 4 }));
    chart.append(svg("text", { class: "tick-label", x: x(years), y: HEIGHT - 2, "text-anchor": "middle" }, String(years)));
  }
  if (age.distribution) {
    const curve = outline(age.distribution);
    chart.append(svg("path", { class: "curve-fill", d: `${curve}L${x(OLDEST)} ${BASE}L${x(0)} ${BASE}Z` }));
    if (age.low != null) chart.append(slice(age.distribution, age.low - 0.5, age.high + 0.5));
    chart.append(svg("path", { class: "curve", d: curve }));
  } else if (age.low != null) {
    chart.append(svg("rect", { class: "curve-interval", x: x(age.low), width: Math.max(3, x(age.high) - x(age.low)), y: 26, height: BASE - 26, rx: 4 }));
  }
  chart.append(svg("line", { class: "axis", x1: x(0), x2: x(OLDEST), y1: BASE, y2: BASE }));
  chart.append(svg("line", { class: "mean", x1: x(age.years), x2: x(age.years), y1: 6, y2: BASE }));
  chart.append(svg("circle", { class: "mean-dot", cx: x(age.years), cy: 6, r: 3 }));
  return chart;
}

function heights(distribution) {
  // A flat distribution must not look as sure as a steep one: the curve fills the chart from a peak of 0.08 on.
  const peak = Math.max(0.08, ...distribution);
  return distribution.map((value) => BASE - (value / peak) * (BASE - 12));
}

function outline(distribution) {
  return heights(distribution).map((y, years) => `${years ? "L" : "M"}${x(years).toFixed(1)} ${y.toFixed(1)}`).join("");
}

/** The part of the curve from one age to another, down to the axis. */
function slice(distribution, from, to) {
  const y = heights(distribution);
  const at = (years) => {
    const left = Math.min(OLDEST, Math.max(0, Math.floor(years)));
    const right = Math.min(OLDEST, left + 1);
    return y[left] + (y[right] - y[left]) * Math.max(0, years - left);
  };
  const inner = y.map((_, years) => years).filter((years) => years > from && years < to);
  const points = [Math.max(0, from), ...inner, Math.min(OLDEST, to)];
  const top = points.map((years) => `L${x(years).toFixed(1)} ${at(years).toFixed(1)}`).join("");
  return svg("path", { class: "curve-interval", d: `M${x(points[0]).toFixed(1)} ${BASE}${top}L${x(points.at(-1)).toFixed(1)} ${BASE}Z` });
}

/** Every label of an attribute with its probability, the most probable first. */
export function bars(answer) {
  const sorted = Object.entries(answer.probabilities).sort(([, a], [, b]) => b - a);
  return el(
    "ul",
    { class: `bars${answer.uncertain ? " unsure" : ""}` },
    sorted.map(([label, probability]) =>
      el(
        "li",
        { class: label === answer.label ? "top" : null },
        el("span", { class: "bar-label" }, capital(label)),
        el("span", { class: "bar-track", "aria-hidden": "true" }, place(el("span", { class: "bar-fill" }), { width: `${Math.max(1, probability * 100)}%` })),
        el("span", { class: "bar-value" }, percent(probability)),
      ),
    ),
  );
}
