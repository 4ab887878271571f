// A user's limits: the usual ones, or others for this user alone.

import { useDoing } from "./asking.js";
import { html, useEffect, useState } from "./draw.js";
import { count, say } from "./language.js";
import { Field, Trouble } from "./parts.js";
import { ask } from "./wire.js";

const NAMES = ["messages_per_minute", "tokens_per_day"];
const MOST = { messages_per_minute: 100_000, tokens_per_day: 1_000_000_000_000 };

const written = (user) => Object.fromEntries(NAMES.map((name) => [name, String(user.limits?.[name] ?? "")]));

const usual = (user, name) => (user.defaults[name] ? count(user.defaults[name]) : say("no_limit"));

const Shown = ({ user }) => html`
  <dl class="facts">
    ${NAMES.map(
      (name) => html`<div key=${name}>
        <dt>${say(`limit_${name}`)}</dt>
        <dd>
          ${user.limits?.[name] ? count(user.limits[name]) : usual(user, name)}
          ${!user.limits?.[name] && html` <span class="soft">(${say("usual")})</span>`}
        </dd>
      </div>`,
    )}
  </dl>
`;

export function Limits({ user, put, operates }) {
  const [fields, set] = useState(written(user));
  const [said, tell] = useState("");
  const { error, run } = useDoing();
  const saved = JSON.stringify(written(user));
  useEffect(() => set(JSON.parse(saved)), [saved]);
  const changed = JSON.stringify(fields) !== saved;
  const send = async (body) => {
    tell("");
    if (await run(async () => put(await ask(`/users/${user.id}/limits`, { body })))) tell(say("saved"));
  };
  const onSubmit = (event) => {
    event.preventDefault();
    send(Object.fromEntries(NAMES.map((name) => [name, fields[name] === "" ? null : Number(fields[name])])));
  };
  return html`
    <section class="card" aria-labelledby="limits-title">
      <h3 id="limits-title">${say("limits")}</h3>
      ${!operates && html`<${Shown} user=${user} />`}
      ${
        operates &&
        html`<form class="limits" onSubmit=${onSubmit}>
        <div class="fields">
          ${NAMES.map(
            (name) => html`
              <${Field}
                key=${name}
                label=${say(`limit_${name}`)}
                hint=${say("limit_usual", { usual: usual(user, name) })}
              >
                ${(id, hint) => html`
                  <input
                    id=${id}
                    aria-describedby=${hint}
                    type="number"
                    inputmode=${name === "tokens_per_day" ? "numeric" : "decimal"}
                    min=${name === "tokens_per_day" ? 1 : 0.01}
                    step=${name === "tokens_per_day" ? 1 : "any"}
                    max=${MOST[name]}
                    placeholder=${usual(user, name)}
                    value=${fields[name]}
                    onInput=${(event) => set({ ...fields, [name]: event.target.value })}
                  />
                `}
              <//>
            `,
          )}
        </div>
        <p class="hint">${say("limit_burst", { burst: user.defaults.burst })}</p>
        <${Trouble} error=${error} />
        <div class="actions">
          <span class="said" role="status">${said}</span>
          <button
            type="button"
            class="button"
            disabled=${!user.limits}
            onClick=${() => send(Object.fromEntries(NAMES.map((name) => [name, null])))}
          >
            ${say("limit_reset")}
          </button>
          <button type="submit" class="button strong" disabled=${!changed}>${say("save")}</button>
        </div>
      </form>`
      }
    </section>
  `;
}
