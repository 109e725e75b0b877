// The slider over the exits, and what they cost and give on this very tree, measured with the user's own questions.
import { at, make, svg } from "./dom.js";
import { ask } from "./server.js";

const MOST = 10;
let ladder = [], measured = [], running = null;

export const chosenExit = () => ladder[Number(at("exit").value)];

export function startExits(exits, choose) {
  ladder = exits;
  at("exit").max = exits.length - 1;
  at("exit").disabled = exits.length < 2;
  at("exit").addEventListener("input", nameExit);
  at("exit").addEventListener("change", () => choose(chosenExit()));
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
  const exit = chosenExit(), last = ladder.at(-1);
  const word = exit === 0 ? ", fastest" : exit === last ? ", deepest" : "";
  at("depth").textContent = `${exit}${word}`;
  at("exit").setAttribute("aria-valuetext", `exit ${exit}${word}`);
}

/** Ask the question at every exit, twice, and show how long each takes and how many of the deepest's best hits it has. */
export async function compareExits(body, choose) {
  if (running) running.abort();
  const mine = running = new AbortController();
  at("exits").hidden = false;
  at("compare").setAttribute("aria-expanded", true);
  if (!body) {
    at("exits").replaceChildren(make("p", {}, "Ask something first: your question is then asked at every exit."));
    return;
  }
  const found = [];
  try {
    for (const exit of ladder) {
      at("exits").replaceChildren(make("p", {}, `Asking at exit ${exit} ...`));
      const row = { exit };
      for (const turn of ["first", "again"]) {
        const started = performance.now();
        const hits = (await ask("search", { ...body, exit, limit: MOST }, mine.signal)).hits;
        row[turn] = performance.now() - started;
        row.hits = hits.map((hit) => `${hit.tree}:${hit.path}:${hit.start_line}`);
      }
      found.push(row);
    }
  } catch (error) {
    if (error.name !== "AbortError") at("exits").replaceChildren(make("p", {}, error.message));
    return;
  }
  const best = found.at(-1).hits;
  for (const row of found) row.same = best.length ? row.hits.filter((hit) => best.includes(hit)).length / best.length : 1;
  const question = JSON.stringify([body.query, body.trees, body.language, body.path]);
  measured = [...measured.filter((one) => one.question !== question), { question, found }];
  draw(choose);
}

export function closeExits() {
  if (running) running.abort();
  at("exits").hidden = true;
  at("compare").setAttribute("aria-expanded", false);
}

function draw(choose) {
  const mean = (exit, name) => measured.reduce((sum, one) => sum + one.found.find((row) => row.exit === exit)[name], 0) / measured.length;
  const rows = ladder.map((exit) => ({ exit, first: mean(exit, "first"), again: mean(exit, "again"), same: mean(exit, "same") }));
  const count = measured.length === 1 ? "one question" : `the mean of ${measured.length} questions`;
  const head = ["exit", "first time", "again", "same hits"];
  const table = make("table", {},
    make("caption", {}, `Measured here and now, ${count}`),
    make("thead", {}, make("tr", {}, ...head.map((name) => make("th", { scope: "col" }, name)))),
    make("tbody", {}, ...rows.map((row) => {
      const button = make("button", { type: "button", attributes: { "aria-label": `Use exit ${row.exit}`, "aria-pressed": row.exit === chosenExit() } },
        String(row.exit));
      button.addEventListener("click", () => { choose(row.exit); setExit(row.exit); draw(choose); });
      return make("tr", {}, make("th", { scope: "row" }, button), make("td", {}, milliseconds(row.first)),
        make("td", {}, milliseconds(row.again)), make("td", {}, `${Math.round(100 * row.same)}%`));
    })));
  const words = "Same hits: the share of the deepest exit’s ten best that an exit finds, too. The first time includes reading " +
    "candidates that were not read at that exit before; another question with the same places is as fast as “again”.";
  at("exits").replaceChildren(make("div", { className: "both" }, chart(rows), table), make("p", { className: "note" }, words));
}

const milliseconds = (value) => value < 1000 ? `${Math.round(value)} ms` : `${(value / 1000).toFixed(1)} s`;

/** Same hits (upwards) against the time of the first search (to the right, by powers of ten). */
function chart(rows) {
  const [width, height, left, right, top, bottom] = [380, 190, 44, 20, 16, 34];
  const logs = rows.map((row) => Math.log10(Math.max(row.first, 1)));
  const low = Math.floor(Math.min(...logs)), high = Math.max(Math.ceil(Math.max(...logs)), low + 1);
  const x = (log) => left + (width - left - right) * (log - low) / (high - low);
  const y = (same) => height - bottom - (height - top - bottom) * same;
  const drawn = svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": "Same hits against time, by exit; the table has the numbers" });
  for (const same of [0, 0.5, 1]) {
    drawn.append(svg("line", { x1: left, x2: width - right, y1: y(same), y2: y(same), class: "grid" }),
      svg("text", { x: left - 6, y: y(same) + 4, "text-anchor": "end" }, `${100 * same}%`));
  }
  for (let power = low; power <= high; power += 1) {
    drawn.append(svg("line", { x1: x(power), x2: x(power), y1: top, y2: height - bottom, class: "grid" }),
      svg("text", { x: x(power), y: height - bottom + 15, "text-anchor": "middle" }, milliseconds(10 ** power)));
  }
  drawn.append(svg("text", { x: (left + width - right) / 2, y: height - 3, "text-anchor": "middle" }, "first search"));
  rows.forEach((row, number) => {
    const isChosen = row.exit === chosenExit();
    drawn.append(svg("circle", { cx: x(logs[number]), cy: y(row.same), r: isChosen ? 6 : 4, class: isChosen ? "chosen" : "point" }),
      svg("text", { x: x(logs[number]), y: y(row.same) + 18, "text-anchor": "middle", class: "name" }, String(row.exit)));
  });
  return drawn;
}
