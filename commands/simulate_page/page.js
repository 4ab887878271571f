// What one made-up user sees and does. All text from the outside goes through textContent.

const PAUSE = 300; // ms between two looks
const WORDS = {
  en: {
    heading: "{platform} simulator", users: "You are", user: "Customer {n}", troubles: "Let something go wrong",
    note: "Your bot, your settings, your model; only the platform is made up.",
    counts: "On the wire", write: "Message", send: "Send", typing: "typing…", online: "bot",
    loading: "The model is loading; messages wait.", gone: "The simulator has ended.",
    waiting: "WeChat waits for the account…", failed: "Not sent: too much is under way.", blocked: "You blocked the bot.",
    edits: "edited {n}×", empty: "Write something.",
    flood: "Too many requests for {s} s (429)", drop: "Lose the receipt of the next message",
    acts: "Do something else", follow: "Follow the account", picture: "Send a picture",
    block: "Block the bot", archive: "Archive this conversation", lose: "The next reply arrives too late",
  },
  zh: {
    heading: "{platform} 模拟器", users: "您是", user: "顾客 {n}", troubles: "制造故障",
    note: "机器人、设置和模型都是您自己的，只有平台是模拟的。",
    counts: "通信计数", write: "消息", send: "发送", typing: "正在输入…", online: "机器人",
    loading: "模型正在加载，消息会等待。", gone: "模拟器已结束。",
    waiting: "微信正在等待公众号回复…", failed: "未发送：进行中的消息太多。", blocked: "您已屏蔽机器人。",
    edits: "已编辑 {n} 次", empty: "说点什么吧。",
    flood: "{s} 秒内请求过多 (429)", drop: "丢失下一条消息的回执",
    acts: "其他操作", follow: "关注公众号", picture: "发送图片",
    block: "屏蔽机器人", archive: "归档此会话", lose: "下一个回复超时",
  },
};
const language = (navigator.language || "en").slice(0, 2).toLowerCase();
const words = WORDS[language] || WORDS.en;
const NAMES = { telegram: "Telegram", slack: "Slack", wechat: words === WORDS.zh ? "微信" : "WeChat" };
const say = (name, values = {}) => words[name].replace(/\{(\w+)\}/g, (_, key) => String(values[key]));
const at = (id) => document.getElementById(id);
const make = (tag, name, text = "") => {
  const made = document.createElement(tag);
  made.className = name;
  made.textContent = text;
  return made;
};

let user = 1;
let known = null; // the newest state
let read = []; // the bot's messages that were seen, by user
let refused = "";
let timer = 0;
let low = true; // the end of the chat is in view
let looking = 0; // the newest look; what an earlier one brings is old

document.documentElement.lang = words === WORDS.zh ? "zh" : "en";
for (const [id, name] of [["note", "note"], ["users-title", "users"], ["acts-title", "acts"], ["troubles-title", "troubles"], ["counts-title", "counts"], ["send", "send"]]) {
  at(id).textContent = say(name);
}
at("text").placeholder = say("write");
at("text").setAttribute("aria-label", say("write"));
at("more").open = matchMedia("(min-width: 800px)").matches;

function button(text, pressed) {
  const made = make("button", "chip", text);
  made.type = "button";
  made.addEventListener("click", pressed);
  return made;
}

function open(state) {
  document.documentElement.dataset.platform = state.platform;
  at("heading").textContent = say("heading", { platform: NAMES[state.platform] });
  document.title = at("heading").textContent;
  at("title").textContent = state.title;
  at("face").textContent = [...state.title][0] || "?";
  at("users").replaceChildren(...state.sizes.map((_, i) => button(say("user", { n: i + 1 }), () => become(i + 1))));
  at("troubles").replaceChildren(
    ...state.troubles.map((name) => button(say(name, { s: state.seconds }), () => post("trouble", { user, name }))),
  );
  const acts = state.acts.filter((name) => name !== "tap"); // that one is in the chat
  at("acts").replaceChildren(...acts.map((name) => button(say(name), () => post("act", { user, name }))));
  at("acting").hidden = acts.length === 0;
  read = [...state.sizes];
}

function become(number) {
  user = number;
  at("chat").replaceChildren();
  low = true;
  at("text").focus();
  look();
}

function show(state) {
  if (known === null) open(state);
  known = state;
  read[user - 1] = state.sizes[user - 1];
  [...at("users").children].forEach((chip, i) => {
    chip.setAttribute("aria-pressed", String(i + 1 === user));
    chip.classList.toggle("news", state.sizes[i] > read[i]);
  });
  [...at("troubles").children].forEach((chip, i) => {
    chip.setAttribute("aria-pressed", String(state.active.includes(state.troubles[i])));
  });
  at("counts").replaceChildren(
    ...Object.entries(state.counts).flatMap(([name, n]) => [make("dt", "", name), make("dd", "", String(n))]),
  );
  const blocked = state.active.includes("block");
  at("send").disabled = blocked;
  tell(refused || (blocked && say("blocked")) || (!state.engine_ready && say("loading")) || (state.typing && say("typing"))
    || (state.platform === "wechat" && state.under_way > 0 && say("waiting")) || say("online"));
  chat(state.bubbles);
}

function tell(text) {
  if (at("status").textContent !== text) at("status").textContent = text;
}

function chat(bubbles) {
  const list = at("chat");
  let changed = false;
  const last = bubbles.findLastIndex((bubble) => bubble.by === "bot");
  bubbles.forEach((bubble, i) => {
    const mark = `${i === last} ${bubble.by} ${bubble.edits} ${bubble.text}`;
    const old = list.children[i];
    if (old && old.mark === mark) return;
    const line = draw(bubble, i === last);
    line.mark = mark;
    changed = true;
    if (old) old.replaceWith(line);
    else list.append(line);
  });
  while (list.children.length > bubbles.length) list.lastChild.remove();
  list.dataset.empty = bubbles.length ? "" : say("empty");
  if (changed && low) bottom();
}

function bottom() {
  at("chat").scrollTop = at("chat").scrollHeight;
}

function draw(bubble, newest) {
  const line = make("li", `line ${bubble.by}`);
  const body = make("div", "bubble");
  if (bubble.by !== "platform") {
    line.append(make("span", "face small", bubble.by === "user" ? String(user) : at("face").textContent));
    body.append(make("span", "who", bubble.by === "user" ? say("user", { n: user }) : at("title").textContent));
  }
  const text = make("p", "text");
  if (known.platform === "wechat" && bubble.by === "bot") text.append(...linked(bubble.text, newest));
  else text.textContent = bubble.text;
  body.append(text);
  if (bubble.edits) body.append(make("span", "edits", say("edits", { n: bubble.edits })));
  line.append(body);
  return line;
}

// WeChat makes links of these; a tap writes the link's word. The simulator knows those of the newest text.
function* linked(text, newest) {
  let from = 0;
  for (const found of text.matchAll(/<a href="weixin:\/\/bizmsgmenu\?[^"<>]*">([^<>]+)<\/a>/g)) {
    yield text.slice(from, found.index);
    const link = make("button", "link", found[1].replaceAll("&lt;", "<").replaceAll("&gt;", ">").replaceAll("&amp;", "&"));
    link.type = "button";
    link.disabled = !newest;
    link.addEventListener("click", () => post("act", { user, name: "tap" }));
    yield link;
    from = found.index + found[0].length;
  }
  yield text.slice(from);
}

async function look() {
  clearTimeout(timer);
  const mine = ++looking;
  try {
    const answer = await fetch(`state?user=${user}`);
    const state = await answer.json();
    if (mine === looking) show(state);
  } catch {
    if (mine === looking) tell(say("gone"));
  }
  if (mine === looking && !document.hidden) timer = setTimeout(look, PAUSE);
}

async function post(path, body) {
  try {
    const answer = await fetch(path, {
      method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body),
    });
    refused = answer.ok ? "" : say("failed");
    look();
    return answer.ok;
  } catch {
    tell(say("gone"));
    return false;
  }
}

function grow() {
  const box = at("text");
  box.style.height = "auto";
  box.style.height = `${Math.min(box.scrollHeight, 140)}px`;
}

at("form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const text = at("text").value.trim();
  if (!text || at("send").disabled) return;
  at("text").value = "";
  grow();
  low = true;
  const tag = /^[a-z]{2,3}$/.test(language) ? language : "en";
  if (!(await post("say", { user, text, language: tag })) && !at("text").value) at("text").value = text;
});
at("chat").addEventListener("scroll", () => {
  const { scrollHeight, scrollTop, clientHeight } = at("chat");
  low = scrollHeight - scrollTop - clientHeight < 80;
}, { passive: true });
// The chat shrinks when the panel opens or a keyboard comes up; its end stays in view.
new ResizeObserver(() => { if (low) bottom(); }).observe(at("chat"));
at("text").addEventListener("input", grow);
at("text").addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  at("form").requestSubmit();
});
document.addEventListener("visibilitychange", () => { if (!document.hidden) look(); });
at("text").focus();
look();
