// What is shown, kept in the address: it can be linked, and the browser's Back works.

const NAMES = ["q", "like", "of", "tree", "exit", "language", "path", "file"];

export function readState() {
  const given = new URLSearchParams(location.hash.slice(1));
  return Object.fromEntries(NAMES.map((name) => [name, given.get(name) ?? ""]));
}

/** The address of the state with some changes. */
export function address(changes) {
  const state = { ...readState(), ...changes };
  if (!state.like && !state.file) state.of = "";
  return "#" + new URLSearchParams(NAMES.filter((name) => state[name]).map((name) => [name, state[name]]));
}

/** "src/a.py:12" -> ["src/a.py", 12] */
export function splitLine(location) {
  const colon = location.lastIndexOf(":");
  return [location.slice(0, colon), Number(location.slice(colon + 1)) || 1];
}
