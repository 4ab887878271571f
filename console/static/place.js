// Where one is: the address says it, so that the back button, a reload and a copied link lead to the same view.

import { Value } from "./value.js";

const PAGES = ["conversations", "health", "users", "playground", "keys", "sign-in"];

/** An address of the console as { page, id, query, href }; any other is the list of conversations. */
export function read(address) {
  const url = new URL(address, location.origin);
  const [, top, page, id] = url.pathname.split("/");
  const known = top === "console" && PAGES.includes(page);
  return {
    page: known ? page : "conversations",
    id: known && /^\d{1,18}$/.test(id ?? "") ? Number(id) : null,
    query: url.searchParams,
    href: url.pathname + url.search,
  };
}

export const here = new Value(read(location.href));

/** The address of a page, of one thing on it, with the query's parts that say something. */
export function address(page, id = null, query = {}) {
  const said = new URLSearchParams([...new URLSearchParams(query)].filter(([, value]) => value)).toString();
  return `/console/${page}${id === null ? "" : `/${id}`}${said ? `?${said}` : ""}`;
}

let moved = false;

/** Whether one has gone from one view to another yet: then the focus goes along; a page just loaded leaves it alone. */
export const hasMoved = () => moved;

function move(href) {
  moved = true;
  here.value = read(href);
}

export function go(href, { replace = false } = {}) {
  if (href === location.pathname + location.search) return;
  history[replace ? "replaceState" : "pushState"](null, "", href);
  move(href);
}

addEventListener("popstate", () => move(location.href));

// Links between our pages change the view, not the page; a new tab and a download stay the browser's.
document.addEventListener("click", (event) => {
  const link = event.target.closest?.("a[href]");
  if (!link || event.defaultPrevented || event.button || event.metaKey || event.ctrlKey || event.shiftKey) return;
  const url = new URL(link.href);
  const ours = url.origin === location.origin && url.pathname.startsWith("/console/");
  if (!ours || link.hasAttribute("download") || link.target || url.pathname.startsWith("/console/api/")) return;
  event.preventDefault();
  go(url.pathname + url.search);
});
