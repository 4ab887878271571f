// The chat page: shows what the server says, sends what the visitor writes, and comes back on its own.

import { View } from "./view.js";
import { Kept, Line, Outbox } from "./wire.js";

const { base, limit, phrases: words } = document.body.dataset;
const phrases = JSON.parse(words);
const view = new View(phrases, document.documentElement.lang);
const box = document.getElementById("box");
const send = document.getElementById("send");
const note = document.getElementById("note");
const unfinished = new Kept(`frontdesk ${base} box`, "");
const pending = new Map(); // key of a message -> its id, while its reply is to come
const finished = new Set(); // turns whose reply is whole
let engineReady = true;
let offlineTimer = 0;

// A message keeps one key from the first keystroke to the ledger: the id that this or another page gave it.
const keyOf = (entry) => (entry.client_id ? `c${entry.client_id}` : entry.id);

function show(entry) {
  const key = keyOf(entry);
  view.put(key, entry);
  if (entry.role === "bot") {
    finished.add(entry.id);
    return key;
  }
  outbox.drop(entry.client_id);
  view.mark(key, "");
  if (entry.pending) pending.set(key, entry.id);
  return key;
}

function showUnsent({ id, text, at }, state = "sending") {
  const key = `c${id}`;
  view.put(key, { role: "user", text, at });
  if (state === "failed") view.mark(key, state, phrases.chat_failed_send, () => outbox.pump());
  else view.mark(key, state);
  return key;
}

function tell() {
  if (line.source && line.heard) view.tell(engineReady ? "ready" : "loading", engineReady ? "" : phrases.chat_engine_loading);
}

const events = {
  snapshot({ engine, entries, draft }) {
    clearTimeout(offlineTimer);
    line.heard = true;
    pending.clear();
    finished.clear();
    const keys = entries.map(show);
    if (draft) {
      const key = `t${draft.turn}`;
      view.grow(key, draft);
      keys.push(key);
    }
    keys.push(...outbox.unsent.map((message) => showUnsent(message)));
    view.arrange([...new Set(keys)]);
    view.await(pending.size > 0);
    engineReady = engine.ready;
    tell();
    outbox.pump();
  },
  draft(draft) {
    const key = `t${draft.turn}`;
    if (finished.has(key)) return;
    if (!view.grow(key, draft)) line.open();
    view.await(pending.size > 0);
  },
  reply({ waiting, ...entry }) {
    const fresh = !finished.has(entry.id);
    const shown = show(entry);
    const still = new Set(waiting ?? []);
    for (const [key, id] of pending) if (!still.has(id)) pending.delete(key);
    if (fresh) view.announce(view.words(shown));
    view.await(pending.size > 0);
  },
  message(entry) {
    show(entry);
    view.await(pending.size > 0);
  },
  engine({ ready }) {
    engineReady = ready;
    tell();
  },
};

function down() {
  line.heard = false;
  clearTimeout(offlineTimer);
  // A restart of the server takes a moment and is nobody's business.
  offlineTimer = setTimeout(() => view.tell("offline", phrases.chat_offline), 1_500);
}

const line = new Line(base, { events, down });
const outbox = new Outbox(base, {
  accepted(entry) {
    if (!line.source) line.open(); // the server is back
    const key = keyOf(entry);
    // The stream may have told more than this answer knows: even the reply.
    const known = view.bubbles.get(key);
    if (known && !known.element.matches(".sending, .failed")) return;
    events.message(entry);
  },
  waiting(id) {
    const message = outbox.unsent.find((unsent) => unsent.id === id);
    if (message) showUnsent(message, "failed");
  },
  refused(id, status) {
    const key = `c${id}`;
    const { text } = view.bubbles.get(key);
    const why = status === 413 ? phrases.chat_too_long : phrases.chat_failed_send;
    view.mark(key, "failed", why, () => showUnsent(outbox.add(text, id)));
  },
});

function write() {
  const text = (box.value.toWellFormed?.() ?? box.value).trim();
  if (!text || tooLong(text)) return;
  box.value = "";
  changed();
  view.follow(true);
  showUnsent(outbox.add(text));
  view.follow(true);
  if (!line.source) line.open();
}

// Characters as the server counts them: code points, not UTF-16 units.
const tooLong = (text) => text.length > limit && [...text].length > limit;

function changed() {
  const long = tooLong(box.value.trim());
  note.textContent = long ? phrases.chat_too_long : "";
  box.setAttribute("aria-invalid", String(long));
  send.disabled = long || !box.value.trim();
  unfinished.set(box.value);
  box.style.height = "auto";
  box.style.height = `${box.scrollHeight}px`;
}

box.addEventListener("input", changed);
box.addEventListener("keydown", (event) => {
  // 229: an input method is still composing (Safari says so only here).
  if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return;
  event.preventDefault();
  write();
});
document.getElementById("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  write();
  box.focus();
});

let hiddenAt = 0;
document.addEventListener("visibilitychange", () => {
  if (document.hidden) {
    hiddenAt = Date.now();
    return;
  }
  // Phones cut the connections of sleeping pages without telling them.
  if (!line.source || line.resting || Date.now() - hiddenAt > 30_000) line.open();
});
addEventListener("focus", () => line.resting && line.open());
addEventListener("online", () => line.open());
addEventListener("pagehide", () => line.close());
addEventListener("pageshow", (event) => event.persisted && line.open());

for (const message of outbox.unsent) showUnsent(message);
box.value = unfinished.value;
changed();
line.open();
outbox.pump();
if (matchMedia("(hover: hover)").matches) box.focus(); // not on phones: the keyboard would cover the greeting
