// One side of the playground: a bot's prompt in each language, with its variables shown filled, and its sampling.

import { useDraft } from "./draft.js";
import { html, useState } from "./draw.js";
import { say } from "./language.js";
import { Choice, Field } from "./parts.js";

const RANGES = {
  temperature: { min: 0, max: 2, step: 0.05 },
  top_p: { min: 0.05, max: 1, step: 0.05 },
  max_tokens: { min: 16, max: 4096, step: 16, most: 100_000 },
  frequency_penalty: { min: -2, max: 2, step: 0.1 },
};

/** A slider and a field for the same number; what is no number is not taken. */
const Amount = ({ name, value, set, disabled }) => {
  const { min, max, step, most = max } = RANGES[name];
  const onInput = (event) => Number.isFinite(event.target.valueAsNumber) && set(event.target.valueAsNumber);
  return html`
    <${Field} label=${say(`sampling_${name}`)}>
      ${(id) => html`
        <div class="amount-pair">
          <input
            type="range"
            aria-label=${say(`sampling_${name}`)}
            ...${{ min, max, step, value, disabled, onInput }}
          />
          <input id=${id} type="number" ...${{ min, max: most, value, disabled, onInput }} step="any" />
        </div>
      `}
    <//>
  `;
};

const Sampling = ({ sampling, set, disabled }) => html`
  <div class="sampling">
    ${Object.keys(RANGES).map(
      (name) => html`<${Amount}
        key=${name}
        ...${{ name, disabled, value: sampling[name] }}
        set=${(value) => set({ ...sampling, [name]: value })}
      />`,
    )}
    <${Field} label=${say("sampling_stop")}>
      ${(id) => html`
        <textarea
          id=${id}
          rows="2"
          disabled=${disabled}
          value=${sampling.stop.join("\n")}
          onInput=${({ target }) => set({ ...sampling, stop: target.value.split("\n") })}
          onBlur=${({ target }) => set({ ...sampling, stop: target.value.split("\n").filter(Boolean) })}
        />
      `}
    <//>
  </div>
`;

const Filled = ({ filled, variables }) => html`
  <details class="filled">
    <summary>${say("filled")}</summary>
    <div class="filled-text" dir="auto" tabindex="0" role="group" aria-label=${say("filled")}>${filled.system}</div>
    ${
      filled.note &&
      html`<p class="hint">${say("filled_each_turn")}</p>
      <div class="filled-text" dir="auto">${filled.note}</div>`
    }
    <p class="hint">${say("variables")}</p>
    <dl class="facts variables">
      ${Object.entries(variables).map(
        ([name, text]) => html`<div key=${name}><dt>${`{${name}}`}</dt><dd dir="auto">${text}</dd></div>`,
      )}
    </dl>
  </details>
`;

/** What the server thinks of it: mistakes first, then what differs from the live version. */
function Verdict({ draft, publish, revert }) {
  const lines = Object.values(draft.difference.prompts).flat();
  const changed = lines.filter(([kind]) => kind !== "same").length;
  const drawn = Object.keys(draft.difference.sampling).length > 0;
  if (!changed && !drawn && !draft.problems.length) return html`<p class="hint">${say("as_live")}</p>`;
  return html`
    ${draft.problems.length > 0 && html`<ul class="trouble problems" role="alert">
      ${draft.problems.map((problem) => html`<li key=${problem}>${problem}</li>`)}
    </ul>`}
    <p class="hint">
      ${changed > 0 && say("changed_lines", { n: changed })} ${drawn && say("changed_sampling")}
    </p>
    <div class="actions">
      <button type="button" class="button small" onClick=${revert}>${say("revert")}</button>
      <button type="button" class="button small strong" disabled=${draft.problems.length > 0} onClick=${publish}>
        ${say("publish_open")}
      </button>
    </div>
  `;
}

export function Recipe({ bot, data, side, models, operates, change, publish }) {
  const { recipe } = side;
  const languages = Object.keys(recipe.prompts);
  const [wanted, choose] = useState(data.default_language);
  const shown = languages.includes(wanted) ? wanted : languages[0];
  const draft = useDraft(bot, data, recipe, Boolean(publish) && operates);
  const set = (part) => change({ ...side, recipe: { ...recipe, ...part } });
  const filled = (draft?.filled ?? data.filled ?? {})[shown];
  return html`<div class="editor">
    ${
      languages.length > 1 &&
      html`<${Choice}
        label=${say("prompt_language")}
        options=${languages.map((language) => [language, language])}
        value=${shown}
        choose=${choose}
      />`
    }
    <${Field}
      label=${shown ? say("prompt_in", { language: shown }) : say("prompt")}
      hint=${shown ? "" : say("prompt_raw_hint")}
    >
      ${(id, hint) => html`
        <textarea
          id=${id}
          class="prompt"
          aria-describedby=${hint}
          rows="12"
          dir="auto"
          spellcheck=${false}
          readonly=${!operates}
          value=${recipe.prompts[shown]}
          onInput=${({ target }) => set({ prompts: { ...recipe.prompts, [shown]: target.value } })}
        />
      `}
    <//>
    ${draft && html`<${Verdict} draft=${draft} publish=${publish} revert=${() => set(data.recipe)} />`}
    ${filled && html`<${Filled} filled=${filled} variables=${data.variables[shown] ?? {}} />`}
    <details class="filled" open>
      <summary>${say("sampling")}</summary>
      <${Sampling} sampling=${recipe.sampling} set=${(sampling) => set({ sampling })} disabled=${!operates} />
      ${
        models.length > 1 &&
        html`<${Field} label=${say("model")}>
          ${(id) => html`
            <select
              id=${id}
              disabled=${!operates}
              value=${side.model}
              onChange=${({ target }) => change({ ...side, model: target.value })}
            >
              <option value="">${say("model_own")}</option>
              ${models.map((name) => html`<option key=${name} value=${name}>${name}</option>`)}
            </select>
          `}
        <//>`
      }
    </details>
  </div>`;
}
