// One conversation as bubbles, the newest in sight; a reply grows in the place where it will stand.

import { Growing, Message, Turn } from "./bubble.js";
import { Fragment, html, useEffect, useLayoutEffect, useRef, useState } from "./draw.js";
import { Export } from "./export.js";
import { day, say } from "./language.js";
import { Back, Empty, Icon, Tag, Trouble, Wait, nameOf } from "./parts.js";
import { address, hasMoved } from "./place.js";
import { keyOf, useTranscript } from "./transcript.js";

const NEAR = 80; // pixels from the end that still count as reading the newest
const NAMED = 3; // users that the head has room for

/** Keeps the newest in sight unless the reader has scrolled up, and the text in place when earlier text comes above. */
function useFollowing(first) {
  const box = useRef(null);
  const own = useRef({ following: true, height: 0, first }).current;
  const [away, setAway] = useState(false);
  const follow = () => {
    if (box.current && own.following) box.current.scrollTop = box.current.scrollHeight;
  };
  useLayoutEffect(() => {
    if (!box.current) return;
    const grown = box.current.scrollHeight - own.height;
    if (own.first !== undefined && first !== own.first && !own.following) box.current.scrollTop += grown;
    own.first = first;
    follow();
    own.height = box.current.scrollHeight;
  });
  const there = Boolean(first);
  useEffect(() => {
    if (!box.current) return undefined;
    const observer = new ResizeObserver(follow); // a phone's keyboard, a turned screen
    observer.observe(box.current);
    return () => observer.disconnect();
  }, [there]);
  const onScroll = () => {
    const { scrollHeight, scrollTop, clientHeight } = box.current;
    own.following = scrollHeight - scrollTop - clientHeight < NEAR;
    setAway(!own.following);
  };
  const jump = () => {
    own.following = true;
    follow();
  };
  return { box, away, onScroll, jump };
}

/** What came while one looks, in words for those who listen: whole replies, never their growth. */
function useAnnounced(entries) {
  const known = useRef(null);
  const said = useRef("");
  const newest = entries.at(-1);
  if (newest && keyOf(newest) !== known.current) {
    if (known.current !== null)
      said.current = say(newest.kind === "turn" ? "bot_said" : "user_said", { text: newest.text });
    known.current = keyOf(newest);
  }
  return said.current;
}

const dayOf = (entry) => new Date(entry.at * 1000).toDateString();

function Bubbles({ entries, users, me, again, change }) {
  return entries.map((entry, index) => {
    const begins = index === 0 || dayOf(entries[index - 1]) !== dayOf(entry);
    const one = { growing: Growing, message: Message, turn: Turn }[entry.kind];
    return html`
      <${Fragment} key=${keyOf(entry)}>
        ${begins && html`<li class="day"><span>${day(entry.at)}</span></li>`}
        <${one} entry=${entry} users=${users} me=${me} again=${again} change=${change} />
      <//>
    `;
  });
}

function Head({ conversation, title, back, home, onExport, heading }) {
  const { channel, bot, thread, users, human_at: human } = conversation;
  return html`
    <header class="head">
      <${Back} home=${home} back=${back} />
      <div class="head-words">
        <h2 tabindex="-1" ref=${heading}>${title}</h2>
        <p class="soft">
          ${[channel, bot, thread].filter(Boolean).join(" · ")}
          ${human && html` <${Tag} kind="accent">${say("state_human")}<//>`}
        </p>
      </div>
      <div class="head-links">
        ${users.slice(0, NAMED).map(
          (user) => html`<a key=${user.id} class="button small" href=${address("users", user.id)}>
            <${Icon} name="users" /><span class="cut">${users.length === 1 ? say("user") : user.user}</span>
            ${user.blocked && html`<${Tag} kind="wrong">${say("state_blocked")}<//>`}
          </a>`,
        )}
        ${users.length > NAMED && html`<span class="soft">+${users.length - NAMED}</span>`}
        <button type="button" class="button small" onClick=${onExport}>
          <${Icon} name="export" /><span class="cut">${say("export")}</span>
        </button>
      </div>
    </header>
  `;
}

const Jump = ({ shown, jump }) =>
  shown &&
  html`<button type="button" class="jump" aria-label=${say("newest")} title=${say("newest")} onClick=${jump}>
    <${Icon} name="down" />
  </button>`;

export function Conversation({ id, me, home, back }) {
  const transcript = useTranscript(id);
  const { conversation, growing, next, error, again, earlier, change } = transcript;
  const entries = growing ? [...transcript.entries, growing] : transcript.entries;
  const following = useFollowing(entries[0] && keyOf(entries[0]));
  const announced = useAnnounced(transcript.entries);
  const heading = useRef(null);
  const [exporting, setExporting] = useState(false);
  const there = conversation !== null;
  useEffect(() => there && hasMoved() && heading.current.focus({ preventScroll: true }), [there]);
  const onKeyDown = (event) => {
    if (event.key === "Escape" && !event.defaultPrevented && !event.target.closest("dialog")) back();
  };

  if (!there && error?.status === 404) {
    return html`<${Empty} title=${say("conversation_gone")}><a class="button" href=${home}>${say("back")}</a><//>`;
  }
  if (!there) return error ? html`<${Trouble} error=${error} again=${again} />` : html`<${Wait} />`;
  const speaker = entries.findLast((entry) => entry.speaker)?.speaker;
  const { users, chat } = conversation;
  const title = users.length === 1 ? nameOf({ name: speaker, user: users[0].user }) : chat;
  return html`
    <div class="conversation" onKeyDown=${onKeyDown}>
      <${Head} ...${{ conversation, title, back, home, heading }} onExport=${() => setExporting(true)} />
      <${Trouble} error=${error} again=${again} />
      <div
        class="log"
        ref=${following.box}
        onScroll=${following.onScroll}
        tabindex="0"
        role="log"
        aria-live="off"
        aria-label=${title}
      >
        ${
          next !== null && html`<button type="button" class="button more" onClick=${earlier}>${say("earlier")}</button>`
        }
        <ol class="bubbles">
          <${Bubbles} entries=${entries} users=${users} me=${me} again=${again} change=${change} />
        </ol>
      </div>
      <${Jump} shown=${following.away} jump=${following.jump} />
      <p class="quiet" aria-live="polite">${announced}</p>
      ${exporting && html`<${Export} what="ids=${id}" words=${say("export_one")} leave=${() => setExporting(false)} />`}
    </div>
  `;
}
