/** The page's words in the viewer's language, and numbers in its form. */

export const LANGUAGES = {
  en: "English",
  de: "Deutsch",
  es: "Español",
  fr: "Français",
  pt: "Português",
  hu: "Magyar",
  hi: "हिन्दी",
  ar: "العربية",
  zh: "中文",
};

const RIGHT_TO_LEFT = new Set(["ar"]);
const CHOSEN = "facet-language";

let words = {};
let locale = "en";
let plurals = new Intl.PluralRules(locale);

/** Tells by `change` of another language. */
export const language = new EventTarget();
language.code = "en";

/** The sentence of a key with its values filled in. Numbers are written as the language does; `n` chooses the plural. */
export function text(key, values = {}) {
  const entry = words[key];
  const sentence = typeof entry === "object" ? (entry[plurals.select(values.n)] ?? entry.other) : entry;
  return (sentence ?? key).replace(/\{(\w+)\}/g, (_, name) => (typeof values[name] === "number" ? number(values[name]) : String(values[name] ?? "")));
}

/** The sentence of a key, or null where there is none, as for a label that only one model has. */
export const known = (key) => (key in words ? text(key) : null);

/** A number in the language's form, with all digits or as `options` say. */
export const number = (value, options) => new Intl.NumberFormat(locale, { maximumFractionDigits: 9, ...options }).format(value);

const COMMAS = { ar: "، ", zh: "、" };

/** Words one after another: "34, female, white". */
export const row = (words) => words.join(COMMAS[language.code] ?? ", ");

/** A number with Latin letters, such as "640 × 480 px", as one piece in a line that runs from right to left. */
export const ltr = (piece) => (document.documentElement.dir === "rtl" ? `\u2066${piece}\u2069` : piece);

/** Things in a row: "age, gender and race". */
export const list = (things) => new Intl.ListFormat(locale, { type: "conjunction" }).format(things);

/** The viewer's words for everything below `root` that names a key: `data-text`, and `data-label` for its accessible name. */
export function translate(root = document) {
  for (const element of root.querySelectorAll("[data-text]")) emphasised(element, text(element.dataset.text));
  for (const element of root.querySelectorAll("[data-label]")) element.setAttribute("aria-label", text(element.dataset.label));
}

/** A sentence in which *a part* is emphasised. */
function emphasised(element, sentence) {
  element.replaceChildren(
    ...sentence.split("*").map((part, index) => {
      if (index % 2 === 0) return part;
      const strong = document.createElement("em");
      strong.textContent = part;
      return strong;
    }),
  );
}

let asked = null;

/** Change to a language, unless another one is asked for meanwhile, and remember it where the viewer chose it. */
export async function speak(code, chosen = false) {
  const wanted = (asked = { code });
  const response = await fetch(new URL(`languages/${code}.json`, import.meta.url));
  if (!response.ok) throw new Error(`languages/${code}.json: ${response.status}`);
  const spoken = await response.json();
  if (asked !== wanted) return;
  words = spoken;
  language.code = code;
  locale = navigator.languages.find((one) => primary(one) === code) ?? code;
  plurals = new Intl.PluralRules(locale);
  if (chosen) remember(code);
  document.documentElement.lang = code;
  document.documentElement.dir = RIGHT_TO_LEFT.has(code) ? "rtl" : "ltr";
  translate();
  language.dispatchEvent(new Event("change"));
}

const primary = (tag) => tag.toLowerCase().split("-")[0];

/** What was chosen before, or else the first of the browser's languages that the page has. */
export function preferred() {
  let before = null;
  try {
    before = localStorage.getItem(CHOSEN);
  } catch {
    // Storage may be switched off.
  }
  return [before, ...navigator.languages.map(primary)].find((code) => code && Object.hasOwn(LANGUAGES, code)) ?? "en";
}

function remember(code) {
  try {
    localStorage.setItem(CHOSEN, code);
  } catch {
    // The language holds for this visit.
  }
}
