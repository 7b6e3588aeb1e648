// Makes elements. Texts go in as texts, never as HTML: whatever a machine calls itself stays a word.

const SVG = "http://www.w3.org/2000/svg";

export const byId = (id) => document.getElementById(id);

function filled(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== null && value !== false) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== undefined && child !== null));
  return node;
}

/** An element of HTML. */
export const element = (name, attributes = {}, ...children) => filled(document.createElement(name), attributes, children);

/** An element of SVG. */
export const shape = (name, attributes = {}, ...children) => filled(document.createElementNS(SVG, name), attributes, children);

/** Changes a text only where it is another, so that a screen reader and a selection are left alone. */
export function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** Fills a table: columns are {title, cell(row), number, wide}. */
export function fillTable(table, columns, rows, nothing) {
  if (rows.length === 0) {
    table.replaceChildren(element("tbody", {}, element("tr", {}, element("td", { class: "empty" }, nothing))));
    return;
  }
  const kind = (column) => (column.number ? "number" : column.wide ? "wide" : undefined);
  const head = element("tr", {}, ...columns.map((column) => element("th", { scope: "col", class: kind(column) }, column.title)));
  const lines = rows.map((row) => element("tr", {}, ...columns.map((column) => element("td", { class: kind(column) }, column.cell(row)))));
  table.replaceChildren(element("thead", {}, head), element("tbody", {}, ...lines));
}
