// The page of users: who wrote, and beside the list the one that was chosen.

import { useChanges, useList } from "./asking.js";
import { classes, html, useMemo } from "./draw.js";
import { Search, channelsOf } from "./filters.js";
import { say } from "./language.js";
import { List } from "./list.js";
import { Empty, Heading, Tag, Time, nameOf } from "./parts.js";
import { address, go, read } from "./place.js";
import { useNarrow } from "./screen.js";
import { User } from "./user.js";

const SETTLE = 5_000; // milliseconds: what somebody used is no news of the second

const Row = ({ item }) => html`
  <span class="row-head">
    <span class="row-name">${nameOf(item)}</span>
    ${item.last_at && html`<${Time} at=${item.last_at} />`}
  </span>
  <span class="row-foot">
    <span>${item.channel}</span>
    ${item.name && html`<span class="cut">${item.user}</span>`}
    <span>${say("messages", { n: item.messages })}</span>
    ${item.blocked && html`<${Tag} kind="wrong">${say("state_blocked")}<//>`}
    ${item.limits && html`<${Tag} kind="accent">${say("own_limits")}<//>`}
  </span>
`;

export function Users({ place, me }) {
  const narrow = useNarrow();
  const filters = useMemo(
    () => ({ search: place.query.get("search") ?? "", channel: place.query.get("channel") ?? "" }),
    [place],
  );
  const list = useList("/users", new URLSearchParams(Object.entries(filters).filter(([, value]) => value)).toString());
  useChanges(list.again, SETTLE);
  const open = place.id !== null;
  const home = address("users", null, filters);
  const change = (changed) =>
    go(address("users", read(location.href).id, { ...filters, ...changed }), { replace: true });
  const back = () => {
    go(home);
    setTimeout(() => document.getElementById(`row-${place.id}`)?.focus());
  };
  const clear = () => change({ search: "", channel: "" });
  const nothing =
    filters.search || filters.channel
      ? html`<${Empty} title=${say("nothing_found")}>
          <p>${say("no_users_found_hint")}</p>
          <button type="button" class="button" onClick=${clear}>${say("clear")}</button>
        <//>`
      : html`<${Empty} title=${say("no_users")}><p>${say("no_users_hint")}</p><//>`;

  return html`
    <div class=${classes("panes", { open })}>
      <section class="pane side" aria-label=${say("users")} inert=${narrow && open}>
        <${Heading}>${say("users")}<//>
        <div class="filters">
          <${Search} value=${filters.search} change=${(search) => change({ search })} label=${say("search_users")} />
          <select
            class="narrow"
            aria-label=${say("channel")}
            value=${filters.channel}
            onChange=${(event) => change({ channel: event.target.value })}
          >
            <option value="">${say("all_channels")}</option>
            ${channelsOf(me).map(([key, words]) => html`<option key=${key} value=${key}>${words}</option>`)}
          </select>
        </div>
        <${List}
          list=${list}
          current=${place.id}
          label=${say("users")}
          href=${(item) => address("users", item.id, filters)}
          row=${Row}
          nothing=${nothing}
        />
      </section>
      <section class="pane main" aria-label=${say("user")} inert=${narrow && !open}>
        ${
          open
            ? html`<${User} key=${place.id} id=${place.id} me=${me} home=${home} back=${back} changed=${list.again} />`
            : html`<${Empty} title=${say("choose_user")}><p>${say("choose_user_hint")}</p><//>`
        }
      </section>
    </div>
  `;
}
