// What the pages are drawn with: Preact's elements, written as HTML by htm. Text put in is text, never markup.

import htm from "./vendor/htm.js";
import { h } from "./vendor/preact.js";

export { Fragment, render } from "./vendor/preact.js";
export { useEffect, useLayoutEffect, useMemo, useRef, useState } from "./vendor/hooks.js";
export const html = htm.bind(h);

/** Class names of those that hold: classes("tag", { warm: late }). */
export function classes(name, holding = {}) {
  return [name, ...Object.keys(holding).filter((key) => holding[key])].join(" ");
}
