// What was said, one bubble each: by a user, by the bot, or being written; and below it how that went.

import { useDoing } from "./asking.js";
import { classes, html } from "./draw.js";
import { clock, count, moment, percent, say, sayOf, span } from "./language.js";
import { Mark } from "./mark.js";
import { Tag, Trouble } from "./parts.js";
import { address } from "./place.js";
import { ask } from "./wire.js";

const At = ({ at }) =>
  html`<time dateTime=${new Date(at * 1000).toISOString()} title=${moment(at)}>${clock(at)}</time>`;

const Text = ({ text }) =>
  html`<div class=${classes("text", { none: !text })} dir="auto">${text || say("no_words")}</div>`;

/** A press that has the server try something again; the conversation is fetched anew then. */
function Again({ name, again }) {
  const { error, run } = useDoing();
  const press = () => run(() => ask("/retry", { body: { ids: [name] } }).then(again));
  return html`
    <button type="button" class="link" onClick=${press}>${say("try_again")}</button>
    <${Trouble} error=${error} />
  `;
}

export function Message({ entry, users, me, again }) {
  const user = users.length > 1 && users.find((one) => one.id === entry.user);
  const speaker = entry.speaker || (user && user.user);
  const mayRetry = entry.state === "set_aside" && me.role === "operator";
  return html`
    <li class="bubble theirs" id="m${entry.id}">
      ${users.length > 1 && speaker && html`<a class="speaker" href=${address("users", entry.user)}>${speaker}</a>`}
      <${Text} text=${entry.text} />
      <div class="meta">
        <${At} at=${entry.at} />
        ${entry.state !== "answered" && html`<${Tag} kind=${entry.state}>${sayOf("state", entry.state)}<//>`}
        ${mayRetry && html`<${Again} name="m${entry.id}" again=${again} />`}
      </div>
    </li>
  `;
}

/** Model, tokens, times, cache: what there is of it. */
export function details({ model, prompt_tokens: prompt, completion_tokens: completion, cached_tokens: cached, ...turn }) {
  const { first_text_seconds: first, seconds } = turn;
  const told = [];
  if (model) told.push(model);
  if (prompt || completion) told.push(say("tokens_in_out", { prompt, completion }));
  if (first !== null && first !== undefined) told.push(say("first_text_after", { time: span(first) }));
  if (model && seconds) told.push(say("whole_after", { time: span(seconds) }));
  if (prompt && cached) told.push(say("cache_share", { share: percent(Math.min(1, cached / prompt)) }));
  return told;
}

/** Why a part did not arrive; what arrived, or is on its way, needs no words. */
function Delivery({ delivery, me, again }) {
  const { id, state, reason, part, parts } = delivery;
  if (!["failed", "unclear"].includes(state)) return null;
  const words =
    say(`delivery_${state}`) + (parts > 1 ? ` (${say("part", { part: count(part), parts: count(parts) })})` : "");
  return html`
    <p class="undelivered">
      <span>${words}${reason && `: ${reason}`}</span>
      ${state === "unclear" && html`<span class="soft">${say("unclear_hint")}</span>`}
      ${me.role === "operator" && html`<${Again} name="d${id}" again=${again} />`}
    </p>
  `;
}

/** Why it is an apology or cut; what a notice is about, it says itself. */
const whyOf = ({ reason, cut, turn_kind: kind }) => (kind === "notice" && !cut ? "" : sayOf("reason", reason));

const Tags = ({ entry }) => html`
  ${entry.turn_kind !== "answer" && html`<${Tag} kind=${entry.turn_kind}>${sayOf("kind", entry.turn_kind)}<//>`}
  ${entry.cut && html`<${Tag} kind="warm">${say("was_cut")}<//>`}
  ${entry.feedback && html`<${Tag} kind=${entry.feedback}>${say(`feedback_${entry.feedback}`)}<//>`}
`;

export function Turn({ entry, me, again, change }) {
  return html`
    <li class="bubble ours" id="t${entry.id}">
      <${Text} text=${entry.text} />
      <div class="below">
        <div class="meta">
          <${At} at=${entry.at} /><${Tags} entry=${entry} />
          ${details(entry).map((one) => html`<span key=${one}>${one}</span>`)}
        </div>
        ${entry.turn_kind !== "notice" && html`<${Mark} entry=${entry} me=${me} change=${change} />`}
      </div>
      ${whyOf(entry) && html`<p class="reason">${say("reason", { reason: whyOf(entry) })}</p>`}
      ${entry.deliveries.map((one) => html`<${Delivery} key=${one.id} delivery=${one} me=${me} again=${again} />`)}
    </li>
  `;
}

/** It has the height of a line of details already, so that nothing moves when it is whole. */
export const Growing = ({ entry }) => html`
  <li class="bubble ours growing" id="t${entry.id}">
    <${Text} text=${entry.text} />
    <div class="below"><div class="meta"><span>${say("being_written")}</span></div><div class="marks"></div></div>
  </li>
`;
