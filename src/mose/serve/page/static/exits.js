// The slider over the exits, and what they cost and give on this very tree.
import { at, kept, make, svg } from "./dom.js";
import { ask } from "./server.js";

const MOST = 10, NEW_PLACES = 100, POLL_MS = 2000;
const HOW = "It asks the tree's own documentation, tests and history, in a copy without them, and takes minutes.";
let ladder = [], choose = null, running = null, costs = new Map(), same = new Map(), again = 0, quality = null;

export const chosenExit = () => ladder[Number(at("exit").value)];

export function startExits(exits, onChoice) {
  ladder = exits;
  choose = onChoice;
  at("exit").max = exits.length - 1;
  at("exit").disabled = exits.length < 2;
  at("exit").oninput = nameExit;
  at("exit").onchange = () => choose(chosenExit());
}

export function setExit(exit) {
  at("exit").value = ladder.indexOf(exit);
  nameExit();
}

/** One exit deeper (+1) or shallower (-1). */
export function moveExit(by) {
  const before = at("exit").value;
  at("exit").value = Number(before) + by;
  if (at("exit").value !== before) at("exit").dispatchEvent(new Event("change"));
}

function nameExit() {
  if (!ladder.length) return;
  const exit = chosenExit(), last = ladder.at(-1);
  const word = exit === 0 ? ", fastest" : exit === last ? ", deepest" : "";
  at("depth").textContent = `${exit}${word}`;
  at("exit").setAttribute("aria-valuetext", `exit ${exit}${word}`);
}

/** Ask the question at every exit: how much time reading takes, how many of the deepest's best hits there are, how good they are. */
export async function compareExits(body, tree) {
  closeExits();
  const mine = running = new AbortController();
  at("exits").hidden = false;
  at("compare").setAttribute("aria-expanded", true);
  if (!body) {
    at("exits").replaceChildren(make("p", {}, "Ask something first: your question is then asked at every exit."));
    return;
  }
  const found = new Map(), draw = () => { if (!mine.signal.aborted) show(tree, mine.signal, draw); };
  try {
    const names = (await ask("v1/models", null, mine.signal)).data.map((model) => model.id);
    let texts = [];
    for (const exit of [...ladder].reverse()) {
      at("exits").replaceChildren(make("p", {}, `Asking at exit ${exit} ...`));
      await ask("search", { ...body, exit, limit: MOST }, mine.signal);
      const started = performance.now();
      const { hits } = await ask("search", { ...body, exit, limit: MOST }, mine.signal);
      if (exit === ladder.at(-1)) {
        again = performance.now() - started;
        texts = hits.map((hit) => hit.text);
      }
      found.set(exit, hits.map((hit) => `${hit.tree}:${hit.path}:${hit.start_line}`));
    }
    at("exits").replaceChildren(make("p", {}, "Measuring how long each exit reads ..."));
    if (texts.length) costs = await costsOf((exit) => names.find((name) => name.endsWith(`@${exit}`)), texts, mine.signal);
    const best = found.get(ladder.at(-1));
    same = new Map([...found].map(([exit, hits]) => [exit, best.length ? hits.filter((hit) => best.includes(hit)).length / best.length : 1]));
    await refreshQuality(tree, mine.signal, false);
  } catch (error) {
    if (error.name !== "AbortError") at("exits").replaceChildren(make("p", {}, error.message));
    return;
  }
  draw();
}

/** Exit -> milliseconds for reading so many new places, measured with code of this tree: the smallest of three, taken in turns. */
async function costsOf(model, texts, signal) {
  const times = new Map();
  for (let turn = 0; turn < 3; turn += 1) {
    for (const exit of ladder) {
      const started = performance.now();
      await ask("v1/embeddings", { model: model(exit), input: texts, kind: "code", encoding_format: "base64" }, signal);
      times.set(exit, Math.min(times.get(exit) ?? Infinity, (performance.now() - started) / texts.length * NEW_PLACES));
    }
  }
  return times;
}

export function closeExits() {
  if (running) running.abort();
  at("exits").hidden = true;
  at("compare").setAttribute("aria-expanded", false);
}

/** What has been measured of the tree, by this server or, kept in this browser, by one before. */
async function refreshQuality(tree, signal, measure) {
  const now = await ask("exits", { tree: tree.name, measure }, signal), name = "quality:" + tree.root;
  if (now.state === "done") kept.set(name, JSON.stringify(now));
  quality = now.state === "none" && kept.get(name) ? JSON.parse(kept.get(name)) : now;
}

function show(tree, signal, draw) {
  const byExit = new Map((quality.exits ?? []).map((row) => [row.exit, row]));
  const rows = ladder.map((exit) => ({ exit, cost: costs.get(exit), same: same.get(exit), quality: byExit.get(exit) }));
  const isMeasured = quality.state === "done";
  const head = ["exit", `${NEW_PLACES} new places`, "same hits", ...(isMeasured ? ["NDCG@10", "95 % interval"] : [])];
  const table = make("table", {},
    make("caption", {}, "Measured on this tree, on this machine"),
    make("thead", {}, make("tr", {}, ...head.map((name) => make("th", { scope: "col" }, name)))),
    make("tbody", {}, ...rows.map((row) => {
      const button = make("button", { type: "button", attributes: { "aria-label": `Use exit ${row.exit}`, "aria-pressed": row.exit === chosenExit() } },
        String(row.exit));
      button.addEventListener("click", () => { choose(row.exit); setExit(row.exit); draw(); });
      const cells = [milliseconds(row.cost), `${Math.round(100 * row.same)}%`];
      if (isMeasured) cells.push(row.quality?.ndcg.toFixed(3) ?? "", row.quality ? `${row.quality.low.toFixed(2)}–${row.quality.high.toFixed(2)}` : "");
      return make("tr", {}, make("th", { scope: "row" }, button), ...cells.map((text) => make("td", {}, text)));
    })));
  const note = `${NEW_PLACES} new places: the time to read so many that have not been read yet. Same hits: the share of the deepest exit’s ${MOST} best for your question. What has been read is kept: this question, asked again ` +
    `at exit ${ladder.at(-1)}, took ${milliseconds(again)}.`;
  at("exits").replaceChildren(make("div", { className: "both" }, chart(rows, isMeasured), table),
    make("p", { className: "note" }, note), measureLine(tree, signal, draw));
}

/** The button that measures quality, or how far that is. */
function measureLine(tree, signal, draw) {
  if (quality.state === "running") {
    setTimeout(() => refreshQuality(tree, signal, false).then(draw, () => {}), POLL_MS);
    return make("p", { className: "note" }, `Measuring the quality of every exit on ${tree.name}: ${Math.round(quality.seconds)} s so far ...`);
  }
  const button = make("button", { type: "button", id: "measure" }, quality.state === "done" ? "Measure again" : "Measure quality");
  button.addEventListener("click", () => refreshQuality(tree, signal, true).then(draw, (error) => at("exits").append(make("p", {}, error.message))));
  const words = quality.state === "done" ? `NDCG@10 over ${quality.num_queries} questions that ${tree.name} answers itself.`
    : quality.state === "failed" ? quality.message : HOW;
  return make("p", { className: "note" }, button, " ", words);
}

const milliseconds = (value) => value === undefined ? "" : value < 10 ? `${value.toFixed(1)} ms` : value < 1000 ? `${Math.round(value)} ms`
  : `${(value / 1000).toFixed(1)} s`;

/** Quality, or same hits (upwards), against the time for new places (to the right, by powers of ten). */
function chart(rows, isMeasured) {
  const [width, height, left, right, top, bottom] = [380, 200, 48, 20, 24, 36];
  const drawn = rows.filter((row) => row.cost !== undefined && (!isMeasured || row.quality));
  const logs = drawn.map((row) => Math.log10(Math.max(row.cost, 0.01)));
  const low = Math.floor(Math.min(...logs)), high = Math.max(Math.ceil(Math.max(...logs)), low + 1);
  const floor = isMeasured ? Math.floor(10 * Math.min(...drawn.map((row) => row.quality.low))) / 10 : 0;
  const ceiling = isMeasured ? Math.ceil(10 * Math.max(...drawn.map((row) => row.quality.high))) / 10 : 1;
  const x = (log) => left + (width - left - right) * (log - low) / (high - low);
  const y = (value) => height - bottom - (height - top - bottom) * (value - floor) / (ceiling - floor);
  const name = isMeasured ? "NDCG@10" : "same hits";
  const image = svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `${name} against time, by exit; the table has the numbers` });
  const text = (given, words) => image.append(svg("text", given, words));
  for (const value of [floor, (floor + ceiling) / 2, ceiling]) {
    image.append(svg("line", { x1: left, x2: width - right, y1: y(value), y2: y(value), class: "grid" }));
    text({ x: left - 6, y: y(value) + 4, "text-anchor": "end" }, isMeasured ? value.toFixed(2) : `${100 * value}%`);
  }
  for (let power = low; power <= high; power += 1) {
    image.append(svg("line", { x1: x(power), x2: x(power), y1: top, y2: height - bottom, class: "grid" }));
    text({ x: x(power), y: height - bottom + 15, "text-anchor": "middle" }, milliseconds(10 ** power));
  }
  text({ x: (left + width - right) / 2, y: height - 4, "text-anchor": "middle" }, `time to read ${NEW_PLACES} new places`);
  text({ x: 4, y: 12 }, name);
  const value = (row) => isMeasured ? row.quality.ndcg : row.same;
  image.append(svg("polyline", { points: drawn.map((row, number) => `${x(logs[number])},${y(value(row))}`).join(" "), class: "curve" }));
  drawn.forEach((row, number) => {
    const isChosen = row.exit === chosenExit(), at = x(logs[number]);
    if (isMeasured) image.append(svg("line", { x1: at, x2: at, y1: y(row.quality.low), y2: y(row.quality.high), class: "interval" }));
    image.append(svg("circle", { cx: at, cy: y(value(row)), r: isChosen ? 6 : 4, class: isChosen ? "chosen" : "point" }));
    text({ x: at + 8, y: y(value(row)) + (number % 2 ? -8 : 16), class: "name" }, String(row.exit));
  });
  return image;
}
