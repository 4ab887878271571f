// A value that several parts of the page look at: who changes it redraws them.

import { useLayoutEffect, useState } from "./vendor/hooks.js";

export class Value {
  #value;
  #watchers = new Set();

  constructor(value) {
    this.#value = value;
  }

  get value() {
    return this.#value;
  }

  set value(value) {
    if (Object.is(value, this.#value)) return;
    this.#value = value;
    for (const watcher of [...this.#watchers]) watcher(value);
  }

  /** Be told of each change; returns what ends that. */
  watch(watcher) {
    this.#watchers.add(watcher);
    return () => this.#watchers.delete(watcher);
  }
}

/** The value now; the component is drawn again when it changes. */
export function useValue(value) {
  const [, redraw] = useState({});
  // Not after the next picture, as effects are: an answer that came before it would never be drawn.
  useLayoutEffect(() => value.watch(() => redraw({})), [value]);
  return value.value;
}
