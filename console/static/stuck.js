// What is stuck: messages that were set aside and deliveries that did not arrive, each with its reason and another try.

import { useAnswer, useDoing } from "./asking.js";
import { html, useEffect, useState } from "./draw.js";
import { say, sayOf } from "./language.js";
import { Empty, Tag, Time, Trouble } from "./parts.js";
import { address } from "./place.js";
import { ask } from "./wire.js";

const LOOK_SECONDS = 10;

export function Stuck({ me, counts, again }) {
  const { data, error, again: look } = useAnswer("/stuck", LOOK_SECONDS);
  const doing = useDoing();
  const [said, tell] = useState("");
  const operates = me.role === "operator";
  const stuckNow = `${counts.set_aside} ${counts.failed_deliveries}`;
  useEffect(() => void look(), [stuckNow]);
  const items = data?.items ?? [];
  const retry = (body) =>
    doing.run(async () => {
      const { retried } = await ask("/retry", { body });
      tell(retried.length ? say("retried", { n: retried.length }) : say("retried_none"));
      await Promise.all([look(), again()]);
    });
  const mayAll = items.some(({ state }) => state !== "unclear");

  return html`
    <section class="card" aria-labelledby="stuck-title">
      <div class="card-head">
        <h2 id="stuck-title">${say("stuck")}</h2>
        ${
          operates &&
          mayAll &&
          html`<button type="button" class="button small" onClick=${() => retry({ failed: true })}>
          ${say("retry_all")}
        </button>`
        }
      </div>
      <p class="said" role="status">${said}</p>
      <${Trouble} error=${error ?? doing.error} again=${error ? look : undefined} />
      ${data && !items.length && html`<${Empty} title=${say("nothing_stuck")}><p>${say("nothing_stuck_hint")}</p><//>`}
      <ul class="stuck">
        ${items.map(
          (item) => html`
            <li key=${item.id}>
              <${Tag} kind=${item.state}>${sayOf("stuck", item.state)}<//>
              <span class="stuck-reason">${item.reason || say("no_reason")}</span>
              <span class="soft">${item.channel} · <${Time} at=${item.at} full /></span>
              <span class="stuck-links">
                <a class="link" href=${address("conversations", item.conversation)}>${say("open_conversation")}</a>
                ${
                  operates &&
                  html`<button
                  type="button"
                  class="button small"
                  aria-label=${say("try_again_of", { id: item.id })}
                  onClick=${() => retry({ ids: [item.id] })}
                >
                  ${say("try_again")}
                </button>`
                }
              </span>
            </li>
          `,
        )}
      </ul>
      ${items.some(({ state }) => state === "unclear") && html`<p class="hint">${say("unclear_hint")}</p>`}
    </section>
  `;
}
