// The console: who is signed in sees the page that the address names; who is not signs in first, and comes back to it.

import { Conversations } from "./conversations.js";
import { html, render, useEffect } from "./draw.js";
import { Frame } from "./frame.js";
import { Health } from "./health.js";
import { Keys } from "./keys.js";
import { language, say } from "./language.js";
import { Trouble, Wait } from "./parts.js";
import { address, go, here, read } from "./place.js";
import { Playground } from "./playground.js";
import { SignIn, wanted } from "./signin.js";
import { Users } from "./users.js";
import { Value, useValue } from "./value.js";
import { ask, guest } from "./wire.js";

const PAGES = { conversations: Conversations, health: Health, users: Users, playground: Playground, keys: Keys };
const AGAIN = 3_000; // milliseconds, while the server cannot be reached
const unreached = new Value(null);

async function meet() {
  try {
    guest.value = await ask("/me");
    unreached.value = null;
  } catch (error) {
    if (error.status === 401) unreached.value = null;
    else {
      unreached.value = error;
      setTimeout(meet, AGAIN);
    }
  }
}

/** The address of the page and what it shows agree: nobody signed in, no page; signed in, no sign-in. */
function settle() {
  const place = read(location.href);
  if (guest.value === null && place.page !== "sign-in") {
    const next = place.href === "/console" || place.href === "/console/" ? "" : place.href;
    go(address("sign-in", null, { next }), { replace: true });
  } else if (guest.value && place.page === "sign-in") go(wanted(place), { replace: true });
}

guest.watch(settle);
here.watch(settle);

function App() {
  const place = useValue(here);
  const me = useValue(guest);
  const error = useValue(unreached);
  const tag = useValue(language);
  useEffect(() => {
    const title = me ? say(place.page) : say("sign_in_title");
    document.title = `${title} · Frontdesk`;
  }, [place.page, me, tag]);
  if (me === undefined) {
    return html`<main class="door">${error ? html`<${Trouble} error=${error} />` : html`<${Wait} />`}</main>`;
  }
  if (me === null || place.page === "sign-in") return html`<${SignIn} key="door" place=${place} />`;
  const page = PAGES[place.page];
  return html`<${Frame} place=${place} me=${me}><${page} key=${place.page} place=${place} me=${me} /><//>`;
}

render(html`<${App} />`, document.getElementById("app"));
meet();
