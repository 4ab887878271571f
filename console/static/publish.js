// Before a version goes live: what it changes, and a note for whoever looks later.

import { useDoing } from "./asking.js";
import { Difference } from "./difference.js";
import { wireOf } from "./draft.js";
import { html, useEffect, useState } from "./draw.js";
import { say } from "./language.js";
import { Dialog, Field, Trouble, Wait } from "./parts.js";
import { ask } from "./wire.js";

const NOTE = 2000; // characters that the server takes

export function Publish({ bot, data, recipe, leave, published }) {
  const [note, write] = useState("");
  const [draft, set] = useState(null);
  const { error, run } = useDoing();
  const body = wireOf(recipe);
  useEffect(() => {
    run(async () => set(await ask(`/bots/${bot}/draft`, { body })));
  }, []);
  const base = data.versions[0].number;
  const onSubmit = (event) => {
    event.preventDefault();
    run(async () => published(await ask(`/bots/${bot}/versions`, { body: { ...body, base, note: note.trim() } })));
  };
  return html`
    <${Dialog} title=${say("publish_title", { number: String(base + 1) })} leave=${leave}>
      <form class="limits" onSubmit=${onSubmit}>
        <p class="hint">${say("publish_hint")}</p>
        ${draft ? html`<${Difference} difference=${draft.difference} />` : !error && html`<${Wait} />`}
        <${Field} label=${say("publish_note")}>
          ${(id) => html`
            <input
              id=${id}
              type="text"
              maxlength=${NOTE}
              autocomplete="off"
              value=${note}
              onInput=${({ target }) => write(target.value)}
            />
          `}
        <//>
        <${Trouble} error=${error} />
        <div class="actions">
          <button type="button" class="button" onClick=${leave}>${say("cancel")}</button>
          <button type="submit" class="button strong">${say("publish")}</button>
        </div>
      </form>
    <//>
  `;
}
