// What is seen: one element per bubble, found by its key. Text is only ever set as text.

import { build, link } from "./markup.js";

const LINK = /https?:\/\/[^\s<>"'`，。！？；：、（）《》【】「」“”]+/g;
const NEAR = 80; // pixels from the end that still count as reading the newest

function valid(address) {
  try {
    return Boolean(new URL(address).hostname);
  } catch {
    return false;
  }
}

/** The text with its web addresses as links. */
function linked(text) {
  const parts = document.createDocumentFragment();
  let done = 0;
  for (const match of text.matchAll(LINK)) {
    let address = match[0].replace(/[.,!?:;*_~]+$/, "");
    // A closing bracket belongs to the sentence unless the address opened one.
    while (address.endsWith(")") && !address.includes("(")) address = address.slice(0, -1).replace(/[.,!?:;]+$/, "");
    if (!valid(address)) continue;
    const element = link(address);
    element.textContent = address;
    parts.append(text.slice(done, match.index), element);
    done = match.index + address.length;
  }
  parts.append(text.slice(done));
  return parts;
}

export class View {
  constructor(phrases, language) {
    this.phrases = phrases;
    this.log = document.getElementById("log");
    this.list = document.getElementById("bubbles");
    this.typing = document.getElementById("typing");
    this.jump = document.getElementById("jump");
    this.said = document.getElementById("said");
    this.status = document.getElementById("status");
    this.bubbles = new Map(); // key -> { element, body, note, text, at }
    this.time = new Intl.DateTimeFormat(language, { hour: "2-digit", minute: "2-digit" });
    this.day = new Intl.DateTimeFormat(language, { dateStyle: "medium", timeStyle: "short" });
    this.following = true;
    this.log.addEventListener("scroll", () => {
      const { scrollHeight, scrollTop, clientHeight } = this.log;
      this.following = scrollHeight - scrollTop - clientHeight < NEAR;
      this.jump.hidden = this.following;
    });
    this.jump.addEventListener("click", () => this.follow(true));
    new ResizeObserver(() => this.follow()).observe(this.log);
    this.put("greeting", { role: "bot", text: phrases.chat_greeting, at: 0 });
  }

  /** Keep the newest text in sight, unless the reader has scrolled up. */
  follow(always = false) {
    if (always) this.following = true;
    if (this.following) this.log.scrollTop = this.log.scrollHeight;
  }

  /** Make or change a bubble: of nodes where there are some, of text otherwise. */
  put(key, { role, text, at, nodes }) {
    const bubble = this.bubbles.get(key) ?? this.make(key, role);
    if (bubble.text !== text || bubble.growing) {
      bubble.body.replaceChildren(nodes ? build(nodes) : linked(text));
      bubble.text = text;
    }
    bubble.growing = false;
    bubble.element.classList.remove("growing");
    if (at) {
      const moment = new Date(at * 1000);
      const today = moment.toDateString() === new Date().toDateString();
      bubble.time.dateTime = moment.toISOString();
      bubble.time.textContent = (today ? this.time : this.day).format(moment);
    }
    this.follow();
  }

  /** Continue a growing bubble: its text at a place (UTF-16 units), its nodes behind the first `keep`. False when
   *  something before it is missing. */
  grow(key, { at, text, keep, nodes }) {
    const bubble = this.bubbles.get(key) ?? this.make(key, "bot");
    const { body } = bubble;
    if (at > bubble.text.length || keep > (bubble.growing ? body.childNodes.length : 0)) return false;
    bubble.text = bubble.text.slice(0, at) + text;
    bubble.growing = true;
    bubble.element.classList.add("growing");
    while (body.childNodes.length > keep) body.lastChild.remove();
    body.append(build(nodes));
    this.follow();
    return true;
  }

  make(key, role) {
    const element = document.createElement("li");
    element.className = `bubble ${role}`;
    element.dataset.key = key;
    const body = document.createElement("div");
    body.className = "text";
    body.dir = "auto";
    const time = document.createElement("time");
    const meta = document.createElement("div");
    meta.className = "meta";
    meta.append(time);
    element.append(body, meta);
    this.list.append(element);
    const bubble = { element, body, meta, time, text: "", growing: false };
    this.bubbles.set(key, bubble);
    return bubble;
  }

  /** What a bubble says, without its marks. */
  words(key) {
    return this.bubbles.get(key).body.innerText;
  }

  /** How a message of ours stands: "" (the server has it), "sending", "failed" (with a button), or words of its own. */
  mark(key, state, words = "", retry = null) {
    const { element, meta, time } = this.bubbles.get(key);
    element.classList.toggle("sending", state === "sending");
    element.classList.toggle("failed", state === "failed");
    meta.replaceChildren(time);
    if (state !== "failed") return;
    const note = document.createElement("span");
    note.textContent = words;
    const again = document.createElement("button");
    again.type = "button";
    again.textContent = this.phrases.chat_retry;
    again.addEventListener("click", retry);
    meta.replaceChildren(note, again);
    this.follow();
  }

  /** Put the bubbles into this order and remove all others; the greeting stays first. */
  arrange(keys) {
    const order = ["greeting", ...keys];
    const kept = new Set(order);
    for (const [key, { element }] of this.bubbles) {
      if (kept.has(key)) continue;
      element.remove();
      this.bubbles.delete(key);
    }
    order.forEach((key, place) => {
      const { element } = this.bubbles.get(key);
      if (this.list.children[place] !== element) this.list.insertBefore(element, this.list.children[place] ?? null);
    });
    this.follow();
  }

  /** Dots while a reply is awaited and none is growing. */
  await(awaited) {
    const growing = [...this.bubbles.values()].some((bubble) => bubble.growing);
    if (awaited && this.typing.hidden && !growing) this.announce(this.phrases.chat_writing);
    this.typing.hidden = !awaited || growing;
    this.follow();
  }

  /** Words for those who listen: whole replies, never their growth. */
  announce(text) {
    this.said.textContent = text;
  }

  /** The line below the title; "" when all is well. */
  tell(state, text) {
    this.status.textContent = text;
    document.body.dataset.state = state;
  }
}
