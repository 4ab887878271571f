// Small pieces that every page is put together from.

import { classes, html, useEffect, useRef } from "./draw.js";
import { moment, say, when } from "./language.js";
import { hasMoved } from "./place.js";

const LINES = {
  conversations: "M4 5h16v11H9.5L5.5 19.5V16H4Z",
  health: "M3 12.5h4l2.5-6 4.5 11 2.5-5H21",
  users: "M12 12a4 4 0 1 0 0-8 4 4 0 0 0 0 8Zm-7.5 8a7.5 7.5 0 0 1 15 0",
  keys: "M8 20a4 4 0 1 0 0-8 4 4 0 0 0 0 8Zm2.8-6.8L20 4m-4 4 3 3",
  playground: "M9 3h6m-5 0v6l-5.5 9A2 2 0 0 0 6.2 21h11.6a2 2 0 0 0 1.7-3L14 9V3M7.5 15h9",
  search: "M10.5 17a6.5 6.5 0 1 0 0-13 6.5 6.5 0 0 0 0 13Zm5-1.5L20 20",
  filters: "M4 6.5h16M7 12h10m-7 5.5h4",
  back: "M15 5l-7 7 7 7",
  down: "M12 5v14m-6-6 6 6 6-6",
  good: "M7.5 11v9H4v-9Zm0 0 4-7.5c1.5 0 2.5 1 2.5 2.5v3.5h4.6c1 0 1.7.9 1.5 1.9l-1.3 7c-.1.9-.9 1.6-1.8 1.6H7.5",
  bad: "M16.5 13V4H20v9Zm0 0-4 7.5c-1.5 0-2.5-1-2.5-2.5v-3.5H5.4c-1 0-1.7-.9-1.5-1.9l1.3-7c.1-.9.9-1.6 1.8-1.6h9.5",
  close: "M6 6l12 12M18 6L6 18",
  leave: "M10 4H5v16h5m5-12 4 4-4 4m4-4H9",
  export: "M12 4v11m-5-5 5 5 5-5M5 20h14",
};

/** A drawing beside words, or inside something that has a name. */
export const Icon = ({ name }) => html`
  <svg class="icon" viewBox="0 0 24 24" width="20" height="20" aria-hidden="true" focusable="false">
    <path d=${LINES[name]} />
  </svg>
`;

/** Why something did not work, where it did not; `again` is offered if there is one. */
export const Trouble = ({ error, again }) =>
  error &&
  html`<p class="trouble" role="alert">
    <span>${error.sentence ?? String(error)}</span>
    ${again && html`<button type="button" class="link" onClick=${again}>${say("again")}</button>`}
  </p>`;

/** Nothing is here: why, and what to do. */
export const Empty = ({ title, children }) => html`
  <div class="empty">
    <p class="empty-title">${title}</p>
    ${children}
  </div>
`;

/** Before the first answer is there. */
export const Wait = () => html`<p class="wait" role="status">${say("loading")}</p>`;

export const Tag = ({ kind = "", children }) =>
  html`<span class=${classes("tag", { [kind]: kind })}>${children}</span>`;

export const Time = ({ at, full = false }) =>
  html`<time dateTime=${new Date(at * 1000).toISOString()} title=${moment(at)}>${full ? moment(at) : when(at)}</time>`;

/** What somebody is called: by their platform, or else by their number there. */
export const nameOf = ({ name, user }) => (isErased(user) ? say("erased_user") : name || user);

/** Of an erased person the ledger keeps a number that is nobody's, so that its accounts stay right. */
export const isErased = (user) => /^erased-\d+$/.test(user);

/** A text in which the server marked what was found. */
export const Marked = ({ text }) =>
  text.split("\u0001").map((piece, index) => {
    if (!index) return piece;
    const [found, ...rest] = piece.split("\u0002");
    return html`<mark>${found}</mark>${rest.join("")}`;
  });

/** On a phone: from one thing to the list of them. */
export function Back({ home, back }) {
  const press = (event) => {
    event.preventDefault();
    back();
  };
  return html`<a class="square back" href=${home} aria-label=${say("back")} onClick=${press}>
    <${Icon} name="back" />
  </a>`;
}

let made = 0;

/** A label with what it names; `children` is called with the id that joins them. */
export function Field({ label, hint, children }) {
  const id = useRef(`field-${++made}`).current;
  return html`
    <div class="field">
      <label for=${id}>${label}</label>
      ${children(id, hint ? `${id}-hint` : undefined)}
      ${hint && html`<p class="hint" id="${id}-hint">${hint}</p>`}
    </div>
  `;
}

/**
 * A question over the page: Esc and its ways out call `leave`; the browser keeps the focus inside and puts it back.
 * `held`: what it shows is shown once, so that neither Esc nor a press beside it is a way out.
 */
export function Dialog({ title, leave, held = false, children }) {
  const box = useRef(null);
  const id = useRef(`dialog-${++made}`).current;
  useEffect(() => {
    const dialog = box.current;
    dialog.showModal();
    return () => dialog.close(); // what it stood over takes no focus before
  }, []);
  const aside = (event) => event.target === box.current && !held && leave();
  const closed = () => box.current && leave(); // not when it is closed because it was left
  const stay = (event) => held && event.preventDefault();
  return html`
    <dialog class="dialog" ref=${box} aria-labelledby=${id} onCancel=${stay} onClose=${closed} onClick=${aside}>
      <div class="dialog-body">
        <h2 id=${id}>${title}</h2>
        ${children}
      </div>
    </dialog>
  `;
}

/** One of a few, as buttons side by side. */
export const Choice = ({ label, options, value, choose }) => html`
  <div class="choice" role="group" aria-label=${label}>
    ${options.map(
      ([key, words]) => html`
        <button type="button" aria-pressed=${String(key === value)} onClick=${() => choose(key)}>${words}</button>
      `,
    )}
  </div>
`;

/** Heading of a page for those who listen; it takes the focus when the page is opened. */
export function Heading({ children }) {
  const heading = useRef(null);
  useEffect(() => hasMoved() && heading.current.focus({ preventScroll: true }), []);
  return html`<h1 class="quiet" tabindex="-1" ref=${heading}>${children}</h1>`;
}
