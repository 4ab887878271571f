// What goes to and from the server. A message keeps its id until the server has it, so sending it again is harmless.

const SLOWEST = 30_000; // milliseconds between two tries
const KEPT = 50; // unsent messages

/** Half a second after the first failure, then longer each time, spread so that all pages do not come back at once. */
function pause(failures) {
  return Math.min(SLOWEST, 500 * 2 ** Math.min(failures, 6)) * (0.75 + Math.random() / 2);
}

function uuid() {
  // crypto.randomUUID exists on https and localhost only.
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join("-");
}

/** A value kept over reloads; without storage (private windows) it lives as long as the page. */
export class Kept {
  constructor(name, empty) {
    this.name = name;
    try {
      this.value = JSON.parse(localStorage.getItem(name)) ?? empty;
    } catch {
      this.value = empty;
    }
  }

  set(value) {
    this.value = value;
    try {
      localStorage.setItem(this.name, JSON.stringify(value));
    } catch {
      // Nothing to do: storage is full or forbidden.
    }
  }
}

/** The event stream, kept open. A new one starts with a snapshot, so nothing needs to be remembered between two. */
export class Line {
  constructor(base, { events, down }) {
    this.base = base;
    this.events = events;
    this.down = down;
    this.failures = 0;
    this.resting = false; // another tab took our place; come back when somebody looks
  }

  open() {
    this.close();
    this.resting = false;
    const source = new EventSource(`${this.base}/events`);
    this.source = source;
    for (const [name, take] of Object.entries(this.events)) {
      source.addEventListener(name, (event) => {
        if (this.source !== source) return;
        if (name === "snapshot") this.failures = 0;
        take(JSON.parse(event.data));
      });
    }
    source.addEventListener("replaced", () => {
      this.close();
      this.resting = true;
      this.down();
    });
    source.addEventListener("error", () => {
      if (this.source !== source) return;
      // CLOSED: the server answered, but not with a stream; perhaps our cookie is gone.
      const refused = source.readyState === EventSource.CLOSED;
      this.close();
      this.down();
      const wait = pause(this.failures++);
      this.timer = setTimeout(() => (refused ? renew(this.base).finally(() => this.open()) : this.open()), wait);
    });
  }

  close() {
    clearTimeout(this.timer);
    this.source?.close();
    this.source = null;
  }
}

/** Ask for the page again: its answer carries our cookie. */
function renew(base) {
  return fetch(base, { cache: "no-store" }).catch(() => {});
}

/** Messages on their way to the server, in order, one at a time. */
export class Outbox {
  constructor(base, { accepted, waiting, refused }) {
    this.base = base;
    this.accepted = accepted;
    this.waiting = waiting;
    this.refused = refused;
    this.failures = 0;
    this.kept = new Kept(`frontdesk ${base} unsent`, []);
  }

  get unsent() {
    return this.kept.value;
  }

  add(text, id = uuid()) {
    const message = { id, text, at: Date.now() / 1000 };
    this.kept.set([...this.unsent, message].slice(-KEPT));
    this.pump();
    return message;
  }

  /** The server has it, as far as somebody told us. */
  drop(id) {
    if (this.unsent.some((message) => message.id === id)) {
      this.kept.set(this.unsent.filter((message) => message.id !== id));
    }
  }

  async pump() {
    clearTimeout(this.timer);
    if (this.pumping) return;
    this.pumping = true;
    let wait = 0;
    while (this.unsent.length && !wait) wait = await this.send(this.unsent[0]);
    this.pumping = false;
    if (wait) this.timer = setTimeout(() => this.pump(), wait);
  }

  /** Returns the milliseconds to wait before the next try, 0 when this message is settled. */
  async send({ id, text }) {
    let answer;
    try {
      answer = await fetch(`${this.base}/messages`, {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify({ id, text }),
        signal: AbortSignal.timeout(20_000),
      });
      if (answer.status === 202) {
        const entry = await answer.json();
        this.failures = 0;
        this.drop(id);
        this.accepted(entry);
        return 0;
      }
    } catch {
      answer = null; // No answer, or half of one: it may have been taken, and the same id makes a repeat safe.
    }
    if (answer?.status === 401) {
      await renew(this.base);
    } else if (answer && answer.status < 500 && answer.status !== 429) {
      this.drop(id);
      this.refused(id, answer.status);
      return 0;
    }
    this.waiting(id);
    const asked = Number(answer?.headers.get("Retry-After")) * 1000;
    return Math.max(asked || 0, pause(this.failures++));
  }
}
