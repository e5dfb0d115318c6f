// A table that can be sorted by its column heads and scrolled by keyboard, and keeps its place while figures move.

import { make } from "./dom.js";

/**
 * `columns`: {name, label, cell(row) -> text or node, value(row) to sort by, title?, text? (left-aligned), head? (row
 * head), class?, plain? (not to be sorted by), total? (the foot's cell), tint?(row) -> class}. Returns `show(rows, {total, most, columns})`: `total` a row for the foot, `most` rows at most, `columns` may
 * replace the first ones.
 */
export function table(place, caption, columns, { sort = null, sortable = true } = {}) {
  let order = sort; // {name, down}; null is the order in which rows come
  let last = null;
  let heads = [];
  const head = make("thead");
  const body = make("tbody");
  const foot = make("tfoot");
  place.replaceChildren(
    make("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": caption },
      make("table", {}, make("caption", { class: "sr" }, caption), head, body, foot)));

  function press(column) {
    if (order?.name !== column.name) order = { name: column.name, down: !column.text };
    else if (order.down === !column.text) order = { name: column.name, down: !order.down };
    else order = sort;
    mark();
    fill();
  }

  function mark() {
    for (const { cell, arrow, column } of heads) {
      const mine = order?.name === column.name;
      if (mine) cell.setAttribute("aria-sort", order.down ? "descending" : "ascending");
      else cell.removeAttribute("aria-sort");
      if (arrow) arrow.textContent = mine ? (order.down ? "▼" : "▲") : "";
    }
  }

  function start() {
    heads = columns.map((column) => {
      const label = typeof column.label === "function" ? column.label() : column.label;
      const arrow = sortable && !column.plain ? make("span", { class: "arrow", "aria-hidden": "true" }) : null;
      const inside = sortable && !column.plain ? make("button", { type: "button", onclick: () => press(column) }, label, arrow) : label;
      return { column, arrow, cell: make("th", { scope: "col", class: classes(column), title: column.title }, inside) };
    });
    head.replaceChildren(make("tr", {}, ...heads.map(({ cell }) => cell)));
    mark();
  }

  const classes = (column, more = "") => [column.text && "l", column.chosen && "chosen", column.class, more].filter(Boolean).join(" ") || null;

  const line = (row, total = false) =>
    make("tr", {},
      ...columns.map((column) => {
        const content = total && column.total ? column.total(row) : column.cell(row);
        const attributes = { class: classes(column, total ? "" : column.tint?.(row)) };
        return column.head ? make("th", { scope: "row", ...attributes }, content) : make("td", attributes, content);
      }));

  function fill() {
    const { rows, total, most } = last;
    let sorted = rows;
    if (order) {
      const { value } = columns.find((column) => column.name === order.name);
      const compare = (a, b) => (typeof a === "string" ? a.localeCompare(b) : (a ?? -Infinity) - (b ?? -Infinity));
      sorted = [...rows].sort((a, b) => (order.down ? -1 : 1) * compare(value(a), value(b)));
    }
    body.replaceChildren(...sorted.slice(0, most).map((row) => line(row)));
    foot.replaceChildren(...(total ? [line(total, true)] : []));
  }

  start();
  return function show(rows, { total = null, most = Infinity, replace = null } = {}) {
    last = { rows, total, most };
    if (replace) {
      columns = replace;
      if (order && !columns.some((column) => column.name === order.name)) order = sort;
      start();
    }
    fill();
  };
}

/** A cell of a text, and below it what comes besides, one a line. */
export const stacked = (text, below) =>
  below ? make("span", { class: "stack" }, text, ...below.split(", ").map((line) => make("small", {}, `+ ${line}`))) : text;

/** What is shown where a table has no rows. */
export const nothing = (text) => make("p", { class: "nothing" }, text);
