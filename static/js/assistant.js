// The assistant beside the editor: asks, shows the answer as it comes, and hands proposed code to the editor. What a model wrote becomes text
// nodes, paragraphs and blocks, never markup.

import { texts } from "./format.js";

const panel = document.getElementById("assistant");
const words = JSON.parse(document.getElementById("assistant-words").textContent);
const one = (id) => document.getElementById(`assistant-${id}`);

let running = null;

// ---- text

// The word must end where it ends: without the look ahead a long line is gone through once for each of its characters.
const FENCE = /^ {0,3}(`{3,})[ \t]*([\w+-]*)(?![\w+-])[^`]*$/;
const PYTHON = new Set(["", "py", "python", "python3"]);

function inline(paragraph, line) {
  for (const [index, piece] of line.split(/`([^`]+)`/).entries()) {
    if (!piece) continue;
    if (index % 2 === 0) paragraph.append(piece);
    else paragraph.append(Object.assign(document.createElement("code"), { textContent: piece }));
  }
}

function block(text, kind) {
  const pre = document.createElement("pre");
  pre.tabIndex = 0;
  pre.append(Object.assign(document.createElement("code"), { textContent: text }));
  if (!PYTHON.has(kind.toLowerCase()) || !/^class\s+\w+/m.test(text)) return pre;
  const details = document.createElement("details");
  const summary = document.createElement("summary");
  summary.textContent = words.proposed.replace("{lines}", text.split("\n").length);
  details.append(summary, pre);
  return details;
}

const written = new WeakMap();

function show(element, text) {
  written.set(element, text);
  const parts = [];
  let lines = [];
  let fence = null;
  const close = () => {
    if (fence) parts.push(block(lines.join("\n"), fence[2]));
    else {
      for (const paragraph of lines.join("\n").split(/\n{2,}/)) {
        if (!paragraph.trim()) continue;
        const p = document.createElement("p");
        inline(p, paragraph.trim());
        parts.push(p);
      }
    }
    lines = [];
  };
  for (const line of text.split("\n")) {
    const found = FENCE.exec(line);
    if (found && !fence) {
      close();
      fence = found;
    } else if (found && fence && !found[2] && found[1].length >= fence[1].length) {
      close();
      fence = null;
    } else lines.push(line);
  }
  close();
  const opened = [...element.querySelectorAll("details")].map((details) => details.open);
  element.replaceChildren(...parts);
  for (const [index, details] of element.querySelectorAll("details").entries()) details.open = opened[index] ?? false;
  element.dataset.shown = "";
}

function showAll(within = document) {
  for (const element of within.querySelectorAll("[data-assistant-text]:not([data-shown])")) show(element, element.textContent);
}

// ---- the log

function toEnd() {
  const log = one("log");
  log.scrollTop = log.scrollHeight;
}

function add(kind, who, text) {
  const item = document.createElement("article");
  item.className = `assistant-message ${kind}`;
  const name = Object.assign(document.createElement("b"), { className: "assistant-who", textContent: who });
  const body = Object.assign(document.createElement("div"), { className: "assistant-text" });
  show(body, text);
  item.append(name, body);
  document.querySelector(".assistant-empty")?.remove();
  one("log").append(item);
  toEnd();
  return item;
}

function say(text, isError = false) {
  const status = one("status");
  status.textContent = text;
  status.classList.toggle("err", isError);
}

/** The message as the server has it, with what it took; the page keeps what it shows when there is no answer. */
async function renew(item, id, why, tries = 8) {
  const answer = await fetch(`/strategies/${panel.dataset.strategy}/assistant/${id}`, { headers: { "HX-Request": "true" } }).catch(() => null);
  if (!answer?.ok) return item;
  const holder = document.createElement("template");
  holder.innerHTML = await answer.text(); // our own fragment, in which all text is escaped
  const [fresh, usage] = holder.content.children;
  if (fresh.dataset.outcome === "running" && tries) {
    // What was just stopped is being stored.
    await new Promise((resolve) => setTimeout(resolve, 250));
    return renew(item, id, why, tries - 1);
  }
  item.replaceWith(fresh);
  usage.open = one("usage").open;
  one("usage").replaceWith(usage);
  showAll(fresh);
  const reason = fresh.querySelector("[data-why]");
  if (reason && why) reason.textContent = why;
  return fresh;
}

function atWork(isAtWork) {
  panel.dataset.atWork = String(isAtWork);
  for (const element of [one("ask"), ...panel.querySelectorAll("[data-ask], [data-again]")]) element.disabled = isAtWork;
  one("stop").hidden = !isAtWork;
}

// ---- asking

function findings() {
  return [...document.querySelectorAll("#sed-problems [data-mark]")].slice(0, 50).map((row) => {
    const said = row.querySelector("[data-words]").textContent.trim();
    return (row.dataset.mark > 0 ? words.problem.replace("{line}", row.dataset.mark).replace("{words}", said) : said).slice(0, 600);
  });
}

const source = () => document.querySelector("code-editor[name=source]")?.value ?? "";
const token = () => JSON.parse(document.body.getAttribute("hx-headers:inherited"))["X-CSRF-Token"];

function post(path, body, signal) {
  const headers = { "Content-Type": "application/json", "X-CSRF-Token": token() };
  return fetch(path, { method: "POST", headers, body: body && JSON.stringify(body), signal });
}

/** Yield [name, data] of server-sent events. */
async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    text += value;
    const blocks = text.split("\n\n");
    text = blocks.pop();
    for (const block of blocks) {
      const name = /^event: (.+)$/m.exec(block);
      if (name) yield [name[1], JSON.parse(/^data: (.+)$/m.exec(block)[1])];
    }
  }
}

async function refusal(answer) {
  if (answer.status === 401) return texts.sessionEnded;
  const { code, detail } = await answer.json().catch(() => ({}));
  if (code === "AI_OFF" || code === "AI_MODEL_UNCHOSEN") window.htmx.ajax("GET", `/strategies/${panel.dataset.strategy}/assistant`, { target: "#assistant-content", swap: "outerHTML" });
  return words[code]?.replace("{seconds}", answer.headers.get("Retry-After") ?? "60") ?? detail ?? texts.requestFailed;
}

async function ask(message) {
  if (running || !message.trim()) return;
  const mine = (running = new AbortController());
  const { signal } = mine;
  const question = add("is-user", words.you, message);
  atWork(true);
  say(words.thinking);
  try {
    const body = { strategy_id: panel.dataset.strategy, message, source: source(), findings: findings() };
    const answer = await post("/api/strategies/assist", body, signal);
    if (answer.ok) {
      one("question").value = "";
      await take(answer.body, signal);
    } else {
      question.remove();
      say(await refusal(answer), true);
    }
  } catch {
    if (question.isConnected && !question.nextElementSibling) question.remove();
    say(signal.aborted ? words.stopped : texts.notReached, !signal.aborted);
  } finally {
    over(mine);
    if (one("form")) {
      // Where something is proposed, the editor asks what to do about it.
      if (panel.contains(document.activeElement) || document.activeElement === document.body) one("question").focus({ preventScroll: true });
    }
  }
}

/** Nothing is on its way any more, unless the next question is already. */
function over(asked) {
  if (running !== asked) return;
  running = null;
  if (one("form")) atWork(false);
}

async function take(body, signal) {
  const answer = { id: "", text: "", item: add("is-answer", words.assistant, ""), proposal: null, ended: null };
  answer.item.setAttribute("aria-busy", "true");
  try {
    for await (const [name, data] of events(body)) heard(answer, name, data);
  } catch (error) {
    if (!signal.aborted) say(texts.notReached, true);
  }
  draw(answer);
  over(running);
  answer.item.removeAttribute("aria-busy");
  await finish(answer, signal);
}

function heard(answer, name, data) {
  if (name === "begun") {
    answer.id = data.message_id;
    answer.item.dataset.id = data.message_id;
  } else if (name === "words") {
    if (!answer.text) say(words.answering);
    answer.text += data.text;
    answer.frame ??= requestAnimationFrame(() => draw(answer));
  } else if (name === "thinking") say(words.thinking);
  else if (name === "proposal") answer.proposal = data;
  else if (name === "ended") answer.ended = data;
}

function draw(answer) {
  if (answer.frame) cancelAnimationFrame(answer.frame);
  answer.frame = null;
  const log = one("log");
  const isAtEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 60;
  show(answer.item.lastElementChild, answer.text);
  if (isAtEnd) toEnd();
}

async function finish(answer, signal) {
  const outcome = answer.ended?.outcome ?? (signal.aborted ? "stopped" : "failed");
  const said = { done: answer.proposal ? words.proposal : words.done, stopped: words.stopped };
  say(said[outcome] ?? words.failed, outcome === "failed");
  if (answer.id) await renew(answer.item, answer.id, answer.ended?.message);
  else answer.item.remove();
  toEnd();
  // Last, so that what is decided about it is not followed by an older answer's state.
  if (answer.proposal) propose(answer.proposal);
}

// ---- proposals: the editor shows them, and says what became of them

function propose({ source: code, message_id }) {
  panel.dispatchEvent(new CustomEvent("aristobot:proposal", { bubbles: true, detail: { source: code, message_id } }));
}

document.addEventListener("aristobot:proposal-decided", async ({ detail }) => {
  const answer = await post(`/api/strategies/assist/messages/${detail.message_id}/${detail.accepted ? "accept" : "reject"}`).catch(() => null);
  say("");
  const item = panel.querySelector(`[data-id="${CSS.escape(detail.message_id)}"]`);
  if (answer?.ok && item) await renew(item, detail.message_id);
});

// ---- what people do

panel.addEventListener("submit", (event) => {
  if (event.target.id !== "assistant-form") return;
  event.preventDefault();
  ask(one("question").value);
});

panel.addEventListener("keydown", (event) => {
  if (event.target.id !== "assistant-question" || event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
  event.preventDefault();
  ask(one("question").value);
});

panel.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  const item = button?.closest(".assistant-message");
  if (!button) return;
  if (button.id === "assistant-stop") running?.abort();
  else if (button.dataset.ask) ask(button.dataset.ask);
  else if ("again" in button.dataset) ask(written.get(item.previousElementSibling?.querySelector(".assistant-text")) ?? "");
  else if ("showProposal" in button.dataset) propose({ source: item.querySelector("[data-proposal]").textContent, message_id: item.dataset.id });
});

document.addEventListener("htmx:after:swap", () => {
  if (panel.querySelector("[data-assistant-text]:not([data-shown])")) {
    showAll();
    toEnd();
  }
});

showAll();
