// One hit: where it is, why it was found, its lines.
import { codeLines, make } from "./dom.js";
import { editorLink } from "./settings.js";
import { address } from "./state.js";

const PARTS = {
  dense: ["meaning", "close to the question in meaning"],
  lexical: ["words", "has the words of the question"],
  definition: ["definition", "defines a name of the question"],
  asked: ["asked for", "is the file or line that was asked for"],
  path: ["path", "words of the question in the file's or folder's name"],
  symbol: ["names", "words of the question in the names defined here"],
  file: ["file", "other good places in the same file"],
};

export function showHit(hit, several) {
  const line = hit.line ?? hit.excerpt[0], name = hit.path.slice(hit.path.lastIndexOf("/") + 1);
  const folder = hit.path.slice(0, hit.path.length - name.length);
  const link = make("a", { className: "path", href: address({ file: `${hit.path}:${line}`, of: hit.tree }), title: hit.path },
    make("span", {}, (several ? hit.tree + ": " : "") + folder), make("b", {}, name), make("span", {}, ":" + line));
  const about = make("p", { className: "about" }, make("b", {}, hit.symbol || "lines " + hit.start_line + "–" + hit.end_line),
    ` ${hit.kind} · ${hit.language}`);
  if (hit.copies.length) about.append(make("span", { title: hit.copies.join("\n") }, ` · ${hit.copies.length} more like it`));
  const code = make("div", { className: "code" });
  const showLines = (all) => {
    const [from, to] = all ? [hit.start_line, hit.end_line] : hit.excerpt;
    const rows = hit.code.slice(from - hit.start_line, to - hit.start_line + 1);
    code.replaceChildren(...codeLines(rows, from, hit.line));
  };
  showLines(false);
  const why = reasons(hit), score = scoreBar(hit, why);
  const actions = make("div", { className: "actions" }, score);
  const more = hit.code.length - (hit.excerpt[1] - hit.excerpt[0] + 1);
  if (more > 0) {
    const words = `${hit.code.length} lines`;
    const whole = make("button", { type: "button", className: "whole", textContent: words, title: "All lines, or few (x)",
      attributes: { "aria-expanded": false } });
    whole.addEventListener("click", () => {
      const all = whole.getAttribute("aria-expanded") !== "true";
      whole.setAttribute("aria-expanded", all);
      whole.textContent = all ? "fewer lines" : words;
      showLines(all);
    });
    actions.append(whole);
  }
  actions.append(make("a", { className: "similar", href: address({ like: `${hit.path}:${line}`, of: hit.tree, q: "", file: "" }),
    title: "Similar code (s)" }, "similar"));
  const editor = editorLink(hit.absolute_path, line);
  if (editor) actions.append(editor);
  const head = make("div", { className: "head" }, make("h2", {}, link), actions, about);
  const article = make("article", { tabIndex: -1, attributes: { "aria-label": `${hit.path}, line ${line}` } }, head, why, code);
  return make("li", {}, article);
}

/** The score as a bar of its parts; a click shows them one by one. */
function scoreBar(hit, why) {
  const bar = make("span", { className: "bar", attributes: { "aria-hidden": true } });
  for (const [name, value] of partsOf(hit)) {
    const part = make("i", { className: name });
    part.style.width = `${Math.min(100, 100 * value * hit.parts.factor)}%`;
    bar.append(part);
  }
  const button = make("button", { type: "button", className: "score", title: "Why it ranks here (w)",
    attributes: { "aria-expanded": false, "aria-label": `Score ${hit.score.toFixed(2)}: why` } }, bar, hit.score.toFixed(2));
  button.addEventListener("click", () => {
    why.hidden = !why.hidden;
    button.setAttribute("aria-expanded", !why.hidden);
  });
  return button;
}

function reasons(hit) {
  const rows = partsOf(hit).map(([name, value]) => {
    const part = make("i", { className: name });
    part.style.width = `${Math.min(100, 100 * value)}%`;
    return make("tr", {}, make("th", { scope: "row" }, PARTS[name][0]), make("td", {}, make("span", { className: "bar" }, part)),
      make("td", { className: "number" }, value.toFixed(3)), make("td", {}, detail(hit, name)));
  });
  if (hit.parts.factor < 1) {
    rows.push(make("tr", {}, make("th", { scope: "row" }, "factor"), make("td"), make("td", { className: "number" },
      "× " + hit.parts.factor.toFixed(2)), make("td", {}, "a test, a copy, generated, a re-export or prose")));
  }
  rows.push(make("tr", { className: "sum" }, make("th", { scope: "row" }, "score"), make("td"),
    make("td", { className: "number" }, hit.score.toFixed(3)), make("td")));
  return make("table", { className: "why", hidden: true }, make("caption", {}, "Why it ranks here"), make("tbody", {}, ...rows));
}

const partsOf = (hit) => Object.keys(PARTS).map((name) => [name, hit.parts[name]]).filter(([, value]) => value > 0);

function detail(hit, name) {
  if (name === "dense" && hit.parts.cosine !== null) return `cosine ${hit.parts.cosine.toFixed(2)} at exit ${hit.parts.exit}`;
  if (name === "lexical") return `BM25 ${hit.parts.bm25.toFixed(1)}`;
  return PARTS[name][1];
}
