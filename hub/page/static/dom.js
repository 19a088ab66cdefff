// Elements from data. Every text goes in as a text node: what users wrote is never read as markup.

/** An element; `on` has its listeners, all else its attributes. Children: nodes, texts, or null. */
export function el(tag, { on = {}, ...attributes } = {}, ...children) {
  return filled(document.createElement(tag), on, attributes, children);
}

/** The same, of SVG. */
export function svg(tag, { on = {}, ...attributes } = {}, ...children) {
  return filled(document.createElementNS("http://www.w3.org/2000/svg", tag), on, attributes, children);
}

function filled(element, on, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  for (const [name, listener] of Object.entries(on)) element.addEventListener(name, listener);
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

/** A name that somebody chose: it turns no letters around it, whatever is in it. */
export function name(text) {
  return text === "" ? el("i", { class: "quiet" }, "no name") : el("bdi", {}, text);
}

/** Put other children in, and leave the focus on what has the same address or key. */
export function replace(host, ...children) {
  const focused = host.contains(document.activeElement) ? keyOf(document.activeElement) : null;
  host.replaceChildren(...children.flat().filter(Boolean));
  if (focused === null) return;
  const again = [...host.querySelectorAll("a, button, input, [tabindex]")].find(
    (element) => keyOf(element) === focused,
  );
  again?.focus({ preventScroll: true });
}

function keyOf(element) {
  return element.id || element.getAttribute("href") || element.getAttribute("data-key");
}

/** A table with a caption that is read out, and rows of cells; each cell knows its column's name. */
export function table(caption, heads, rows, attributes = {}) {
  const head = heads.map(({ title, number }) => el("th", { scope: "col", class: number ? "number" : null }, title));
  const body = rows.map((cells) =>
    el("tr", {}, cells.map((cell, column) =>
      el("td", { class: heads[column].number ? "number" : null, "data-title": heads[column].title }, cell),
    )),
  );
  return el("table", attributes, el("caption", {}, caption), el("thead", {}, el("tr", {}, head)), el("tbody", {}, body));
}
