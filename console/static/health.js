// The page of health: what waits and what went wrong now, how the last hour or day went, and what is stuck.

import { useAnswer } from "./asking.js";
import { Chart } from "./chart.js";
import { classes, html, useState } from "./draw.js";
import { clock, count, percent, say, sayOf, short, span } from "./language.js";
import { Choice, Heading, Trouble, Wait } from "./parts.js";
import { address } from "./place.js";
import { Stuck } from "./stuck.js";

const SECONDS = { 1: 10, 24: 60 }; // between two looks

/** One number with its name; `wrong` is what somebody should look at. */
const Tile = ({ name, value, detail, state = "", href }) => html`
  <li class=${classes("tile", { [state]: state })}>
    <span class="tile-name">${name}</span>
    <span class="tile-value">${href ? html`<a href=${href}>${value}</a>` : value}</span>
    <span class="tile-detail">${detail}</span>
  </li>
`;

function Tiles({ report }) {
  const { counts, engine, now } = report;
  const waited = counts.oldest_waiting_at === null ? null : Math.max(0, now - counts.oldest_waiting_at);
  const both = [engine.model, engine.detail];
  const list = (state) => address("conversations", null, { state });
  return html`
    <ul class="tiles">
      <${Tile}
        name=${say("tile_engine")}
        value=${sayOf("engine", engine.state)}
        detail=${engine.detail.includes(engine.model) ? engine.detail : both.filter(Boolean).join(" · ")}
        state=${engine.ready ? "right" : "wrong"}
      />
      <${Tile}
        name=${say("tile_waiting")}
        value=${count(counts.waiting)}
        detail=${waited === null ? say("nobody_waits") : say("oldest_waits", { time: span(waited) })}
        state=${waited > 60 ? "warm" : ""}
        href=${counts.waiting ? list("waiting") : undefined}
      />
      <${Tile}
        name=${say("tile_running")}
        value=${count(counts.running)}
        detail=${say("on_their_way", { n: counts.pending_deliveries })}
        href=${counts.running ? list("running") : undefined}
      />
      <${Tile}
        name=${say("tile_set_aside")}
        value=${count(counts.set_aside)}
        detail=${say("set_aside_hint")}
        state=${counts.set_aside ? "wrong" : ""}
        href=${counts.set_aside ? list("set_aside") : undefined}
      />
      <${Tile}
        name=${say("tile_failed")}
        value=${count(counts.failed_deliveries)}
        detail=${say("failed_hint")}
        state=${counts.failed_deliveries ? "wrong" : ""}
        href=${counts.failed_deliveries ? list("failed") : undefined}
      />
    </ul>
  `;
}

const LOAD = { running: count, waiting: count, cache_used: percent, cache_found: percent };

/** Each engine with the numbers that it tells of itself; a dash stands for what it does not tell. */
const Engines = ({ engines }) => html`
  <section class="card" aria-labelledby="engines-title">
    <h2 id="engines-title">${say("engines", { n: engines.length })}</h2>
    <ul class="engines">
      ${engines.map(
        ({ name, state, load }) => html`
          <li key=${name}>
            <p class=${classes("channel", { on: state === "ready" })}>
              <span class="dot" aria-hidden="true"></span>
              <b>${sayOf("engine", name)}</b>
              <span>${sayOf("engine", state)}</span>
            </p>
            <dl class="amounts">
              ${Object.entries(LOAD).map(
                ([what, show]) => html`
                  <div class="amount">
                    <dt class="amount-name">${say(`load_${what}`)}</dt>
                    <dd class="amount-value">${load[what] === null ? "–" : show(load[what])}</dd>
                  </div>
                `,
              )}
            </dl>
          </li>
        `,
      )}
    </ul>
  </section>
`;

const Channels = ({ channels }) => html`
  <section class="card" aria-labelledby="channels-title">
    <h2 id="channels-title">${say("channels")}</h2>
    <ul class="channels">
      ${channels.map(
        ({ name, on, detail }) => html`
          <li key=${name} class=${classes("channel", { on })}>
            <span class="dot" aria-hidden="true"></span>
            <b>${name}</b>
            <span>${say(on ? "channel_on" : "channel_off")}</span>
            ${detail && html`<span class="soft">${on ? detail : say("channel_needs", { what: detail })}</span>`}
          </li>
        `,
      )}
    </ul>
  </section>
`;

/** Share of the prompts' tokens that the engine had in its cache, in words. */
const cacheNote = ({ prompt_tokens: prompt, cached_tokens: cached }) =>
  prompt ? say("cache_share", { share: percent(Math.min(1, cached / prompt)) }) : "";

function Charts({ report, hours }) {
  const { series, totals, step } = report;
  const line = (name, colour) => ({ label: say(`line_${name}`), values: series[name], total: totals[name], colour });
  const seconds = (value) => (value === null || value === undefined ? "–" : span(value));
  const shared = { at: series.at, step, hours };
  return html`
    <div class="charts">
      <${Chart}
        ...${shared}
        title=${say("chart_messages")}
        lines=${[line("accepted", 4), line("answered", 1), line("apologised", 3), line("throttled", 2)]}
        show=${count}
      />
      <${Chart}
        ...${shared}
        title=${say("chart_first_text")}
        lines=${[line("first_text_p50", 1), line("first_text_p95", 2)]}
        show=${seconds}
      />
      <${Chart}
        ...${shared}
        title=${say("chart_reply")}
        lines=${[line("reply_p50", 1), line("reply_p95", 2)]}
        show=${seconds}
      />
      <${Chart}
        ...${shared}
        title=${say("chart_tokens")}
        note=${cacheNote(totals)}
        lines=${[line("prompt_tokens", 4), line("cached_tokens", 2), line("completion_tokens", 1)]}
        show=${short}
      />
    </div>
  `;
}

export function Health({ me }) {
  const [hours, choose] = useState(1);
  const { data: report, error, again } = useAnswer(`/health?hours=${hours}`, SECONDS[hours]);
  const [last, keep] = useState(null); // what stands there until the other range has come
  if (report && report !== last) keep(report);
  const shown = report ?? last;
  return html`
    <div class="page">
      <${Heading}>${say("health")}<//>
      <${Trouble} error=${error} again=${again} />
      ${shown === null && !error && html`<${Wait} />`}
      ${
        shown &&
        html`
        <${Tiles} report=${shown} />
        <div class="page-head">
          <h2>${say("how_it_went")}</h2>
          <${Choice}
            label=${say("range")}
            options=${[
              [1, say("last_hour")],
              [24, say("last_day")],
            ]}
            value=${hours}
            choose=${choose}
          />
          <span class="soft">${say("as_of", { time: clock(shown.now) })}</span>
        </div>
        <${Charts} report=${shown} hours=${shown.series.at.length * shown.step > 7200 ? 24 : 1} />
        <${Stuck} me=${me} counts=${shown.counts} again=${again} />
        <${Engines} engines=${shown.engines} />
        <${Channels} channels=${shown.channels} />
      `
      }
    </div>
  `;
}
