// Which language the console speaks (the browser's, until another is chosen), and how it writes times and numbers.

import { Value } from "./value.js";
import { LANGUAGES, WORDS } from "./words.js";

const KEY = "frontdesk console language";
const TAGS = Object.keys(LANGUAGES);

function remembered() {
  try {
    return localStorage.getItem(KEY);
  } catch {
    return null; // storage is forbidden: the browser's language then
  }
}

function first() {
  const wanted = [remembered(), ...navigator.languages].map((tag) => (tag ?? "").toLowerCase().split("-")[0]);
  return wanted.find((tag) => TAGS.includes(tag)) ?? TAGS[0];
}

export const language = new Value(first());
document.documentElement.lang = language.value;
language.watch((tag) => (document.documentElement.lang = tag));

export function choose(tag) {
  try {
    localStorage.setItem(KEY, tag);
  } catch {
    // It is forgotten with the page.
  }
  language.value = tag;
}

/** The language that a press on the button leads to, with its own name. */
export function other() {
  const tag = TAGS[(TAGS.indexOf(language.value) + 1) % TAGS.length];
  return { tag, name: LANGUAGES[tag] };
}

/** Words by their name; {placeholders} are filled, and "one|many" is chosen by `n`. */
export function say(name, values = {}) {
  let text = WORDS[name][TAGS.indexOf(language.value)];
  if (text.includes("|")) text = text.split("|")[values.n === 1 ? 0 : 1];
  for (const [key, value] of Object.entries(values)) {
    const shown = typeof value === "number" ? count(value) : value;
    text = text.replaceAll(`{${key}}`, () => shown);
  }
  return text;
}

/** Words if there are some of that name, else the name as it came from the server. */
export const sayOf = (prefix, name) => (`${prefix}_${name}` in WORDS ? say(`${prefix}_${name}`) : name);

const made = new Map();

function format(kind, options) {
  const key = `${language.value} ${kind.name} ${JSON.stringify(options)}`;
  if (!made.has(key)) made.set(key, new kind(language.value === "zh" ? "zh-CN" : language.value, options));
  return made.get(key);
}

const date = (at) => new Date(at * 1000);
const written = (at, options) => format(Intl.DateTimeFormat, { hourCycle: "h23", ...options }).format(date(at));

export const count = (number) => format(Intl.NumberFormat, { maximumFractionDigits: 1 }).format(number);
export const short = (number) =>
  format(Intl.NumberFormat, { notation: "compact", maximumFractionDigits: 1 }).format(number);
export const percent = (share) => format(Intl.NumberFormat, { style: "percent" }).format(share);
export const clock = (at) => written(at, { hour: "2-digit", minute: "2-digit" });
export const moment = (at) => written(at, { dateStyle: "medium", timeStyle: "medium" });
export const day = (at) => written(at, { weekday: "long", year: "numeric", month: "long", day: "numeric" });

/** 0.2 s, 14 s, 3 min, 5 h, 2 d: no more than is needed to judge it. */
export function span(seconds) {
  if (seconds < 10) return say("span_seconds", { n: Math.round(seconds * 10) / 10 });
  if (seconds < 120) return say("span_seconds", { n: Math.round(seconds) });
  if (seconds < 7200) return say("span_minutes", { n: Math.round(seconds / 60) });
  if (seconds < 172800) return say("span_hours", { n: Math.round(seconds / 3600) });
  return say("span_days", { n: Math.round(seconds / 86400) });
}

/** As short as a list needs it: the time of today, else the day. */
export function when(at) {
  const then = date(at);
  const now = new Date();
  if (then.toDateString() === now.toDateString()) return clock(at);
  if (then.getFullYear() === now.getFullYear()) return written(at, { month: "short", day: "numeric" });
  return written(at, { year: "numeric", month: "short", day: "numeric" });
}
