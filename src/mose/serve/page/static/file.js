// The file of a hit, at its line.
import { at, codeLines, make } from "./dom.js";
import { ask } from "./server.js";
import { editorLink } from "./settings.js";
import { address, readState, splitLine } from "./state.js";

let shown = null;

/** Shows the file that the state names, or none. */
export async function showFile() {
  const state = readState(), dialog = at("file");
  if (!state.file) {
    if (dialog.open) dialog.close();
    return;
  }
  const [path, line] = splitLine(state.file);
  const isSame = shown && dialog.open && shown.path === path && shown.of === state.of && line in shown.lines;
  if (!isSame) {
    at("file-name").textContent = path;
    at("file-actions").replaceChildren(closeButton());
    at("file-code").replaceChildren("Reading ...");
    if (!dialog.open) dialog.showModal();
    shown = null;
    let found;
    try {
      found = await ask("file", { path, line, ...(state.of ? { tree: state.of } : {}) });
    } catch (error) {
      at("file-code").replaceChildren(error.message);
      return;
    }
    if (readState().file !== state.file) return;
    const rows = codeLines(found.code, found.first_line);
    at("file-code").replaceChildren(...rows);
    shown = { path, of: state.of, found, lines: Object.fromEntries(rows.map((row) => [row.dataset.number, row])) };
  }
  const name = `${path}:${line}`;
  at("file-name").textContent = name;
  for (const row of at("file-code").querySelectorAll(".asked")) row.classList.remove("asked");
  const row = shown.lines[line];
  if (row) {
    row.classList.add("asked");
    if (!isSame) row.scrollIntoView({ block: "center" });
  }
  const editor = editorLink(shown.found.absolute_path, line);
  at("file-actions").replaceChildren(
    make("a", { className: "similar", href: address({ like: name, q: "", file: "" }), title: "Similar code (s)" }, "similar"),
    ...(editor ? [editor] : []), closeButton());
  if (!isSame) at("file-code").focus({ preventScroll: true });
}

function closeButton() {
  const button = make("button", { type: "button", title: "Close (Esc)" }, "Close");
  button.addEventListener("click", leave);
  return button;
}

function leave() { history.replaceState(null, "", address({ file: "" })); at("file").close(); }

export function startFile() {
  at("file").addEventListener("cancel", (event) => { event.preventDefault(); leave(); });
  at("file").addEventListener("click", (event) => {
    if (event.target === at("file")) leave(); // beside the file
    const line = event.target.closest(".line");
    if (line && getSelection().isCollapsed) {
      history.replaceState(null, "", address({ file: `${splitLine(readState().file)[0]}:${line.dataset.number}` }));
      showFile();
    }
  });
}
