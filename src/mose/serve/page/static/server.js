// The JSON API: https requests of this page to the server it came from.
import { at } from "./dom.js";

export async function ask(path, body, signal) {
  const headers = {};
  if (body) headers["Content-Type"] = "application/json";
  if (at("key").value) headers["Authorization"] = "Bearer " + at("key").value;
  let answer;
  try {
    answer = await fetch(path, { method: body ? "POST" : "GET", headers, body: body && JSON.stringify(body), signal });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("The server does not answer. Is `mose serve` still running?");
  }
  if (answer.status === 401) at("ask").hidden = false;
  const value = await answer.json();
  if (!answer.ok) throw new Error(value.error.message);
  return value;
}
