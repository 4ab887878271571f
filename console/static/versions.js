// All that a bot has been: who changed what and when, what it was, and the way back by one press.

import { useAnswer, useDoing } from "./asking.js";
import { Difference } from "./difference.js";
import { html, useState } from "./draw.js";
import { say } from "./language.js";
import { Tag, Time, Trouble, Wait } from "./parts.js";
import { ask } from "./wire.js";

const whoOf = (who) =>
  who === "files" ? say("who_files") : who === "console/operator" ? say("who_operator") : who;

function Changes({ bot, number }) {
  const { data, error, again } = useAnswer(`/bots/${bot}/versions/${number}`);
  if (!data) return error ? html`<${Trouble} error=${error} again=${again} />` : html`<${Wait} />`;
  return data.against
    ? html`<${Difference} difference=${data.difference} />`
    : html`<p class="soft">${say("version_first")}</p>`;
}

function Version({ bot, version, isLive, base, operates, edit, renewed }) {
  const [open, setOpen] = useState(false);
  const { error, run } = useDoing();
  const number = String(version.number);
  const load = () => run(async () => edit((await ask(`/bots/${bot}/versions/${number}`)).recipe));
  const restore = () =>
    run(async () => renewed(await ask(`/bots/${bot}/restore`, { body: { number: version.number, base } })));
  return html`
    <li class="version" id="version-${number}">
      <span class="key-name">
        <b>${say("version_number", { number })}</b>
        ${isLive && html`<${Tag} kind="accent">${say("version_live")}<//>`}
        ${version.note && html`<span>${version.note}</span>`}
      </span>
      <span class="soft">
        ${whoOf(version.who)} · <${Time} at=${version.at} full=${true} />
        ${version.restores && html` · ${say("version_restores", { number: String(version.restores) })}`}
      </span>
      <details class="filled" onToggle=${(event) => setOpen(event.target.open)}>
        <summary>${say("version_changes", { number })}</summary>
        ${open && html`<${Changes} bot=${bot} number=${number} />`}
      </details>
      ${
        operates &&
        html`<div class="version-ways">
        <button type="button" class="link" aria-label=${say("version_edit_of", { number })} onClick=${load}>
          ${say("version_edit")}
        </button>
        ${
          !isLive &&
          html`<button
          type="button"
          class="link"
          aria-label=${say("version_restore_of", { number })}
          onClick=${restore}
        >
          ${say("version_restore")}
        </button>`
        }
      </div>`
      }
      <${Trouble} error=${error} />
    </li>
  `;
}

export const Versions = ({ bot, data, operates, edit, renewed }) => html`
  <section class="card versions" aria-labelledby="versions-title">
    <h2 id="versions-title">${say("versions")}</h2>
    <ol>
      ${data.versions.map(
        (version, index) => html`<${Version}
          key=${version.number}
          ...${{ bot, version, operates, edit, renewed }}
          base=${data.versions[0].number}
          isLive=${index === 0}
        />`,
      )}
    </ol>
  </section>
`;
