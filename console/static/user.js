// One user: what they used today, limits of their own, a block, and erasing all that is known of them.

import { useAnswer, useDoing } from "./asking.js";
import { html, useEffect, useRef, useState } from "./draw.js";
import { count, say } from "./language.js";
import { Limits } from "./limits.js";
import { Back, Dialog, Empty, Field, Tag, Time, Trouble, Wait, isErased, nameOf } from "./parts.js";
import { address, go, hasMoved } from "./place.js";
import { ask } from "./wire.js";

const LISTED = 20; // conversations
const LOOK_SECONDS = 15;

const Amount = ({ name, value, most = 0 }) => html`
  <div class="amount">
    <span class="amount-name">${name}</span>
    <span class="amount-value">
      ${count(value)} ${most > 0 && html`<span class="soft">${say("of", { most })}</span>`}
    </span>
    ${
      most > 0 &&
      html`<meter
      aria-label=${name}
      min="0"
      max=${most}
      high=${most * 0.8}
      optimum="0"
      value=${Math.min(value, most)}
    ></meter>`
    }
  </div>
`;

function Usage({ user }) {
  const { usage, limits, defaults } = user;
  const most = limits?.tokens_per_day ?? defaults.tokens_per_day; // 0: no limit
  return html`
    <section class="card" aria-labelledby="usage-title">
      <h3 id="usage-title">${say("usage")}</h3>
      <div class="amounts">
        <${Amount} name=${say("usage_messages")} value=${usage.messages_24h} />
        <${Amount} name=${say("usage_tokens")} value=${usage.tokens_24h} most=${most} />
        <${Amount} name=${say("usage_throttled")} value=${usage.throttled_24h} />
      </div>
    </section>
  `;
}

function Block({ user, put }) {
  const [open, setOpen] = useState(false);
  const { error, run } = useDoing();
  const set = async (blocked) => {
    if (await run(async () => put(await ask(`/users/${user.id}/block`, { body: { blocked } })))) setOpen(false);
  };
  return html`
    <section class="card" aria-labelledby="block-title">
      <h3 id="block-title">${say("block_title")}</h3>
      <p class="hint">${say(user.blocked ? "blocked_hint" : "block_hint")}</p>
      <button type="button" class="button" onClick=${() => (user.blocked ? set(false) : setOpen(true))}>
        ${say(user.blocked ? "unblock" : "block")}
      </button>
      ${!open && html`<${Trouble} error=${error} />`}
      ${
        open &&
        html`<${Dialog} title=${say("block_sure", { user: nameOf(user) })} leave=${() => setOpen(false)}>
        <p>${say("block_hint")}</p>
        <${Trouble} error=${error} />
        <div class="actions">
          <button type="button" class="button" onClick=${() => setOpen(false)}>${say("cancel")}</button>
          <button type="button" class="button danger" onClick=${() => set(true)}>${say("block")}</button>
        </div>
      <//>`
      }
    </section>
  `;
}

function Erase({ user, erased }) {
  const [open, setOpen] = useState(false);
  const [typed, type] = useState("");
  const { error, run } = useDoing();
  const wanted = `${user.channel}:${user.user}`;
  const leave = () => (setOpen(false), type(""));
  const onSubmit = async (event) => {
    event.preventDefault();
    if (typed.trim() !== wanted) return;
    if (await run(() => ask(`/users/${user.id}/erase`, { body: { confirm: wanted } }))) erased();
  };
  return html`
    <section class="card" aria-labelledby="erase-title">
      <h3 id="erase-title">${say("erase_title")}</h3>
      <p class="hint">${say("erase_hint")}</p>
      <button type="button" class="button danger" onClick=${() => setOpen(true)}>${say("erase")}</button>
      ${
        open &&
        html`<${Dialog} title=${say("erase_sure")} leave=${leave}>
        <form onSubmit=${onSubmit}>
          <p>${say("erase_warning", { n: user.messages })}</p>
          <${Field} label=${say("erase_type")} hint=${wanted}>
            ${(id, hint) => html`
              <input
                id=${id}
                aria-describedby=${hint}
                type="text"
                autocomplete="off"
                autocapitalize="off"
                spellcheck=${false}
                value=${typed}
                onInput=${(event) => type(event.target.value)}
              />
            `}
          <//>
          <${Trouble} error=${error} />
          <div class="actions">
            <button type="button" class="button" onClick=${leave}>${say("cancel")}</button>
            <button type="submit" class="button danger" disabled=${typed.trim() !== wanted}>${say("erase_now")}</button>
          </div>
        </form>
      <//>`
      }
    </section>
  `;
}

const Talks = ({ conversations }) => html`
  <section class="card" aria-labelledby="talks-title">
    <h3 id="talks-title">${say("conversations")}</h3>
    ${conversations.length === 0 && html`<p class="soft">${say("no_talks")}</p>`}
    <ul class="talks">
      ${conversations.slice(0, LISTED).map(
        (number) => html`<li key=${number}>
          <a class="button small" href=${address("conversations", number)}>
            ${say("conversation_number", { number: String(number) })}
          </a>
        </li>`,
      )}
    </ul>
  </section>
`;

export function User({ id, me, home, back, changed }) {
  const { data: user, error, again, put } = useAnswer(`/users/${id}`, LOOK_SECONDS);
  const heading = useRef(null);
  const there = user !== null;
  useEffect(() => there && hasMoved() && heading.current?.focus({ preventScroll: true }), [there]);
  const renew = (fresh) => (put(fresh), changed());
  const onKeyDown = (event) => {
    if (event.key === "Escape" && !event.defaultPrevented && !event.target.closest("dialog")) back();
  };
  if (error?.status === 404) {
    return html`<${Empty} title=${say("user_gone")}><a class="button" href=${home}>${say("back")}</a><//>`;
  }
  if (!there) return error ? html`<${Trouble} error=${error} again=${again} />` : html`<${Wait} />`;
  const operates = me.role === "operator" && !isErased(user.user);
  const own = { user, put: renew };
  return html`
    <div class="conversation" onKeyDown=${onKeyDown}>
      <header class="head">
        <${Back} home=${home} back=${back} />
        <div class="head-words">
          <h2 tabindex="-1" ref=${heading}>
            ${nameOf(user)} ${user.blocked && html`<${Tag} kind="wrong">${say("state_blocked")}<//>`}
          </h2>
          <p class="soft">
            ${[user.channel, user.name && user.user, say("messages", { n: user.messages })].filter(Boolean).join(" · ")}
            ${user.last_at && html` · ${say("last_wrote")} <${Time} at=${user.last_at} />`}
          </p>
        </div>
      </header>
      <div class="scroll">
        <${Trouble} error=${error} again=${again} />
        <${Usage} user=${user} />
        <${Limits} ...${own} operates=${operates} />
        <${Talks} conversations=${user.conversations} />
        ${operates && html`<${Block} ...${own} />`}
        ${operates && html`<${Erase} user=${user} erased=${() => (changed(), go(home))} />`}
      </div>
    </div>
  `;
}
