// The playground: a bot's instructions to be changed and tried, alone or two beside each other; and its versions.

import { useAnswer } from "./asking.js";
import { html, useState } from "./draw.js";
import { say } from "./language.js";
import { Empty, Field, Heading, Trouble, Wait } from "./parts.js";
import { address, go } from "./place.js";
import { Publish } from "./publish.js";
import { Recipe } from "./recipe.js";
import { Question, Talk, useRehearsal } from "./rehearsal.js";
import { Versions } from "./versions.js";

const RAW = "-"; // as the server calls the model without a bot
const USUAL = { temperature: 0.3, top_p: 0.9, max_tokens: 512, stop: [], frequency_penalty: 0 };
const drafts = new Map(); // what nobody has published, by bot: kept while the page is open

const sideOf = (recipe) => ({ recipe, model: "" });

/** The sides being worked on; each change is kept for when one comes back to this bot. */
function useSides(bot, live) {
  const [sides, set] = useState(() => drafts.get(bot) ?? [sideOf(live)]);
  const put = (next) => (drafts.set(bot, next), set(next));
  const change = (index, side) => put(sides.map((old, place) => (place === index ? side : old)));
  return { sides, put, change };
}

const nameOfSide = (sides, index) => say(sides.length === 1 ? "side_only" : index ? "side_b" : "side_a");

function Workbench({ bot, data, models, me, put }) {
  const live = data.recipe;
  const { sides, put: putSides, change } = useSides(bot, live);
  const [publishing, setPublishing] = useState(null); // the place of a side
  const [said, tell] = useState("");
  const rehearsal = useRehearsal(bot, sides);
  const operates = me.role === "operator";
  // A side that shows what was live shows what is; what somebody has written and not published stays.
  const renewed = (fresh, place) => {
    put(fresh);
    const shows = (side, index) => index === place || JSON.stringify(side.recipe) === JSON.stringify(live);
    putSides(sides.map((side, index) => (shows(side, index) ? { ...side, recipe: fresh.recipe } : side)));
    tell(say("published", { number: String(fresh.versions[0].number) }));
  };
  const edit = (recipe) => {
    change(0, { ...sides[0], recipe });
    document.querySelector(".side-card textarea").focus();
  };
  return html`
    <p class="said" role="status">${said}</p>
    <div class="sides count-${sides.length}">
      ${sides.map(
        (side, index) => html`
          <section key=${index} class="card side-card" aria-label=${nameOfSide(sides, index)}>
            <header class="card-head">
              <h2>${nameOfSide(sides, index)}</h2>
              ${
                operates &&
                (index
                  ? html`<button type="button" class="link" onClick=${() => putSides(sides.slice(0, 1))}>
                      ${say("compare_end")}
                    </button>`
                  : sides.length === 1 &&
                    html`<button
                      type="button"
                      class="link"
                      title=${say("compare_hint")}
                      onClick=${() => putSides([sides[0], sideOf(live)])}
                    >
                      ${say("compare")}
                    </button>`)
              }
            </header>
            <${Recipe}
              ...${{ bot, data, side, models, operates }}
              change=${(next) => change(index, next)}
              publish=${bot === RAW ? undefined : () => setPublishing(index)}
            />
            ${
              operates &&
              html`<div class="stage">
              <${Talk} entries=${rehearsal.talks[index]} label=${say("test_chat", { side: nameOfSide(sides, index) })} />
              ${sides.length === 1 && html`<${Question} rehearsal=${rehearsal} />`}
            </div>`
            }
          </section>
        `,
      )}
    </div>
    ${sides.length > 1 && html`<div class="card shared"><${Question} rehearsal=${rehearsal} /></div>`}
    ${bot !== RAW && html`<${Versions} ...${{ bot, data, operates, edit }} renewed=${renewed} />`}
    ${
      publishing !== null &&
      html`<${Publish}
        ...${{ bot, data }}
        recipe=${sides[publishing].recipe}
        leave=${() => setPublishing(null)}
        published=${(fresh) => (setPublishing(null), renewed(fresh, publishing))}
      />`
    }
  `;
}

function OneBot({ bot, models, me }) {
  const { data, error, again, put } = useAnswer(`/bots/${bot}`);
  if (!data) return error ? html`<${Trouble} error=${error} again=${again} />` : html`<${Wait} />`;
  return html`<${Workbench} ...${{ bot, data, models, me, put }} />`;
}

/** The engine's model alone: one prompt, which may be empty, and nothing to publish. */
const rawData = { name: RAW, variables: {}, versions: [], recipe: { prompts: { "": "" }, sampling: USUAL } };

export function Playground({ place, me }) {
  const { data: list, error, again } = useAnswer("/bots");
  if (!list) return error ? html`<${Trouble} error=${error} again=${again} />` : html`<${Wait} />`;
  const names = [...list.items.map((bot) => bot.name), ...(me.role === "operator" ? [RAW] : [])];
  const asked = place.query.get("bot") ?? names[0];
  const choose = (event) => go(address("playground", null, { bot: event.target.value }), { replace: true });
  return html`
    <div class="page">
      <${Heading}>${say("playground")}<//>
      <div class="playground-head">
        <${Field} label=${say("bot")}>
          ${(id) => html`
            <select id=${id} value=${asked} onChange=${choose}>
              ${list.items.map(
                ({ name, title }) => html`<option key=${name} value=${name}>${title ? `${title} (${name})` : name}</option>`,
              )}
              ${me.role === "operator" && html`<option value=${RAW}>${say("raw_model")}</option>`}
            </select>
          `}
        <//>
        <p class="hint">${say("playground_hint")}</p>
      </div>
      ${
        !names.includes(asked)
          ? html`<${Empty} title=${asked} />`
          : asked === RAW
            ? html`<${Workbench} key=${RAW} bot=${RAW} data=${rawData} models=${list.models} me=${me} put=${() => {}} />`
            : html`<${OneBot} key=${asked} bot=${asked} models=${list.models} me=${me} />`
      }
    </div>
  `;
}
