/** Names of the columns of a table, as docs/tables.md has them: each is unique, and those of a model go by its attributes alone. */

import { AGE, CONTRACT } from "./contract.js";

const POINTS = ["left_eye", "right_eye", "nose", "mouth_left", "mouth_right"];

/** Columns that are there whatever a model declares, in any table of the service. */
const FIXED = [
  ...["file", "face", "x", "y", "width", "height", "confidence"],
  ...["size_px", "sharpness", "brightness", "roll", "yaw", "noise", "contrast", "warnings"],
  ...["model", "version", "digest", "problem", "detail", "track", "first_s", "last_s", "frames", "answers", "frame", "time_s"],
  ...POINTS.flatMap((point) => [`${point}_x`, `${point}_y`]),
  ...Array.from({ length: 99 }, (_, index) => atLeastColumn(index + 1)),
];

/** The column of the probability of being at least so old. */
export function atLeastColumn(age) {
  return `p_at_least_${age}`;
}

/** Beginnings of column names by attribute, and columns of labels by attribute and label, for what a model declares. */
export function columnNames(attributes) {
  const taken = new Set(FIXED);
  const prefixes = new Map();
  const labels = new Map();
  const fixed = attributes.filter(({ name }) => CONTRACT.has(name));
  const others = attributes.filter(({ name }) => !CONTRACT.has(name));
  const shared = (label) => fixed.filter((one) => one.labels.includes(label)).length > 1;
  for (const group of [fixed, others]) {
    for (const one of group) prefixes.set(one.name, free(one.name, (name) => endings(one).map((ending) => name + ending), taken));
    for (const { name, labels: all } of group) {
      const named = (label) => {
        const short = CONTRACT.has(name) && !shared(label) && !taken.has(`p_${label}`);
        return free(name, (qualified) => [short ? `p_${label}` : `p_${qualified}_${label}`], taken);
      };
      labels.set(name, new Map(all.map((label) => [label, named(label)])));
    }
  }
  return { prefixes, labels };
}

/** What follows the prefix in the names of an attribute's columns; the first is empty. */
function endings({ name, kind }) {
  if (kind === "labels") return ["", "_confidence", "_uncertain"];
  return ["", "_low", "_high", "_distribution", ...(name === AGE ? ["_years"] : [])];
}

/** The first of ever longer names whose columns are all free; they are taken then, and the first of them is returned. */
function free(name, columnsOf, taken) {
  const columns = columnsOf(name);
  if (columns.some((column) => taken.has(column))) return free(`attribute_${name}`, columnsOf, taken);
  for (const column of columns) taken.add(column);
  return columns[0];
}
