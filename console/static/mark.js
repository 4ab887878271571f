// What the operator thinks of a reply: good or bad, and why. Who may only look sees it and presses nothing.

import { useDoing } from "./asking.js";
import { html, useEffect, useRef, useState } from "./draw.js";
import { say } from "./language.js";
import { Icon, Tag, Trouble } from "./parts.js";
import { ask } from "./wire.js";

const MARKS = ["good", "bad"];
const NOTE = 2000; // characters that the server takes

function Note({ id, note, save, leave }) {
  const box = useRef(null);
  useEffect(() => box.current.focus(), []);
  const onSubmit = (event) => {
    event.preventDefault();
    save(box.current.value.trim());
  };
  const onKeyDown = (event) => {
    if (event.key === "Escape") {
      event.preventDefault(); // it leaves the note, not the conversation
      leave();
    }
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) onSubmit(event);
  };
  return html`
    <form class="note" onSubmit=${onSubmit} onKeyDown=${onKeyDown}>
      <label for="note-${id}">${say("note")}</label>
      <textarea id="note-${id}" ref=${box} rows="2" maxlength=${NOTE} defaultValue=${note}></textarea>
      <div class="actions">
        <button type="button" class="button small" onClick=${leave}>${say("cancel")}</button>
        <button type="submit" class="button small strong">${say("save")}</button>
      </div>
    </form>
  `;
}

export function Mark({ entry, me, change }) {
  const { id, mark, note } = entry;
  const [writing, write] = useState(false);
  const { error, run } = useDoing();
  const row = useRef(null);
  if (me.role !== "operator" && !mark && !note) return null;
  if (me.role !== "operator") {
    return html`<div class="marks">
      ${mark && html`<${Tag} kind=${mark}>${say(`marked_${mark}`)}<//>`}
      ${note && html`<span class="note-text">${note}</span>`}
    </div>`;
  }
  const send = (body) => run(async () => change(id, await ask(`/turns/${id}/mark`, { body })));
  const press = async (name) => {
    const off = mark === name;
    if ((await send({ mark: off ? "" : name, note })) && !off && !note) write(true);
    if (off) write(false);
  };
  const leave = () => {
    write(false);
    row.current.querySelector("[aria-pressed=true]")?.focus();
  };
  const save = async (text) => (await send({ mark, note: text })) && leave();
  return html`
    <div class="marks" ref=${row}>
      ${MARKS.map(
        (name) => html`
          <button
            key=${name}
            type="button"
            class="square tiny ${name}"
            aria-pressed=${String(mark === name)}
            aria-label=${say(`mark_${name}`)}
            title=${say(`mark_${name}`)}
            onClick=${() => press(name)}
          >
            <${Icon} name=${name} />
          </button>
        `,
      )}
      ${note && !writing && html`<span class="note-text">${note}</span>`}
      ${
        (mark || note) &&
        !writing &&
        html`<button type="button" class="link" onClick=${() => write(true)}>
        ${say(note ? "change_note" : "add_note")}
      </button>`
      }
    </div>
    ${writing && html`<${Note} id=${id} note=${note} save=${save} leave=${leave} />`}
    <${Trouble} error=${error} />
  `;
}
