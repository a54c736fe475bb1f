/** The ages of which a face's probability of being at least so old is requested. */

import { el } from "./dom.js";
import { language, number, text } from "./language.js";

const LOWEST = 1;
const HIGHEST = 99;
const MOST = 8;

/** Ages in a text such as "18, 21, 25", also in the language's own digits, each once and in order; null where it is none. */
export function agesIn(text) {
  const digits = Array.from("0123456789", number);
  const words = digits.reduce((plain, own, digit) => plain.replaceAll(own, digit), text.normalize("NFKC")).split(/[\s,;،؛、]+/).filter(Boolean);
  if (!words.every((word) => /^\d{1,2}$/.test(word) && Number(word) >= LOWEST)) return null;
  const ages = [...new Set(words.map(Number))].sort((a, b) => a - b);
  return ages.length > MOST ? null : ages;
}

/** A field for them, with what they are not for. It is there while the model can answer them, and every view has its own. */
export function agesField(photos, id) {
  const input = el("input", { id, type: "text", inputmode: "numeric", placeholder: "18, 21, 25", autocomplete: "off", "aria-describedby": `${id}-note`, maxlength: "60" });
  const note = el("p", { id: `${id}-note`, class: "fine" });
  const field = el("div", { class: "ages" }, el("label", { for: id, "data-text": "ages.at_least" }, text("ages.at_least")), input, el("span", { "data-text": "ages.years" }, text("ages.years")), note);
  const describe = (wrong) => {
    input.setAttribute("aria-invalid", String(wrong));
    note.textContent = wrong ? text("ages.wrong", { low: LOWEST, high: HIGHEST, n: MOST }) : text("ages.note");
  };
  const show = () => {
    field.hidden = !photos.hasAgeDistribution;
    input.value = photos.atLeast.join(", ");
    describe(false);
  };
  input.addEventListener("change", () => {
    const ages = agesIn(input.value);
    if (ages) photos.setAtLeast(ages);
    else describe(true);
  });
  photos.addEventListener("offer", show);
  language.addEventListener("change", show);
  show();
  return field;
}
