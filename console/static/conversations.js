// The page of conversations: what is looked for, the list of what was found, and beside it the one that was chosen.

import { useChanges, useList } from "./asking.js";
import { Conversation } from "./conversation.js";
import { classes, html, useMemo, useState } from "./draw.js";
import { Export } from "./export.js";
import { FILTERS, Filters, asked } from "./filters.js";
import { say, sayOf } from "./language.js";
import { List } from "./list.js";
import { Empty, Heading, Icon, Marked, Tag, Time, nameOf } from "./parts.js";
import { address, go, read } from "./place.js";
import { useNarrow } from "./screen.js";

const SETTLE = 400; // milliseconds: what changes together is fetched together

/** Tags of what an operator should see at a glance; a plain answered conversation has none. */
const Tags = ({ item }) => html`
  ${item.human_at && html`<${Tag} kind="accent">${say("state_human")}<//>`}
  ${item.state !== "answered" && html`<${Tag} kind=${item.state}>${sayOf("state", item.state)}<//>`}
`;

const Row = ({ item }) => html`
  <span class="row-head">
    <span class="row-name">${nameOf(item)}</span>
    <${Time} at=${item.last_at} />
  </span>
  <span class="row-text" dir="auto">
    ${
      item.excerpt
        ? html`<${Marked} text=${item.excerpt} />`
        : html`${item.last_role === "bot" && html`<b>${say("bot")}: </b>`}${item.last_text || say("no_words")}`
    }
  </span>
  <span class="row-foot">
    <span>${item.channel}</span>
    <span>${say("messages", { n: item.messages })}</span>
    <${Tags} item=${item} />
  </span>
`;

function Nothing({ filtered, me, clear }) {
  if (filtered) {
    return html`<${Empty} title=${say("nothing_found")}>
      <p>${say("nothing_found_hint")}</p>
      <button type="button" class="button" onClick=${clear}>${say("clear")}</button>
    <//>`;
  }
  const web = me.channels.some((channel) => channel.on && channel.name === "web");
  return html`<${Empty} title=${say("no_conversations")}>
    <p>${say("no_conversations_hint")}</p>
    ${web && html`<a class="button" href="/chat" target="_blank" rel="noopener">${say("open_chat")}</a>`}
  <//>`;
}

export function Conversations({ place, me }) {
  const narrow = useNarrow();
  const filters = useMemo(
    () => Object.fromEntries(FILTERS.map((name) => [name, place.query.get(name) ?? ""])),
    [place],
  );
  const list = useList("/conversations", asked(filters));
  const [chosen, choose] = useState(null); // ids, while several are being chosen
  const [exporting, setExporting] = useState(false);
  useChanges(list.again, SETTLE);
  const filtered = FILTERS.some((name) => filters[name]);
  const open = place.id !== null;
  const change = (changed, replace = true) =>
    go(address("conversations", read(location.href).id, { ...filters, ...changed }), { replace });
  const clear = () => change(Object.fromEntries(FILTERS.map((name) => [name, ""])));
  const home = address("conversations", null, filters);
  const back = () => {
    go(home);
    setTimeout(() => document.getElementById(`row-${place.id}`)?.focus()); // once it may be reached again
  };

  return html`
    <div class=${classes("panes", { open })}>
      <section class="pane side" aria-label=${say("conversations")} inert=${narrow && open}>
        <${Heading}>${say("conversations")}<//>
        <${Filters} filters=${filters} change=${change} me=${me} />
        <div class="toolbar">
          ${
            chosen === null
              ? html`
                <button type="button" class="link" disabled=${!list.items?.length} onClick=${() => choose(new Set())}>
                  ${say("choose_several")}
                </button>
                <button type="button" class="link" disabled=${!list.items?.length} onClick=${() => setExporting(true)}>
                  <${Icon} name="export" />${say("export_list")}
                </button>
              `
              : html`
                <button type="button" class="link" onClick=${() => choose(null)}>${say("cancel")}</button>
                <span class="soft" role="status">${say("chosen", { n: chosen.size })}</span>
                <button type="button" class="link" disabled=${!chosen.size} onClick=${() => setExporting(true)}>
                  <${Icon} name="export" />${say("export_chosen")}
                </button>
              `
          }
        </div>
        <${List}
          list=${list}
          current=${place.id}
          label=${say("conversations")}
          chosen=${chosen}
          choose=${choose}
          href=${(item) => address("conversations", item.id, filters)}
          row=${Row}
          nothing=${html`<${Nothing} filtered=${filtered} me=${me} clear=${clear} />`}
        />
      </section>
      <section class="pane main" aria-label=${say("conversation")} inert=${narrow && !open}>
        ${
          open
            ? html`<${Conversation} key=${place.id} id=${place.id} me=${me} home=${home} back=${back} />`
            : html`<${Empty} title=${say("choose_one")}><p>${say("choose_one_hint")}</p><//>`
        }
      </section>
      ${
        exporting &&
        html`<${Export}
        what=${chosen === null ? asked(filters) : `ids=${[...chosen].join(",")}`}
        words=${chosen === null ? say(filtered ? "export_filtered" : "export_all") : say("chosen", { n: chosen.size })}
        leave=${() => setExporting(false)}
      />`
      }
    </div>
  `;
}
