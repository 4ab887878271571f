// The way in: a password, or the link that the first start prints; then back to where one wanted to go.

import { useDoing } from "./asking.js";
import { html, useEffect, useRef } from "./draw.js";
import { say } from "./language.js";
import { LanguageButton } from "./frame.js";
import { Trouble } from "./parts.js";
import { go, read } from "./place.js";
import { ask, guest } from "./wire.js";

/** Where the address says that one came from; only ever a page of ours. */
export function wanted(place) {
  const next = read(place.query.get("next") ?? "/console/conversations");
  return next.page === "sign-in" ? "/console/conversations" : next.href;
}

export function SignIn({ place }) {
  const box = useRef(null);
  const { busy, error, run } = useDoing();
  useEffect(() => box.current.focus(), []);
  const onSubmit = async (event) => {
    event.preventDefault();
    const password = box.current.value;
    if (!password) return;
    const came = await run(async () => {
      await ask("/sign-in", { body: { password } });
      guest.value = await ask("/me");
    });
    if (came) go(wanted(place), { replace: true });
    else box.current?.select();
  };
  return html`
    <main class="door">
      <form class="door-card" onSubmit=${onSubmit}>
        <img src="/console/static/icon.svg" alt="" width="44" height="44" />
        <h1>${say("sign_in_title")}</h1>
        ${place.query.get("failed") === "link" && html`<p class="trouble" role="alert">${say("link_used")}</p>`}
        ${place.query.has("next") && html`<p class="soft">${say("sign_in_again")}</p>`}
        <div class="field">
          <label for="password">${say("password")}</label>
          <input
            id="password"
            ref=${box}
            type="password"
            autocomplete="current-password"
            aria-describedby="password-hint"
            aria-invalid=${String(error?.code === "wrong_password")}
            maxlength="1000"
            required
          />
        </div>
        <${Trouble} error=${error} />
        <button type="submit" class="button strong wide-button" aria-busy=${String(busy)}>${say("sign_in")}</button>
        <p class="hint" id="password-hint">${say("password_hint")}</p>
        <${LanguageButton} />
      </form>
    </main>
  `;
}
