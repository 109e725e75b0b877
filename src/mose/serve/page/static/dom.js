// Elements from texts. Nothing here or elsewhere parses markup, so that nothing of a tree can become an element.

export const at = (id) => document.getElementById(id);

/** An element; `properties` are set as properties, those of `attributes` as attributes. */
export function make(name, properties = {}, ...children) {
  const { attributes = {}, ...others } = properties;
  const element = Object.assign(document.createElement(name), others);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

export function svg(name, attributes, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

/** Lines of code, numbered from `first`; `asked` is the number of the one asked for. */
export function codeLines(lines, first, asked) {
  return lines.map((pieces, row) => {
    const number = first + row;
    const line = make("div", { className: "line", attributes: { "data-number": number } });
    line.classList.toggle("asked", number === asked);
    for (const [text, kind] of pieces) line.append(kind ? make("span", { className: kind }, text) : text);
    if (!pieces.length) line.append("\n");
    return line;
  });
}

/** What is kept in the browser, under a name; a browser may refuse. */
export const kept = {
  get(name) { try { return localStorage.getItem(name) ?? ""; } catch { return ""; } },
  set(name, value) { try { localStorage.setItem(name, value); } catch { /* for this page alone then */ } },
};
