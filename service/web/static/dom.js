/** Elements in one line each. Text only ever becomes text: nothing here takes markup. */

const SVG = "http://www.w3.org/2000/svg";

/** The element of an id. */
export const $ = (id) => document.getElementById(id);

/** A new HTML element: `on*` properties listen, `class` and everything else are attributes, false and null are left out. */
export function el(tag, properties = {}, ...children) {
  return filled(document.createElement(tag), properties, children);
}

/** The same for SVG. */
export function svg(tag, properties = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), properties, children);
}

/** One of the drawings in symbols.svg. */
export function icon(name) {
  return svg("svg", { class: "icon", "aria-hidden": "true" }, svg("use", { href: `page/symbols.svg#${name}` }));
}

function filled(element, properties, children) {
  for (const [name, value] of Object.entries(properties)) {
    if (value === false || value == null) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** Sizes and places by name, through the object model: an attribute would be an inline style, which the policy refuses. */
export function place(element, style) {
  for (const [name, value] of Object.entries(style)) element.style.setProperty(name, value);
  return element;
}

/** Fill an element anew. The control in it that had the focus has it again, by its name and its place among those of that name, or where
 * none had it, the one called `lost`. Where that is gone, the element has the focus, and its name is returned. */
export function refill(element, parts, lost = null) {
  const called = (control) => control.getAttribute("aria-label") ?? control.labels?.[0]?.textContent ?? control.textContent;
  const active = document.activeElement;
  const name = active === element || active === document.body ? lost : element.contains(active) ? called(active) : null;
  const namesakes = () => [...element.querySelectorAll("button, summary, a, select, input, [tabindex='0']")].filter((one) => called(one) === name);
  const at = Math.max(0, namesakes().indexOf(active));
  element.replaceChildren(...parts);
  if (name === null) return null;
  const again = namesakes()[at] ?? namesakes()[0];
  (again ?? element).focus({ preventScroll: true });
  return again ? null : name;
}

/** Bring a node to the state of another one. What both have stays where it is, with its focus and under the mouse. */
export function become(one, other) {
  if (one.nodeName !== other.nodeName) return one.replaceWith(other);
  one.nodeValue = other.nodeValue;
  for (const { name } of [...(one.attributes ?? [])]) if (!other.hasAttribute(name)) one.removeAttribute(name);
  for (const { name, value } of other.attributes ?? []) name === "style" ? (one.style.cssText = value) : one.setAttribute(name, value);
  const [parts, others] = [[...one.childNodes], [...other.childNodes]];
  if (parts.length === others.length) parts.forEach((part, index) => become(part, others[index]));
  else one.replaceChildren(...others);
}

/** Copy text; where the page may not use the clipboard, as without HTTPS, select it and let the browser copy. */
export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return;
  } catch {
    // It is selected.
  }
  const active = document.activeElement;
  const area = el("textarea", { class: "visually-hidden", readonly: true });
  area.value = text;
  document.body.append(area);
  area.select();
  document.execCommand("copy");
  area.remove();
  active.focus();
}
