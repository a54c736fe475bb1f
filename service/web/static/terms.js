/** Words that need an explanation: each opens one, in a small window that all of them share. */

import { $, el, icon } from "./dom.js";
import { text } from "./language.js";

/** Words with an explanation, in the order in which the model's view lists them. */
export const TERMS = ["apparent", "interval", "uncertain", "other"];

/** A word of the page that explains itself when it is pressed. */
export function term(name, word) {
  const button = el("button", { type: "button", class: "term", title: text(`term.${name}`), "aria-haspopup": "dialog" }, word);
  button.addEventListener("click", (event) => {
    event.preventDefault();
    explain(name);
  });
  return button;
}

function explain(name) {
  const dialog = $("term-dialog");
  const close = el("button", { type: "button", class: "quiet", "aria-label": text("term.close"), onclick: () => dialog.close() }, icon("close"));
  dialog.setAttribute("aria-label", text(`term.${name}.name`));
  dialog.replaceChildren(el("header", {}, el("h2", {}, text(`term.${name}.name`)), close), el("p", {}, text(`term.${name}`)));
  dialog.onclick = ({ target }) => target === dialog && dialog.close();
  dialog.showModal();
}
