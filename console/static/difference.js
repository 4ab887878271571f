// What one version changed of another, line by line.

import { html } from "./draw.js";
import { say } from "./language.js";

const SIGNS = { same: " ", gone: "−", new: "+" };
const AROUND = 2; // lines that are the same are shown, next to one that is not

function near(lines, index) {
  return lines.slice(Math.max(0, index - AROUND), index + AROUND + 1).some(([kind]) => kind !== "same");
}

const Lines = ({ lines }) => html`
  <ol class="difference" dir="auto">
    ${lines.map(([kind, text], index) =>
      near(lines, index)
        ? html`<li key=${index} class="line-${kind}">
            <span class="sign" aria-hidden="true">${SIGNS[kind]}</span>
            ${kind !== "same" && html`<span class="quiet">${say(`line_${kind}`)}: </span>`}${text || "\u00a0"}
          </li>`
        : near(lines, index + 1) && html`<li key=${index} class="line-rest" aria-hidden="true">…</li>`,
    )}
  </ol>
`;

const shownAs = (value) => (Array.isArray(value) ? value.map((text) => `“${text}”`).join(" ") || "–" : String(value));

export function Difference({ difference: { prompts, sampling } }) {
  if (!Object.keys(prompts).length && !Object.keys(sampling).length) {
    return html`<p class="soft">${say("version_same")}</p>`;
  }
  return html`
    ${Object.entries(prompts).map(
      ([language, lines]) => html`
        <section key=${language} aria-label=${say("prompt_in", { language })}>
          <p class="hint">${say("prompt_in", { language })}</p>
          <${Lines} lines=${lines} />
        </section>
      `,
    )}
    ${
      Object.keys(sampling).length > 0 &&
      html`<dl class="facts">
      ${Object.entries(sampling).map(
        ([name, [before, after]]) => html`<div key=${name}>
          <dt>${say(`sampling_${name}`)}</dt>
          <dd>${shownAs(before)} → ${shownAs(after)}</dd>
        </div>`,
      )}
    </dl>`
    }
  `;
}
