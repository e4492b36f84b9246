// The heartbeat's page: lists written by hand, since nothing that goes through htmx is fast enough for them.

import { decimalsOf, language, number, texts as shared, time, timezone } from "./format.js";
import { on } from "./live.js";

const KEPT = 60;
const SPARK = 60;
//: The stream brings the feed's state every second. So long without it, and this server is gone.
const SERVER_SILENCE_MS = 5000;
const { signals: stored, ticks, staleMs } = JSON.parse(document.getElementById("heartbeat-data").textContent);
const texts = JSON.parse(document.getElementById("heartbeat-texts").textContent);
const plural = new Intl.PluralRules(language);
const inUserDay = new Intl.DateTimeFormat("en-CA", { timeZone: timezone, dateStyle: "short" });
const MS = new Intl.DateTimeFormat(language, {
  timeZone: timezone, hourCycle: "h23", hour: "2-digit", minute: "2-digit", second: "2-digit", fractionalSecondDigits: 3,
});
const byId = (id) => document.getElementById(id);

const count = (amount, [one, many]) => `${amount} ${plural.select(amount) === "one" ? one : many}`;

function element(name, className, content) {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (content !== undefined) made.textContent = content;
  return made;
}

function price(symbol, value) {
  if (value === null || value === undefined) return "–";
  if (ticks[symbol]) return number(value, decimalsOf(ticks[symbol]));
  return number(value, Math.min((String(value).split(".")[1] ?? "").length, 10));
}

function set(id, content) {
  const place = byId(id);
  if (place.textContent !== content) place.textContent = content;
}

// ---- the clock of the server, as the feed tells it

let ahead = Date.parse(byId("clock").dateTime) - Date.now();
const now = () => Date.now() + ahead;

// ---- signals: one list for each timeframe

const boxes = new Map([...document.querySelectorAll("[data-signals]")].map((list) => [list.dataset.signals, list]));
const known = new Map([...boxes.keys()].map((timeframe) => [timeframe, new Set()]));
const keyOf = (openTime, symbol) => `${openTime} ${symbol}`;

function moment(openTime, timeframe) {
  if (timeframe === "1d") return time(openTime, "day");
  return inUserDay.format(openTime) === inUserDay.format(now()) ? time(openTime, "minute") : time(openTime, "moment");
}

function signal(timeframe, [openTime, symbol, close, isLate], kind) {
  const row = document.createElement("li");
  row.dataset.kind = kind;
  row.dataset.key = keyOf(openTime, symbol);
  row.dataset.time = openTime;
  const mark = element("i", "mark");
  mark.dataset.kind = kind;
  mark.setAttribute("role", "img");
  mark.setAttribute("aria-label", texts[kind]);
  const when = element("time", "", moment(openTime, timeframe));
  when.dateTime = new Date(openTime).toISOString();
  row.append(mark, when, element("span", "", symbol));
  if (isLate) row.append(element("span", "late", texts.late));
  row.append(element("span", "close", price(symbol, close)));
  return row;
}

/** Put signals into their list, newest on top. What is there already is left as it is. */
function show(timeframe, rows, kind) {
  const list = boxes.get(timeframe);
  const keys = known.get(timeframe);
  if (!list) return;
  for (const found of [...rows].sort((a, b) => a[0] - b[0])) {
    if (keys.has(keyOf(found[0], found[1]))) continue;
    // Nearly always the first: only what was missed and comes late goes further down.
    let before = list.firstElementChild;
    while (before && Number(before.dataset.time) > found[0]) before = before.nextElementSibling;
    if (!before && list.children.length >= KEPT) continue;
    keys.add(keyOf(found[0], found[1]));
    list.insertBefore(signal(timeframe, found, kind), before);
    if (list.children.length > KEPT) {
      keys.delete(list.lastElementChild.dataset.key);
      list.lastElementChild.remove();
    }
  }
}

function showAll(byTimeframe, kind) {
  for (const [timeframe, rows] of Object.entries(byTimeframe)) show(timeframe, rows, kind);
}

// ---- the raw stream: at most one writing for each picture, and none while somebody reads

const raw = byId("raw");
const panel = raw.closest(".raw");
const pause = byId("raw-pause");
let lines = [];
let heldCount = 0;
let isPaused = false;
let isScheduled = false;
let perSecond = [];

const isRead = () => isPaused || raw.matches(":hover, :focus-within");

function cell(label, content, isWide) {
  const made = element("span", isWide ? "wide" : "");
  if (label) made.append(element("small", "", label));
  made.append(content);
  return made;
}

function rawLine(line) {
  const [at, symbol] = line;
  const row = document.createElement("li");
  row.append(element("time", "", MS.format(at)), element("span", "", symbol));
  if (line.length === 5) {
    const [bid, ask, last] = line.slice(2);
    row.append(element("span", "tf", ""), cell(texts.bid, price(symbol, bid), true), cell(texts.ask, price(symbol, ask), true));
    row.append(cell("", "", true), cell("", price(symbol, last ?? bid)), cell("", "", true));
    return row;
  }
  const [timeframe, open, high, low, close, volume, isClosed] = line.slice(2);
  if (isClosed) row.dataset.closed = "";
  row.append(element("span", "tf", timeframe), cell(shared.open, price(symbol, open), true), cell(shared.high, price(symbol, high), true));
  row.append(cell(shared.low, price(symbol, low), true), cell(shared.last, price(symbol, close)));
  row.append(cell(shared.volume, number(volume, volume < 100 ? 4 : 1), true));
  return row;
}

function write() {
  isScheduled = false;
  const isHeld = isRead();
  panel.toggleAttribute("data-held", isHeld);
  set("raw-held", isHeld && heldCount ? `${heldCount} ${texts.held}` : "");
  if (isHeld || !lines.length) return;
  const rows = document.createDocumentFragment();
  for (const line of lines.reverse()) rows.append(rawLine(line));
  lines = [];
  heldCount = 0;
  raw.prepend(rows);
  while (raw.children.length > KEPT) raw.lastElementChild.remove();
}

function schedule() {
  if (isScheduled) return;
  isScheduled = true;
  requestAnimationFrame(write);
}

pause.addEventListener("click", () => {
  isPaused = !isPaused;
  pause.setAttribute("aria-pressed", String(isPaused));
  pause.lastChild.textContent = isPaused ? texts.resume : texts.pause;
  schedule();
});
for (const name of ["pointerleave", "focusout", "pointerenter", "focusin"]) raw.addEventListener(name, schedule);

on("feed-raw", (news) => {
  lines = lines.concat(news.lines).slice(-KEPT);
  heldCount += news.count;
  perSecond.push([Date.now(), news.count]);
  schedule();
});

// ---- the feed's line

const feed = byId("feed");
const TONES = { fresh: "ok", stale: "err", connecting: "warn" };
let status = null;
let statusAt = Date.now();
let heard = feed.dataset.heard ? Date.parse(feed.dataset.heard) : null;
let lags = [];

function ageText(ms) {
  const seconds = Math.max(ms, 0) / 1000;
  if (seconds < 60) return `${number(seconds, seconds < 10 ? 1 : 0)}\u00a0s`;
  return seconds < 3600 ? `${Math.floor(seconds / 60)}\u00a0min` : `${Math.floor(seconds / 3600)}\u00a0h`;
}

function stateNow() {
  if (heard === null) return "connecting";
  const isFresh = status ? status.fresh : feed.dataset.state === "fresh";
  // A feed that has only just come back says itself when everything missed is stored.
  return now() - heard > staleMs || !isFresh ? "stale" : "fresh";
}

function look() {
  const isServerGone = Date.now() - statusAt > SERVER_SILENCE_MS && !document.hidden;
  const state = stateNow();
  feed.dataset.state = state;
  const pill = byId("feed-state");
  pill.className = `pill ${TONES[state]}`;
  set("feed-state", state === "stale" ? `${texts.staleSince} ${time(heard)}` : texts[state]);
  if (heard !== null) set("feed-age", ageText(now() - heard));
  const words = isServerGone ? texts.noServer : state === "stale" ? (status?.error ?? "") : "";
  set("feed-error", words);
  byId("feed-error").hidden = !words;
  const since = Date.now() - 3000;
  perSecond = perSecond.filter(([at]) => at > since);
  const rate = perSecond.reduce((sum, [, amount]) => sum + amount, 0) / 3;
  set("raw-rate", perSecond.length ? `${number(rate, rate < 10 ? 1 : 0)} ${texts.perSecond}` : "");
}

function spark() {
  const line = byId("feed-spark").firstElementChild;
  const top = Math.max(...lags, 1);
  const points = lags.map((lag, index) => `${((index + SPARK - lags.length) * 120) / (SPARK - 1)},${(26 - (Math.max(lag, 0) / top) * 24).toFixed(1)}`);
  line.setAttribute("points", points.join(" "));
}

const inMs = (value, isSigned) => {
  if (value === null) return "–";
  return `${isSigned && value > 0 ? "+" : ""}${number(value, Math.abs(value) < 10 ? 1 : 0)}\u00a0ms`;
};

function showStatus(news) {
  status = news;
  statusAt = Date.now();
  ahead = news.at - Date.now();
  heard = news.heard;
  const hosts = [...new Set(news.connections.map(({ host }) => host))].join(", ");
  set("feed-connections", news.connections.length ? `${count(news.connections.length, texts.connections)} · ${hosts}` : "");
  set("feed-lag", inMs(news.lag, false));
  set("feed-offset", inMs(news.offset, true));
  set("feed-reconnects", String(news.reconnects));
  set("feed-gaps", String(news.gaps));
  const coherence = byId("feed-coherence");
  coherence.dataset.tone = news.open_gaps ? "warn" : "ok";
  coherence.firstChild.textContent = news.open_gaps ? count(news.open_gaps, texts.openGaps) : texts.ok;
  set("feed-differences", count(news.differences, texts.differences));
  set("feed-since", news.started === null ? "–" : time(news.started, "moment"));
  set("watched-total", String(news.watched));
  if (news.lag !== null) {
    lags = [...lags, news.lag].slice(-SPARK);
    spark();
  }
  if (news.symbols) showWatched(news.symbols);
  look();
}

// ---- the symbols that are watched, those furthest behind first

const watched = byId("watched");

function showWatched(symbols) {
  // Nothing is taken away from under a pointer or the keyboard.
  if (watched.matches(":hover, :focus-within")) return;
  watched.replaceChildren(...symbols.map(([symbol, openTime]) => {
    const row = document.createElement("li");
    const link = element("a", "", symbol);
    link.href = `/heartbeat?symbol=${encodeURIComponent(symbol)}`;
    // A candle is a minute old when it closes: its age counts from there.
    const age = openTime === null ? null : now() - openTime - 60_000;
    const words = element("span", "num", age === null ? texts.nothing : ageText(age));
    if (age === null || age > 120_000) words.dataset.tone = "warn";
    row.append(link, words);
    return row;
  }));
}

on("feed-stored", (byTimeframe) => showAll(byTimeframe, "db"));
on("feed", (byTimeframe) => showAll(byTimeframe, "live"));
on("feed-status", showStatus);
showAll(stored, "db");
look();
setInterval(look, 500);
document.addEventListener("visibilitychange", () => (statusAt = Date.now()));
