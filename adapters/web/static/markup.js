// What the bot says as elements. The server sends a tree of nodes; each is made by name from the list below and filled
// with text nodes, so that nothing the model writes is ever read as HTML.

const NAMES = {
  p: "p", quote: "blockquote", ul: "ul", ol: "ol", li: "li", tr: "tr", th: "th", td: "td", hr: "hr", br: "br",
  b: "strong", i: "em", s: "s", code: "code",
};
const PROTOCOLS = ["http:", "https:", "mailto:"];
const ALIGNMENTS = ["left", "center", "right"];

/** An element that leads to the address in a tab of its own; plain text where the address is of another kind. */
export function link(address) {
  if (!URL.canParse(address) || !PROTOCOLS.includes(new URL(address).protocol)) return document.createElement("span");
  const element = document.createElement("a");
  element.href = address;
  element.target = "_blank";
  element.rel = "noopener noreferrer nofollow";
  return element;
}

/** An element around the one that holds the node's children: both are returned, outer and inner. */
function shell(node) {
  if (node.t === "a") return twice(link(node.href));
  // The page has its own title above: a reply's headings stand below it.
  if (node.t === "h") return twice(document.createElement(`h${Math.min(6, node.level + 2)}`));
  if (node.t === "pre") return nested("pre", "code");
  if (node.t === "table") return nested("div", "table", "wide");
  const element = document.createElement(Object.hasOwn(NAMES, node.t) ? NAMES[node.t] : "span");
  if (node.t === "ol") element.start = node.start;
  if (ALIGNMENTS.includes(node.align)) element.className = node.align;
  return twice(element);
}

const twice = (element) => [element, element];

function nested(outside, inside, name = "") {
  const outer = document.createElement(outside);
  const inner = document.createElement(inside);
  if (name) outer.className = name;
  // What is wider than its bubble is scrolled, by the keyboard too.
  outer.tabIndex = 0;
  outer.append(inner);
  return [outer, inner];
}

/** The nodes' elements. */
export function build(nodes) {
  const parts = document.createDocumentFragment();
  for (const node of nodes) {
    if (typeof node === "string") {
      parts.append(node);
      continue;
    }
    const [outer, inner] = shell(node);
    inner.append(build(node.c));
    parts.append(outer);
  }
  return parts;
}
