/** Two models' answers to the same face: which face of one is which of the other, and where they disagree. */

import { attributesOf } from "./facet.js";
import { number, text } from "./language.js";

/** Every answer to a photo: the model's, and that of the model it is compared with. */
export const answersOf = ({ answer, other }) => [answer, ...(other?.answer ? [other.answer] : [])];

/** The second model's answer to a face of the first one's; undefined where it has none. Both look at the boxes of one detector. */
export function counterpart({ other }, face) {
  return other?.answer?.faces.find(({ box }) => ["x", "y", "width", "height"].every((side) => box[side] === face.box[side]));
}

/** Whether two answers for one attribute disagree: by their labels, or a number of one lies outside of the other's interval. */
export function disagree(one, other) {
  if (!one || !other) return false;
  if ("label" in one) return stated(one) !== stated(other);
  return outside(one, other) || outside(other, one);
}

const stated = ({ label, uncertain }) => (uncertain ? null : label);
const value = (answer) => answer.years ?? answer.value;
const outside = (one, other) => other.low != null && (value(one) < other.low || value(one) > other.high);

/** Whether two models disagree about a face in anything that the viewer has not hidden. */
export function disagreeing(face, against, hidden) {
  const others = against ? attributesOf(against) : {};
  return Object.entries(attributesOf(face)).some(([name, answer]) => !hidden.has(name) && disagree(answer, others[name]));
}

/** How far two numbers are apart, as they are shown: "5 years"; null for labels, and where they are shown alike. */
export function apart(one, other) {
  if (!one || !other || "label" in one) return null;
  if ("years" in one) {
    const n = Math.abs(Math.round(one.years) - Math.round(other.years));
    return n ? text("count.years", { n }) : null;
  }
  const between = Math.abs(one.value - other.value);
  return between ? `${number(between, { maximumSignificantDigits: 2 })} ${one.unit}`.trim() : null;
}
