// What goes to and from the server: questions with their answers, and the event streams that say what changed.

import { say } from "./language.js";
import { Value } from "./value.js";
import { WORDS } from "./words.js";

const API = "/console/api";
const SLOWEST = 20_000; // milliseconds between two tries
const PATIENCE = 30_000; // for an answer

export const guest = new Value(undefined); // who is signed in; null: nobody; undefined: not known yet
export const cut = new Value(false); // an event stream is down

/** Why something was not done: a sentence for the person who wanted it. */
export class Refusal extends Error {
  constructor(status, code, message = "", seconds = 0) {
    super(message || code);
    this.status = status;
    this.code = code;
    this.seconds = seconds;
  }

  get sentence() {
    const name = `error_${this.code}`;
    if (name in WORDS) return say(name, { seconds: this.seconds });
    return this.status >= 500 ? say("error_server") : this.message;
  }
}

async function answered(path, options) {
  try {
    return await fetch(API + path, options);
  } catch (error) {
    if (options.signal?.reason?.name === "AbortError") throw error;
    throw new Refusal(0, "offline");
  }
}

const posted = (body) => ({
  method: "POST",
  headers: { "Content-Type": "application/json", "X-CSRF-Token": guest.value?.csrf ?? "" },
  body: JSON.stringify(body),
});

/** GET, or POST when there is a body; the answer's JSON. Throws Refusal, and AbortError when `left` says so. */
export async function ask(path, { body, left } = {}) {
  const signal = AbortSignal.any([AbortSignal.timeout(PATIENCE), ...(left ? [left] : [])]);
  const answer = await answered(path, { signal, ...(body !== undefined && posted(body)) });
  if (answer.status === 204) return null;
  const data = await answer.json().catch(() => null);
  if (answer.ok && data !== null) return data;
  throw refused(answer, path, data);
}

/** POST; the events of the answer as [name, data], as they come. Throws like `ask`. */
export async function* events(path, { body, left }) {
  const answer = await answered(path, { signal: left, ...posted(body) });
  if (!answer.ok) throw refused(answer, path, await answer.json().catch(() => null));
  let rest = "";
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    const frames = (rest + part.value).split("\n\n");
    rest = frames.pop();
    for (const frame of frames) {
      const lines = new Map(frame.split("\n").map((line) => line.split(/: (.*)/s)));
      if (lines.has("event")) yield [lines.get("event"), JSON.parse(lines.get("data"))];
    }
  }
}

function refused(answer, path, data) {
  const { code = `status_${answer.status}`, message = "" } = data?.error ?? {};
  // Signed out elsewhere, or too long ago.
  if (answer.status === 401 && path !== "/sign-in") guest.value = null;
  return new Refusal(answer.status, code, message, Number(answer.headers.get("Retry-After")) || 0);
}

const down = new Set(); // streams that have no connection
let downTimer = 0;

function tellOf(line, isDown) {
  if (isDown === down.has(line)) return;
  isDown ? down.add(line) : down.delete(line);
  clearTimeout(downTimer);
  // A restart of the server takes a moment and is nobody's business.
  if (down.size === 0) cut.value = false;
  else downTimer = setTimeout(() => (cut.value = true), 1_500);
}

/** Whether the server answers at all; that nobody is signed in any more comes out here, too. */
const isReachable = () =>
  ask("/me").then(
    () => true,
    (error) => error.status > 0 && error.status < 500,
  );

/** An event stream, open for as long as somebody looks. `opened` is called whenever something may have been missed. */
export class Line {
  #source = null;
  #timer = 0;
  #failures = 0;
  #opening = 0; // what an older one still waits for does not count any more
  #watch = () => (document.hidden ? this.#close() : this.#open());
  #online = () => this.#open();

  constructor(path, { events, opened }) {
    this.path = path;
    this.events = events;
    this.opened = opened;
    // A browser opens six connections to a server and no more: a tab that nobody looks at keeps none.
    document.addEventListener("visibilitychange", this.#watch);
    addEventListener("online", this.#online);
    this.#watch();
  }

  end() {
    document.removeEventListener("visibilitychange", this.#watch);
    removeEventListener("online", this.#online);
    this.#close();
  }

  #open() {
    this.#drop();
    const source = new EventSource(API + this.path);
    this.#source = source;
    source.addEventListener("open", () => {
      this.#failures = 0;
      tellOf(this, false);
      this.opened();
    });
    for (const [name, take] of Object.entries(this.events)) {
      source.addEventListener(name, (event) => take(JSON.parse(event.data)));
    }
    source.addEventListener("error", () => {
      // CLOSED: the server answered, but not with a stream; perhaps nobody is signed in any more.
      const refused = source.readyState === EventSource.CLOSED;
      this.#drop();
      if (!refused) tellOf(this, true);
      const wait = Math.min(SLOWEST, 500 * 2 ** Math.min(this.#failures++, 6)) * (0.75 + Math.random() / 2);
      const mine = this.#opening;
      this.#timer = setTimeout(async () => {
        if (refused) tellOf(this, !(await isReachable()));
        if (guest.value && mine === this.#opening) this.#open();
      }, wait);
    });
  }

  #close() {
    this.#drop();
    tellOf(this, false);
  }

  #drop() {
    this.#opening++;
    clearTimeout(this.#timer);
    this.#source?.close();
    this.#source = null;
  }
}
