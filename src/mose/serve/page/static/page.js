// The page: what is asked, what was found, and the keys.
import { at, make } from "./dom.js";
import { chosenExit, closeExits, compareExits, moveExit, setExit, startExits } from "./exits.js";
import { showFile, startFile } from "./file.js";
import { showHit } from "./hits.js";
import { ask } from "./server.js";
import { startSettings, switchTheme } from "./settings.js";
import { address, readState, splitLine } from "./state.js";

const LIMIT = 20;
const EXAMPLES = ["retry with backoff", "parse an ISO date", "where is the configuration read", "open a file and read its lines"];
let known = { exits: [], exit: 0, trees: [] }, waiting = null, asking = null, found = null, asked = "", polling = false;

async function start() {
  startSettings(() => { if (found) draw(); showFile(); });
  startFile();
  listen();
  await connect();
}

async function connect() {
  poll();
  try {
    known = await ask("trees");
  } catch (error) {
    say(error.message);
    if (at("ask").hidden) setTimeout(connect, 2000); // the server may be starting
    return;
  }
  startExits(known.exits, (exit) => go({ exit: exit === known.exit ? "" : String(exit) }));
  options("tree", known.trees.map((tree) => [tree.name, tree.name]));
  at("which").hidden = known.trees.length < 2;
  at("trees").textContent = known.trees.map((tree) => tree.root).join(", ");
  at("examples").replaceChildren(...EXAMPLES.map((query) => make("li", {}, make("a", { href: address({ q: query }) }, query))));
  render();
  const status = await ask("status").catch(() => null);
  if (!status) return;
  const counts = new Map();
  for (const tree of status.trees) {
    for (const [language, files] of Object.entries(tree.languages ?? {})) counts.set(language, (counts.get(language) ?? 0) + files);
  }
  options("language", [...counts].sort((a, b) => b[1] - a[1]).map(([name, files]) => [name, `${name} (${files})`]));
  at("trees").textContent = status.trees.map((tree) => tree.error ?? `${tree.root}: ${tree.files.toLocaleString("en")} files`).join("; ");
  at("language").value = readState().language;
}

function options(id, values) {
  at(id).replaceChildren(...[["", "all"], ...values].map(([value, textContent]) => make("option", { value, textContent })));
}

/** Change the state without a step for the browser's Back. */
function go(changes) {
  const next = address(changes);
  if (next === location.hash || (next === "#" && !location.hash)) return;
  history.replaceState(null, "", next);
  render();
}

/** Show what the state says. */
function render() {
  if (!known.exits.length) return; // connect() does it later
  const state = readState();
  if (!waiting) { // what is being typed is not in the state yet
    if (at("query").value.trim() !== state.q) at("query").value = state.q;
    if (words(at("path").value).join() !== words(state.path).join()) at("path").value = state.path;
  }
  at("tree").value = state.tree;
  at("language").value = state.language;
  setExit(state.exit && known.exits.includes(Number(state.exit)) ? Number(state.exit) : known.exit);
  at("like").hidden = !state.like;
  if (state.like) {
    at("like").replaceChildren("Similar to ", make("a", { href: address({ file: state.like }) }, state.like), " ",
      make("a", { href: address({ like: "" }), className: "clear" }, "clear"));
  }
  const { file, ...question } = state, now = JSON.stringify(question);
  if (now !== asked) {
    asked = now;
    search();
  }
  showFile();
}

const words = (text) => text.split(/[\s,]+/).filter(Boolean);

/** What the state asks for, as the body of a request; null if nothing. */
function question() {
  const state = readState();
  const body = { highlight: true, limit: LIMIT, exit: chosenExit() };
  if (state.language) body.language = [state.language];
  if (state.like) {
    const [path, line] = splitLine(state.like);
    return { ...body, path, line, ...(state.of ? { tree: state.of } : {}) };
  }
  if (state.tree) body.trees = [state.tree];
  if (words(state.path).length) body.path = words(state.path);
  return state.q ? { ...body, query: state.q } : null;
}

async function search() {
  if (asking) asking.abort();
  const body = question(), mine = asking = new AbortController(), started = performance.now();
  at("empty").hidden = Boolean(body);
  if (!body) {
    found = null;
    at("hits").replaceChildren();
    say("");
    return;
  }
  const slow = setTimeout(() => { say("Searching ..."); poll(); }, 300);
  try {
    found = await ask(body.query ? "search" : "similar", body, mine.signal);
    const seconds = (performance.now() - started) / 1000;
    say([found.hits.length ? `${found.hits.length} hits in ${seconds < 1 ? Math.round(1000 * seconds) + " ms" : seconds.toFixed(1) + " s"}` : "Nothing found",
      ...found.trees.filter((tree) => tree.exit !== null && tree.num_read < tree.num_chunks).map((tree) =>
        `${Math.floor(100 * tree.num_read / tree.num_chunks)}% of ${tree.name} read at exit ${tree.exit}`), ...found.notes].join(" · "));
    draw();
    if (found.notes.some((note) => note.includes("still being read"))) poll();
  } catch (error) {
    if (error.name === "AbortError") return;
    found = null;
    say(error.message);
    at("hits").replaceChildren();
    poll(); // a tree that is being read may have nothing yet
  } finally { clearTimeout(slow); }
}

function draw() {
  const focused = articles().indexOf(document.activeElement);
  at("hits").replaceChildren(...found.hits.map((hit) => showHit(hit, known.trees.length > 1)));
  const first = articles()[Math.max(0, focused)];
  if (first) first.tabIndex = 0;
  if (focused >= 0 && first) first.focus();
}

const say = (text) => { at("said").textContent = text; };

/** Show how far trees have been read, until all have; then ask again. */
async function poll() {
  if (polling) return;
  polling = true;
  let was = false;
  for (;;) {
    const trees = (await ask("progress").catch(() => ({ trees: [] }))).trees.filter((tree) => tree.reading);
    at("reading").hidden = !trees.length;
    if (!trees.length) break;
    was = true;
    const { name, reading } = trees[0];
    if (reading.total) Object.assign(at("reading"), { max: reading.total, value: reading.done });
    else at("reading").removeAttribute("value");
    say(`Reading ${name}` + (reading.total ? `: ${reading.done.toLocaleString("en")} of ${reading.total.toLocaleString("en")}` : " ..."));
    await new Promise((done) => setTimeout(done, 400));
  }
  polling = false;
  if (was) {
    if (question()) search();
    else say("");
  }
}

// ---- keys

const articles = () => [...document.querySelectorAll("article")];

/** The hit that has the focus, or the first. */
const current = () => document.activeElement.closest?.("article") ?? document.querySelector("article[tabindex='0']");

function move(by) {
  const all = articles(), position = all.indexOf(document.activeElement.closest("article"));
  const next = position < 0 ? (by > 0 ? current() : null) : all[position + by];
  if (!next) {
    if (by < 0) at("query").select();
    return;
  }
  for (const article of all) article.tabIndex = article === next ? 0 : -1;
  next.focus({ preventScroll: true });
  next.scrollIntoView({ block: "nearest" });
}

const click = (selector) => () => (at("file").open ? at("file") : current())?.querySelector(selector)?.click();
const KEYS = [
  ["/", "to the question", () => at("query").select()],
  ["j", "next hit, also ↓", () => move(1)],
  ["k", "previous hit, also ↑", () => move(-1)],
  ["Enter", "the file of the hit, at its line", null],
  ["o", "the same in the editor", click(".editor")],
  ["s", "similar code", click(".similar")],
  ["w", "why the hit ranks there", click(".score")],
  ["x", "all lines of the hit, or few", click(".whole")],
  ["[", "one exit shallower", () => moveExit(-1)],
  ["]", "one exit deeper", () => moveExit(1)],
  ["c", "compare the exits", () => at("compare").click()],
  ["t", "light or dark", switchTheme],
  ["?", "these keys", () => at("keys").showModal()],
  ["Esc", "close what is open", null],
];

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
  const target = event.target, isText = target.matches("input:not([type=range]), textarea, select");
  if (at("keys").open || (isText && target !== at("query"))) return;
  const act = (work) => { event.preventDefault(); work(); };
  const isHit = target.tagName === "ARTICLE";
  if (event.key === "ArrowDown" && (isHit || target === at("query"))) act(() => move(1));
  else if (event.key === "ArrowUp" && isHit) act(() => move(-1));
  else if (event.key === "Enter" && isHit) act(() => target.querySelector(".path").click());
  else if (event.key === "Escape" && !at("exits").hidden && !at("file").open) closeExits();
  else if (!isText) {
    const key = KEYS.find(([name, , work]) => name === event.key && work);
    const inFile = ["o", "s", "t", "?"].includes(event.key);
    if (key && (inFile || !at("file").open)) act(key[2]);
  }
}

function listen() {
  const soon = () => { clearTimeout(waiting); waiting = setTimeout(askNow, 200); };
  const askNow = () => { clearTimeout(waiting); waiting = null; go({ q: at("query").value.trim(), like: "", path: at("path").value.trim() }); };
  at("form").addEventListener("submit", (event) => { event.preventDefault(); askNow(); });
  for (const id of ["query", "path"]) at(id).addEventListener("input", soon);
  for (const id of ["tree", "language"]) at(id).addEventListener("change", () => go({ [id]: at(id).value }));
  at("key").addEventListener("change", connect);
  at("compare").addEventListener("click", () => {
    if (!at("exits").hidden) { closeExits(); return; }
    const body = question();
    const tree = known.trees.find((one) => one.name === readState().tree) ?? known.trees[0];
    compareExits(body?.query ? body : null, tree);
  });
  at("keys-list").replaceChildren(...KEYS.flatMap(([key, words]) => [make("dt", {}, make("kbd", {}, key)), make("dd", {}, words)]));
  at("help").addEventListener("click", () => at("keys").showModal());
  at("keys-close").addEventListener("click", () => at("keys").close());
  addEventListener("hashchange", render);
  document.addEventListener("keydown", onKey);
}

start();
