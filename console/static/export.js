// Conversations as a file: which ones is said by who opens this; here one chooses what the file is for.

import { html, useState } from "./draw.js";
import { say } from "./language.js";
import { Dialog } from "./parts.js";

const FORMATS = ["csv", "markdown", "json"];

export function Export({ what, words, leave }) {
  const [format, choose] = useState("csv");
  const href = `/console/api/export?format=${format}${what ? `&${what}` : ""}`;
  return html`
    <${Dialog} title=${say("export")} leave=${leave}>
      <p>${words}</p>
      <fieldset class="options">
        <legend>${say("export_format")}</legend>
        ${FORMATS.map(
          (name) => html`
            <label key=${name}>
              <input
                type="radio"
                name="format"
                value=${name}
                checked=${name === format}
                onChange=${() => choose(name)}
              />
              <span>${say(`export_${name}`)}</span>
            </label>
          `,
        )}
      </fieldset>
      <div class="actions">
        <button type="button" class="button" onClick=${leave}>${say("cancel")}</button>
        <a class="button strong" href=${href} download onClick=${() => setTimeout(leave)}>${say("export_download")}</a>
      </div>
    <//>
  `;
}
