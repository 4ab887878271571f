// The page of the API's keys: which there are, a new one whose secret is shown once, and one that opens nothing more.

import { useAnswer, useDoing } from "./asking.js";
import { classes, html, useEffect, useRef, useState } from "./draw.js";
import { say } from "./language.js";
import { Dialog, Empty, Field, Heading, Tag, Time, Trouble, Wait } from "./parts.js";
import { ask } from "./wire.js";

const LOOK_SECONDS = 15; // the command makes keys, too
const NAME = 100; // characters that the server takes
const LEAST = 0.001; // requests a minute, likewise
const MOST = 1_000_000;

/** Whole numbers with their separators, others as they were given: rounded, one in ten minutes would be none. */
const rate = (perMinute) =>
  perMinute === null
    ? say("key_rate_usual")
    : say("key_rate", { n: Number.isInteger(perMinute) ? perMinute : String(perMinute) });

/** What a program sends, for whoever has no key yet or wants to try one. */
const Example = () => html`
  <code class="example">curl -H "Authorization: Bearer $KEY" ${location.origin}/v1/models</code>
`;

const Row = ({ item, operates, revoke }) => html`
  <li class=${classes("key", { over: item.revoked_at })}>
    <span class="key-name">
      <b>${item.name}</b>
      <span class="soft">#${item.id}</span>
      ${item.revoked_at && html`<${Tag}>${say("key_revoked")}<//>`}
    </span>
    <span class="soft">
      ${item.bots.length ? item.bots.join(", ") : say("key_all_bots")} · ${rate(item.requests_per_minute)} ·${" "}
      ${say("key_created")} <${Time} at=${item.created_at} />
      ${item.fingerprint && html` · ${say("key_fingerprint", { fingerprint: item.fingerprint })}`}
      ${item.revoked_at && html` · ${say("key_revoked_at")} <${Time} at=${item.revoked_at} />`}
    </span>
    ${
      operates &&
      !item.revoked_at &&
      html`<button
        type="button"
        class="button small"
        aria-label=${say("key_revoke_of", { name: item.name })}
        onClick=${() => revoke(item)}
      >
        ${say("key_revoke")}
      </button>`
    }
  </li>
`;

function Bots({ bots, chosen, choose }) {
  const set = (name, on) => choose(bots.filter((bot) => (bot === name ? on : chosen.includes(bot))));
  return html`
    <fieldset class="options" aria-describedby="key-bots-hint">
      <legend>${say("key_bots")}</legend>
      ${bots.map(
        (name) => html`
          <label key=${name}>
            <input
              type="checkbox"
              checked=${chosen.includes(name)}
              onChange=${({ target }) => set(name, target.checked)}
            />
            <span>${name}</span>
          </label>
        `,
      )}
      <p class="soft" id="key-bots-hint">${say("key_bots_hint")}</p>
    </fieldset>
  `;
}

function Create({ me, made, leave }) {
  const [name, setName] = useState("");
  const [chosen, choose] = useState([]);
  const [perMinute, setPerMinute] = useState("");
  const { busy, error, run } = useDoing();
  const onSubmit = (event) => {
    event.preventDefault();
    const body = { name, bots: chosen, requests_per_minute: perMinute === "" ? null : Number(perMinute) };
    run(async () => made(await ask("/keys", { body })));
  };
  return html`
    <${Dialog} title=${say("key_create")} leave=${leave}>
      <form onSubmit=${onSubmit}>
        <${Field} label=${say("key_name")}>
          ${(id) => html`
            <input
              id=${id}
              type="text"
              aria-describedby="key-name-hint"
              autocomplete="off"
              maxlength=${NAME}
              pattern=".*\\S.*"
              required
              value=${name}
              onInput=${(event) => setName(event.target.value)}
            />
            <p class="soft" id="key-name-hint">${say("key_name_hint")}</p>
          `}
        <//>
        <${Bots} bots=${me.bots} chosen=${chosen} choose=${choose} />
        <${Field} label=${say("key_rate_label")}>
          ${(id) => html`
            <input
              id=${id}
              type="number"
              aria-describedby="key-rate-hint"
              inputmode="decimal"
              min=${LEAST}
              max=${MOST}
              step="any"
              value=${perMinute}
              onInput=${(event) => setPerMinute(event.target.value)}
            />
            <p class="soft" id="key-rate-hint">${say("key_rate_hint")}</p>
          `}
        <//>
        <${Trouble} error=${error} />
        <div class="actions">
          <button type="button" class="button" onClick=${leave}>${say("cancel")}</button>
          <button type="submit" class="button strong" aria-busy=${String(busy)}>${say("key_create")}</button>
        </div>
      </form>
    <//>
  `;
}

/** Whether it is in the clipboard now. Without https a browser lends its clipboard only in the old way. */
async function copied(box) {
  try {
    if (navigator.clipboard) {
      await navigator.clipboard.writeText(box.value);
      return true;
    }
  } catch {
    // Not allowed; the old way may be. If it is not, either, the key is selected, to be copied by hand.
  }
  box.focus();
  box.select();
  return document.execCommand("copy");
}

/** The only time that the secret is seen. No press beside it or on Esc ends that. */
function Secret({ name, secret, leave }) {
  const box = useRef(null);
  const [said, tell] = useState("");
  const copy = async () => tell(say((await copied(box.current)) ? "copied" : "copy_yourself"));
  return html`
    <${Dialog} title=${say("key_made", { name })} leave=${leave} held>
      <p>${say("key_once")}</p>
      <${Field} label=${say("key_itself")}>
        ${(id) => html`
          <textarea
            id=${id}
            class="secret"
            ref=${box}
            rows="2"
            readonly
            autocomplete="off"
            spellcheck=${false}
            value=${secret}
          ></textarea>
        `}
      <//>
      <div class="actions">
        <span class="said" role="status">${said}</span>
        <button type="button" class="button strong" autofocus onClick=${copy}>${say("copy")}</button>
        <button type="button" class="button" onClick=${leave}>${say("key_done")}</button>
      </div>
    <//>
  `;
}

function Revoke({ item, revoked, leave }) {
  const { error, run } = useDoing();
  const revoke = () =>
    run(async () => {
      await ask(`/keys/${item.id}/revoke`, { body: {} });
      await revoked(item);
    });
  return html`
    <${Dialog} title=${say("key_revoke_sure", { name: item.name })} leave=${leave}>
      <p>${say("key_revoke_hint")}</p>
      <${Trouble} error=${error} />
      <div class="actions">
        <button type="button" class="button" onClick=${leave}>${say("cancel")}</button>
        <button type="button" class="button danger" onClick=${revoke}>${say("key_revoke")}</button>
      </div>
    <//>
  `;
}

const List = ({ items, ...rest }) => html`
  <section class="card" aria-labelledby="keys-title">
    <h2 id="keys-title" class="quiet">${say("keys")}</h2>
    ${
      !items.length &&
      html`<${Empty} title=${say("no_keys")}>
        <p>${say("no_keys_hint")}</p>
        <${Example} />
      <//>`
    }
    <ul class="keys">
      ${items.map((item) => html`<${Row} key=${item.id} item=${item} ...${rest} />`)}
    </ul>
  </section>
`;

export function Keys({ me }) {
  const { data, error, again } = useAnswer("/keys", LOOK_SECONDS);
  const [open, setOpen] = useState({}); // which dialog: { creating }, { made } or { revoking }
  const [said, tell] = useState("");
  const button = useRef(null);
  const operates = me.role === "operator";
  const show = (dialog) => (tell(""), setOpen(dialog));
  const leave = () => setOpen({});
  const made = (answer) => {
    show({ made: answer });
    return again();
  };
  const revoked = async (item) => {
    await again();
    leave();
    tell(say("key_is_revoked", { name: item.name }));
  };
  useEffect(() => said && button.current?.focus(), [said]); // the one that was pressed is not there any more
  const isOff = me.channels.some(({ name, on }) => name === "api" && !on);
  return html`
    <div class="page">
      <${Heading}>${say("keys")}<//>
      <div class="page-head keys-head">
        <p class="hint">${say("keys_hint")} ${isOff && say("keys_api_off")}</p>
        ${
          operates &&
          html`<button type="button" class="button strong" ref=${button} onClick=${() => show({ creating: true })}>
            ${say("key_create")}
          </button>`
        }
      </div>
      <p class="said" role="status">${said}</p>
      <${Trouble} error=${error} again=${again} />
      ${data === null && !error && html`<${Wait} />`}
      ${
        data &&
        html`<${List} items=${data.items} operates=${operates} revoke=${(item) => show({ revoking: item })} />`
      }
      ${open.creating && html`<${Create} me=${me} made=${made} leave=${leave} />`}
      ${open.made && html`<${Secret} name=${open.made.key.name} secret=${open.made.secret} leave=${leave} />`}
      ${open.revoking && html`<${Revoke} item=${open.revoking} revoked=${revoked} leave=${leave} />`}
    </div>
  `;
}
