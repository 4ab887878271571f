// A test chat: one question to each side, whose answers grow beside each other. It lives in this page and nowhere else.

import { details } from "./bubble.js";
import { wireOf } from "./draft.js";
import { classes, html, useEffect, useLayoutEffect, useRef, useState } from "./draw.js";
import { say } from "./language.js";
import { Trouble } from "./parts.js";
import { events } from "./wire.js";

/** What was said so far, exactly as the model saw it; an answer that failed is no part of it. */
const saidIn = (entries) => entries.filter((entry) => entry.done).flatMap(({ done, text }) => [done.user_text, text]);

async function answer(bot, side, entries, text, left, grow) {
  const body = {
    ...wireOf(side.recipe),
    text,
    said: saidIn(entries),
    language: entries.findLast((entry) => entry.done)?.done.language ?? "",
    model: side.model,
  };
  let told = "";
  try {
    for await (const [name, data] of events(`/bots/${encodeURIComponent(bot)}/try`, { body, left })) {
      if (name === "delta") grow({ text: (told += data.text) });
      if (name === "done") grow({ done: data, running: false });
      if (name === "failed") grow({ error: { sentence: data.message }, running: false });
    }
  } catch (error) {
    const stopped = left.aborted;
    grow({ running: false, stopped, error: stopped ? null : error });
  }
}

export function useRehearsal(bot, sides) {
  const [talks, set] = useState([[], []]);
  const [running, setRunning] = useState(null); // an AbortController
  useEffect(() => () => running?.abort(), [running]);
  const send = async (text) => {
    const left = new AbortController();
    setRunning(left);
    const change = (index, entries) => set((old) => old.map((one, place) => (place === index ? entries(one) : one)));
    await Promise.all(
      sides.map((side, index) => {
        change(index, (one) => [...one, { asked: text, text: "", running: true }]);
        const grow = (part) => change(index, (one) => [...one.slice(0, -1), { ...one.at(-1), ...part }]);
        return answer(bot, side, talks[index], text, left.signal, grow);
      }),
    );
    setRunning(null);
  };
  const anew = () => set([[], []]);
  return { talks, running: running !== null, send, stop: () => running?.abort(), anew };
}

const Answer = ({ entry }) => html`
  <li class="bubble theirs"><div class="text" dir="auto">${entry.asked}</div></li>
  <li class=${classes("bubble ours", { growing: entry.running })}>
    ${!entry.error && html`<div class=${classes("text", { none: !entry.text && !entry.running })} dir="auto">
      ${entry.text || (entry.running ? "" : say("no_words"))}
    </div>`}
    <div class="meta">
      ${entry.running && html`<span>${say("being_written")}</span>`}
      ${entry.stopped && html`<span>${say("try_stopped")}</span>`}
      ${entry.done?.finish === "length" && html`<span>${say("try_cut")}</span>`}
      ${entry.done && details(entry.done).map((one) => html`<span key=${one}>${one}</span>`)}
    </div>
    <${Trouble} error=${entry.error} />
  </li>
`;

/** Keeps the newest in sight. */
export function Talk({ entries, label }) {
  const box = useRef(null);
  useLayoutEffect(() => {
    box.current.scrollTop = box.current.scrollHeight;
  }, [entries]);
  return html`
    <div class="talk" ref=${box} role="log" aria-label=${label} tabindex="0">
      ${entries.length === 0 && html`<p class="soft">${say("try_empty")}</p>`}
      <ol class="bubbles">${entries.map((entry, index) => html`<${Answer} key=${index} entry=${entry} />`)}</ol>
    </div>
  `;
}

export function Question({ rehearsal }) {
  const [text, type] = useState("");
  const { running, send, stop, anew, talks } = rehearsal;
  const onSubmit = (event) => {
    event.preventDefault();
    if (running || !text.trim()) return;
    send(text.trim());
    type("");
  };
  const onKeyDown = (event) => {
    // Enter confirms a word while one writes Chinese.
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) onSubmit(event);
  };
  return html`
    <form class="question" onSubmit=${onSubmit}>
      <textarea
        rows="2"
        dir="auto"
        aria-label=${say("try_ask")}
        placeholder=${say("try_ask_hint")}
        maxlength="20000"
        value=${text}
        onInput=${({ target }) => type(target.value)}
        onKeyDown=${onKeyDown}
      />
      <div class="actions">
        <button type="button" class="button" disabled=${running || !talks.flat().length} onClick=${anew}>
          ${say("try_again_fresh")}
        </button>
        ${
          running
            ? html`<button type="button" class="button strong" onClick=${stop}>${say("try_stop")}</button>`
            : html`<button type="submit" class="button strong" disabled=${!text.trim()}>${say("try_send")}</button>`
        }
      </div>
    </form>
  `;
}
