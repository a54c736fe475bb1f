/** Choice of the model that answers, and of a second one beside it, where the service has several. */

import { el } from "./dom.js";
import { language, text } from "./language.js";

/** A field for one or both, there while the service names several models: `chosen(name)` is called for the model, null for the
 * service's default one, and `compared(name)` for the second, null for none. Each view has its own. */
export function modelChoice(photos, id, { chosen, compared = null }) {
  const first = el("select", { id });
  const second = el("select", { id: `${id}-compared` });
  const labelled = (key, select) => el("span", { class: "choice" }, el("label", { for: select.id, "data-text": key }, text(key)), select);
  const field = el("div", { class: "choices" }, labelled("nav.model", first), compared && labelled("compare.with", second));
  const show = () => {
    const names = photos.models.map(({ name }) => name);
    const current = photos.model ?? names[0];
    const others = names.filter((name) => name !== current);
    field.hidden = names.length < 2;
    first.replaceChildren(...names.map((name) => option(name, name, name === current)));
    second.replaceChildren(option("", text("compare.none"), photos.compared === null), ...others.map((name) => option(name, name, name === photos.compared?.name)));
  };
  first.addEventListener("change", () => chosen(first.value === photos.models[0].name ? null : first.value));
  second.addEventListener("change", () => compared(second.value || null));
  photos.addEventListener("offer", show);
  language.addEventListener("change", show);
  show();
  return field;
}

const option = (value, title, selected) => el("option", { value, selected }, title);
