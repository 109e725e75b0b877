// What the user chooses once: the editor that links open, and light or dark.
import { at, kept, make } from "./dom.js";

const file = (path, line) => {
  const slashes = path.replaceAll("\\", "/").split("/").map(encodeURIComponent).join("/").replace(/^([a-z])%3A/i, "$1:");
  return (slashes.startsWith("/") ? "" : "/") + slashes + ":" + line;
};
const jetbrains = (product) => (path, line) => `${product}://open?file=${encodeURIComponent(path)}&line=${line}`;
const EDITORS = {
  none: null,
  "VS Code": (path, line) => "vscode://file" + file(path, line),
  Cursor: (path, line) => "cursor://file" + file(path, line),
  Zed: (path, line) => "zed://file" + file(path, line),
  "IntelliJ IDEA": jetbrains("idea"),
  PyCharm: jetbrains("pycharm"),
  WebStorm: jetbrains("webstorm"),
  GoLand: jetbrains("goland"),
};

/** A link that opens a line in the chosen editor, null if none is chosen. */
export function editorLink(path, line) {
  const name = at("editor").value, link = EDITORS[name];
  return link && make("a", { className: "editor", href: link(path, line), textContent: name, title: `Open in ${name} (o)` });
}

export function startSettings(changed) {
  at("editor").replaceChildren(...Object.keys(EDITORS).map((name) => make("option", { textContent: name })));
  at("editor").value = kept.get("editor") in EDITORS ? kept.get("editor") : "none";
  at("editor").addEventListener("change", () => { kept.set("editor", at("editor").value); changed(); });
  at("theme").value = kept.get("theme");
  at("theme").addEventListener("change", () => setTheme(at("theme").value));
}

export function setTheme(theme) {
  at("theme").value = theme;
  kept.set("theme", theme);
  if (theme) document.documentElement.dataset.theme = theme;
  else delete document.documentElement.dataset.theme;
}

/** Light if it is dark now, whoever chose that, and dark if it is light. */
export function switchTheme() {
  const theme = document.documentElement.dataset.theme;
  const isDark = theme ? theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  setTheme(isDark ? "light" : "dark");
}
