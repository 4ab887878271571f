// What one conversation holds, as far as this page knows: fetched again when something changed, and growing in between.

import { useEffect, useRef, useState } from "./draw.js";
import { Line, ask } from "./wire.js";

const PAGE = 100;
const MOST = 500;
const NOTHING = { conversation: null, entries: [], next: null, growing: null, error: null };

const isTurn = (entry) => entry.kind === "turn";
export const keyOf = (entry) => (entry.kind === "message" ? "m" : "t") + entry.id;

/** The newest page joined to what was fetched of earlier ones. */
function renewed(held, page, growing) {
  const entries = page.entries.filter((entry) => entry.kind !== "growing");
  const fresh = new Set(entries.map(keyOf));
  const from = entries[0]?.at ?? Infinity;
  const older = page.next === null ? [] : held.entries.filter((entry) => entry.at < from && !fresh.has(keyOf(entry)));
  return {
    conversation: page.conversation,
    entries: [...older, ...entries],
    next: older.length ? held.next : page.next,
    growing: growing && !fresh.has(`t${growing.id}`) ? growing : null,
    error: null,
  };
}

export function useTranscript(id) {
  const [, redraw] = useState({});
  const own = useRef({ held: NOTHING, grown: 0, busy: false, again: false, there: true }).current;
  const put = (held) => {
    if (!own.there) return;
    own.held = { ...own.held, ...held };
    redraw({});
  };

  async function again() {
    own.again = true;
    if (own.busy) return; // it goes round once more
    own.busy = true;
    while (own.again && own.there) {
      own.again = false;
      const before = own.grown;
      try {
        const limit = Math.min(MOST, Math.max(PAGE, own.held.entries.length));
        const page = await ask(`/conversations/${id}?limit=${limit}`);
        const told = page.entries.find((entry) => entry.kind === "growing") ?? null;
        // What the stream said meanwhile is newer than this answer.
        put(renewed(own.held, page, own.grown === before ? told : own.held.growing));
      } catch (error) {
        if (error.status === 404) own.line.end();
        put(error.status === 404 ? { ...NOTHING, error } : { error });
      }
    }
    own.busy = false;
  }

  async function earlier() {
    try {
      const before = encodeURIComponent(own.held.next);
      const page = await ask(`/conversations/${id}?before=${before}&limit=${PAGE}`);
      const known = new Set(own.held.entries.map(keyOf));
      const older = page.entries.filter((entry) => entry.kind !== "growing" && !known.has(keyOf(entry)));
      put({ entries: [...older, ...own.held.entries], next: page.next, error: null });
    } catch (error) {
      put({ error });
    }
  }

  function grow({ turn, text }) {
    const { entries, growing } = own.held;
    if (entries.some((entry) => isTurn(entry) && entry.id === turn)) return; // it is whole
    own.grown++;
    const at = growing?.id === turn ? growing.at : Date.now() / 1000;
    put({ growing: { kind: "growing", id: turn, at, text } });
  }

  /** What this page itself has changed of a turn. */
  function change(turn, changed) {
    put({
      entries: own.held.entries.map((entry) => (isTurn(entry) && entry.id === turn ? { ...entry, ...changed } : entry)),
    });
  }

  useEffect(() => {
    own.there = true;
    own.line = new Line(`/conversations/${id}/live`, { events: { growing: grow, changed: again }, opened: again });
    again();
    return () => {
      own.there = false;
      own.line.end();
    };
  }, [id]);
  return { ...own.held, again, earlier, change };
}
