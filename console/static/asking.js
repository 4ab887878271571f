// How a page asks the server: once, again and again, or list by list; an older answer never replaces a newer one.

import { useEffect, useRef, useState } from "./draw.js";
import { Line, ask, cut } from "./wire.js";

const PAGE = 50; // items of one page of a list
const MOST = 200; // that the server gives at once

/** One answer, asked for anew when the path changes, when `again` is called and every `seconds`, if they are given. */
export function useAnswer(path, seconds = 0) {
  const [state, set] = useState({ path, data: null, error: null });
  const latest = useRef(0);
  const again = async () => {
    const mine = ++latest.current;
    let next;
    try {
      next = { path, data: await ask(path), error: null };
    } catch (error) {
      next = { path, error };
    }
    if (mine === latest.current) set((old) => ({ data: old.path === path ? old.data : null, ...next }));
  };
  useEffect(() => {
    again();
    const look = () => document.hidden || again();
    const timer = seconds ? setInterval(look, seconds * 1000) : 0;
    if (seconds) document.addEventListener("visibilitychange", look);
    return () => {
      latest.current++;
      clearInterval(timer);
      document.removeEventListener("visibilitychange", look);
    };
  }, [path, seconds]);
  useEffect(() => cut.watch((down) => down || again()), [path]);
  const put = (data) => {
    latest.current++; // what is on its way is older
    set({ path, data, error: null });
  };
  return { data: state.path === path ? state.data : null, error: state.error, again, put };
}

function joined(fresh, old) {
  const ids = new Set(fresh.map((item) => item.id));
  return [...fresh, ...old.filter((item) => !ids.has(item.id))];
}

/** A list by pages: `more` asks for the next one, `again` for all that is shown. One question at a time, in order. */
export function useList(path, query) {
  const whole = `${path}?${query}`;
  const [, redraw] = useState({});
  const shown = useRef({ whole: "", items: null, next: null, error: null });
  const line = useRef({ last: Promise.resolve(), again: false, left: new AbortController() });

  async function fetched(left, limit, before, join) {
    if (left.aborted) return; // another list is wanted by now
    const parts = [...new URLSearchParams(query), ["limit", limit], ...(before ? [["before", before]] : [])];
    try {
      const page = await ask(`${path}?${new URLSearchParams(parts)}`, { left });
      if (left.aborted) return;
      shown.current = { whole, error: null, ...join(page, shown.current) };
    } catch (error) {
      if (left.aborted) return;
      const { items, next } = shown.current.whole === whole ? shown.current : { items: null, next: null };
      shown.current = { whole, items, next, error };
    }
    redraw({});
  }

  const queue = (work) => {
    const { left } = line.current;
    return (line.current.last = line.current.last.then(() => work(left.signal)));
  };
  const first = () => queue((left) => fetched(left, PAGE, null, (page) => page));
  const more = () =>
    queue((left) =>
      fetched(left, PAGE, shown.current.next, (page, old) => ({ ...page, items: joined(old.items, page.items) })),
    );
  function again() {
    if (line.current.again) return; // it will be asked for
    line.current.again = true;
    queue((left) => {
      line.current.again = false;
      const limit = Math.min(MOST, Math.max(PAGE, shown.current.items?.length ?? 0));
      return fetched(left, limit, null, (page, old) =>
        page.next !== null && old.whole === whole && old.items?.length > MOST
          ? { items: joined(page.items, old.items), next: old.next }
          : page,
      );
    });
  }

  useEffect(() => {
    line.current.left = new AbortController();
    first();
    return () => line.current.left.abort();
  }, [whole]);
  return { ...shown.current, stale: shown.current.whole !== whole, more, again };
}

/** Calls `again` when something has changed in any conversation, at most every `settle` milliseconds. */
export function useChanges(again, settle) {
  const latest = useRef(again);
  latest.current = again;
  useEffect(() => {
    let timer = 0;
    const soon = () => (timer ||= setTimeout(() => ((timer = 0), latest.current()), settle));
    const line = new Line("/live", { events: { changed: soon }, opened: soon });
    return () => {
      clearTimeout(timer);
      line.end();
    };
  }, []);
}

/** Something that is done on a press: `busy` while it runs, `error` when it was refused. */
export function useDoing() {
  const [state, set] = useState({ busy: false, error: null });
  const there = useRef(true);
  const busy = useRef(false);
  useEffect(() => () => (there.current = false), []);
  // A button that is pressed again meanwhile does nothing; disabled, it would lose the focus.
  const run = async (work) => {
    if (busy.current) return false;
    busy.current = true;
    set({ busy: true, error: null });
    try {
      await work();
      if (there.current) set({ busy: false, error: null });
      return true;
    } catch (error) {
      if (there.current) set({ busy: false, error });
      return false;
    } finally {
      busy.current = false;
    }
  };
  return { ...state, run };
}
