// What is looked for in the list of conversations: words, and behind a button channel, bot, state and days.

import { classes, html, useEffect, useRef, useState } from "./draw.js";
import { say, sayOf } from "./language.js";
import { Field, Icon } from "./parts.js";

export const FILTERS = ["search", "channel", "bot", "state", "from", "to"];
const FOLDED = FILTERS.slice(1);
const STATES = ["waiting", "running", "answered", "set_aside", "throttled", "human", "failed"];
const TYPING = 300; // milliseconds after the last key

/** The start of a day as this browser counts days, in epoch seconds; a day that is none is left out. */
function startOf(day, later = 0) {
  const [year, month, date] = day.split("-").map(Number);
  const seconds = new Date(year, month - 1, date + later).getTime() / 1000;
  return Number.isFinite(seconds) ? String(seconds) : "";
}

/** The query that the server understands. */
export function asked({ search, channel, bot, state, from, to }) {
  const parts = { search, channel, bot, state, since: from && startOf(from), until: to && startOf(to, 1) };
  return new URLSearchParams(Object.entries(parts).filter(([, value]) => value)).toString();
}

/** A box to search in; `change` is called when the typing rests, and at once with Enter. */
export function Search({ value, change, label }) {
  const [text, set] = useState(value);
  const timer = useRef(0);
  const latest = useRef(change);
  latest.current = change;
  const sent = useRef(value);
  useEffect(() => {
    // Changed elsewhere: the back button, or all filters taken off.
    if (value !== sent.current) set((sent.current = value));
  }, [value]);
  useEffect(() => () => clearTimeout(timer.current), []);
  const send = (words) => {
    clearTimeout(timer.current);
    sent.current = words.trim();
    latest.current(sent.current);
  };
  const onInput = (event) => {
    const words = event.target.value;
    set(words);
    clearTimeout(timer.current);
    timer.current = setTimeout(() => send(words), TYPING);
  };
  const onKeyDown = (event) => {
    if (event.key === "Escape" && text) {
      event.preventDefault();
      set("");
      send("");
    }
  };
  return html`
    <form class="search" role="search" onSubmit=${(event) => (event.preventDefault(), send(text))}>
      <${Icon} name="search" />
      <input
        type="search"
        aria-label=${label}
        placeholder=${label}
        value=${text}
        maxlength="200"
        enterkeyhint="search"
        autocomplete="off"
        onInput=${onInput}
        onKeyDown=${onKeyDown}
      />
    </form>
  `;
}

const Pick = ({ label, value, options, change }) => html`
  <${Field} label=${label}>
    ${(id) => html`
      <select id=${id} value=${value} onChange=${(event) => change(event.target.value)}>
        <option value="">${say("any")}</option>
        ${options.map(([key, words]) => html`<option key=${key} value=${key}>${words}</option>`)}
      </select>
    `}
  <//>
`;

export const channelsOf = (me) => me.channels.filter(({ on }) => on).map(({ name }) => [name, name]);

const Day = ({ label, value, change }) => html`
  <${Field} label=${label}>
    ${(id) => html`<input id=${id} type="date" value=${value} onChange=${(event) => change(event.target.value)} />`}
  <//>
`;

export function Filters({ filters, change, me }) {
  const set = FOLDED.filter((name) => filters[name]).length;
  const [open, setOpen] = useState(set > 0);
  const changing = (name) => (value) => change({ [name]: value });
  const clear = () => change(Object.fromEntries(FOLDED.map((name) => [name, ""])));
  return html`
    <div class="filters">
      <${Search} value=${filters.search} change=${changing("search")} label=${say("search_conversations")} />
      <button
        type="button"
        class=${classes("square", { set })}
        aria-expanded=${String(open)}
        aria-controls="filters"
        aria-label=${set ? say("filters_set", { n: set }) : say("filters")}
        title=${say("filters")}
        onClick=${() => setOpen(!open)}
      >
        <${Icon} name="filters" />
      </button>
    </div>
    <div class="folded" id="filters" hidden=${!open}>
      <${Pick}
        label=${say("channel")}
        value=${filters.channel}
        options=${channelsOf(me)}
        change=${changing("channel")}
      />
      <${Pick}
        label=${say("bot")}
        value=${filters.bot}
        options=${me.bots.map((name) => [name, name])}
        change=${changing("bot")}
      />
      <${Pick}
        label=${say("state")}
        value=${filters.state}
        options=${STATES.map((state) => [state, sayOf("state", state)])}
        change=${changing("state")}
      />
      <${Day} label=${say("from_day")} value=${filters.from} change=${changing("from")} />
      <${Day} label=${say("to_day")} value=${filters.to} change=${changing("to")} />
      ${set > 0 && html`<button type="button" class="link" onClick=${clear}>${say("clear")}</button>`}
    </div>
  `;
}
