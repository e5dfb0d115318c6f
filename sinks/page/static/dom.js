// Building and changing the document: text is always text, never markup, so no name of a campaign can do harm.

/** The element with this id. */
export const at = (id) => document.getElementById(id);

/** A new element: `make("td", { class: "n", "data-x": 1 }, "text", child)`; attributes that are null, false or undefined are left out. */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined && child !== ""));
  return element;
}

const SVG = "http://www.w3.org/2000/svg";

/** A new SVG element. */
export function draw(tag, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** Set text only where it differs: what has not changed is not touched, nor read out again. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
  return element;
}

/** Fill a select with [value, label] pairs and choose one; untouched where nothing changed. */
export function options(select, pairs, chosen) {
  const before = [...select.options].map((option) => `${option.value}\n${option.textContent}`).join("\n\n");
  if (before !== pairs.map((pair) => pair.join("\n")).join("\n\n")) {
    select.replaceChildren(...pairs.map(([value, label]) => make("option", { value }, label)));
  }
  if (select.value !== chosen) select.value = chosen;
}

/** Tint an element for a moment, where the viewer has nothing against movement (the style sheet decides). */
export function flash(element, direction) {
  element.classList.remove("up", "down");
  void element.offsetWidth; // starts the animation anew
  element.classList.add(direction);
}
