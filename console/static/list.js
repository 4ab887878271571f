// A list of things to open, or to choose several of: arrow keys move in it, and a row that moves keeps the focus.

import { classes, html, useLayoutEffect, useRef, useState } from "./draw.js";
import { say } from "./language.js";
import { Trouble, Wait } from "./parts.js";

const STEPS = { ArrowDown: 1, ArrowUp: -1, PageDown: 10, PageUp: -10, Home: -Infinity, End: Infinity };

/** Of all rows one can be reached with Tab, from there the arrows lead on. */
function useArrows() {
  const box = useRef(null);
  const held = useRef(null); // the id of the row that has the focus
  const [reached, reach] = useState(null);
  const onKeyDown = (event) => {
    if (!(event.key in STEPS) || event.altKey || event.ctrlKey || event.metaKey) return;
    const stops = [...box.current.querySelectorAll("[data-stop]")];
    const from = stops.indexOf(document.activeElement);
    if (from < 0) return;
    event.preventDefault();
    stops[Math.min(stops.length - 1, Math.max(0, from + STEPS[event.key]))].focus();
  };
  const onFocusIn = (event) => {
    held.current = event.target.dataset.stop ?? null;
    if (held.current) reach(held.current);
  };
  const onFocusOut = (event) => {
    // A row that is moved loses the focus to nobody.
    if (event.relatedTarget) held.current = null;
  };
  useLayoutEffect(() => {
    if (held.current === null || document.activeElement !== document.body) return;
    box.current.querySelector(`[data-stop="${held.current}"]`)?.focus({ preventScroll: true });
  });
  return { box, reached, on: { onKeyDown, onFocusIn, onFocusOut } };
}

function Choosable({ item, chosen, choose, tab, row }) {
  const change = () => {
    const next = new Set(chosen);
    next.delete(item.id) || next.add(item.id);
    choose(next);
  };
  return html`
    <label class="row choosable">
      <input type="checkbox" data-stop=${item.id} tabindex=${tab} checked=${chosen.has(item.id)} onChange=${change} />
      <span class="row-body"><${row} item=${item} /></span>
    </label>
  `;
}

export function List({ list, current, label, chosen = null, choose, href, row, nothing }) {
  const { box, reached, on } = useArrows();
  const { items, next, error, stale, more, again } = list;
  if (items === null && !error) return html`<${Wait} />`;
  const ids = (items ?? []).map((item) => String(item.id));
  const first = [reached, String(current)].find((id) => ids.includes(id)) ?? ids[0];
  return html`
    <div class=${classes("rows", { stale })} aria-busy=${String(stale)}>
      <${Trouble} error=${error} again=${again} />
      ${items?.length === 0 && !stale && nothing}
      <ul ref=${box} ...${on} aria-label=${label}>
        ${(items ?? []).map((item) => {
          const tab = String(item.id) === first ? 0 : -1;
          return html`<li key=${item.id}>
            ${
              chosen !== null
                ? html`<${Choosable} item=${item} chosen=${chosen} choose=${choose} tab=${tab} row=${row} />`
                : html`<a
                  class="row"
                  id="row-${item.id}"
                  data-stop=${item.id}
                  tabindex=${tab}
                  href=${href(item)}
                  aria-current=${item.id === current ? "true" : undefined}
                >
                  <${row} item=${item} />
                </a>`
            }
          </li>`;
        })}
      </ul>
      ${next && !stale && html`<button type="button" class="button more" onClick=${more}>${say("more")}</button>`}
    </div>
  `;
}
