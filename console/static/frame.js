// What stands around every page: the ways between them, the language, the way out, and a word when we are cut off.

import { useAnswer, useDoing } from "./asking.js";
import { classes, html } from "./draw.js";
import { choose, other, say } from "./language.js";
import { Icon } from "./parts.js";
import { address, go } from "./place.js";
import { useValue } from "./value.js";
import { ask, cut, guest } from "./wire.js";

const PAGES = ["conversations", "health", "users", "playground", "keys"];
const LOOK_SECONDS = 30;

export function LanguageButton() {
  const { tag, name } = other();
  return html`<button type="button" class="link language" lang=${tag} onClick=${() => choose(tag)}>${name}</button>`;
}

/** Something that the operator should look at, however busy they are with another page. */
function useAlarm() {
  const { data } = useAnswer("/health?hours=1", LOOK_SECONDS);
  if (!data) return "";
  const stuck = data.counts.set_aside + data.counts.failed_deliveries;
  if (!data.engine.ready) return say("alarm_engine");
  return stuck ? say("alarm_stuck", { n: stuck }) : "";
}

async function leave() {
  try {
    await ask("/sign-out", { body: {} });
  } catch (error) {
    if (error.status !== 401) throw error;
  }
  guest.value = null;
  go(address("sign-in"));
}

const Alarm = ({ words }) => html`<span class="alarm" title=${words}><span class="quiet">${words}</span></span>`;

const Ways = ({ page, alarm }) => html`
  <nav class="ways" aria-label=${say("pages")}>
    ${PAGES.map(
      (name) => html`
        <a key=${name} href=${address(name)} aria-current=${name === page ? "page" : undefined}>
          <${Icon} name=${name} />
          <span>${say(name)}</span>
          ${name === "health" && alarm && html`<${Alarm} words=${alarm} />`}
        </a>
      `,
    )}
  </nav>
`;

function skip(event) {
  event.preventDefault();
  document.getElementById("main").focus();
}

export function Frame({ place, me, children }) {
  const lost = useValue(cut);
  const alarm = useAlarm();
  const { error, run } = useDoing();
  const words = (error && error.sentence) || (lost && say("lost"));
  return html`
    <div class=${classes("frame", { inside: place.id !== null })}>
      <a class="skip" href="#main" onClick=${skip}>${say("skip")}</a>
      <header class="brand"><img src="/console/static/icon.svg" alt="" width="28" height="28" />Frontdesk</header>
      <${Ways} page=${place.page} alarm=${alarm} />
      <div class="end">
        ${me.role === "viewer" && html`<span class="soft">${say("role_viewer")}</span>`}
        <${LanguageButton} />
        <button
          type="button"
          class="square"
          aria-label=${say("sign_out")}
          title=${say("sign_out")}
          onClick=${() => run(leave)}
        >
          <${Icon} name="leave" />
        </button>
      </div>
      <main id="main" tabindex="-1">${children}</main>
      <p class=${classes("pill", { shown: words })} role="status">${words}</p>
    </div>
  `;
}
