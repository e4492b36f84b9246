// The page's one event stream. hx-sse swaps unnamed messages itself and dispatches named ones as DOM events on #live,
// with the text in `detail.data`. This module hands them out, and knows when the stream has gone silent.

import { setTheme } from "./app.js";
import { texts, time } from "./format.js";

const root = document.documentElement;
const live = document.getElementById("live");
const SILENCE_MS = 20_000;
const RETRY_MS = 1000;
const RETRY_AT_MOST_MS = 30_000;
const REGIONS = [
  "status-items", "trading-state", "kpis", "positions", "orders", "external", "audit", "deliveries", "balances", "hooks", "hook-positions", "updates",
  "open-orders", "fills", "portfolio-live",
];

let heardAt = Date.now();
let attempts = 0;
let isLeaving = false;

/** Call `handler` with the parsed JSON of each message named `name`. */
export function on(name, handler) {
  live?.addEventListener(name, (event) => handler(JSON.parse(event.detail.data || "{}")));
}

function setState(state) {
  if (root.dataset.live === state) return;
  root.dataset.live = state;
  const words = document.getElementById("live-stale");
  if (words) words.textContent = state === "stale" ? `${texts.staleSince} ${time(heardAt)}` : "";
}

function heard() {
  heardAt = Date.now();
  attempts = 0;
  setState("fresh");
}

/** The server could not resume where we were: take every region from a fresh page. */
async function resync() {
  const answer = await fetch(location.href);
  if (!answer.ok) return;
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  for (const id of REGIONS) {
    const old = document.getElementById(id);
    const fresh = page.getElementById(id);
    if (!old || !fresh) continue;
    old.replaceWith(document.adoptNode(fresh));
    window.htmx.process(fresh);
  }
}

// ---- preferences: whichever page changed them, this one follows. What it shows already is left as it is.

addEventListener("beforeunload", () => (isLeaving = true));
addEventListener("pageshow", () => (isLeaving = false));

function follow({ theme, language, timezone, currency, broker }) {
  if (theme !== root.dataset.theme) setTheme(theme);
  const isSameMoney = currency === root.dataset.currency;
  const isAsShown = isSameMoney && language === root.lang && timezone === root.dataset.timezone && (broker ?? root.dataset.broker) === root.dataset.broker;
  if (isAsShown || isLeaving) return;
  // Nobody's half-filled form is taken away from under their hands.
  const dialog = document.querySelector("dialog[open]");
  if (dialog) dialog.addEventListener("close", () => location.reload(), { once: true });
  else location.reload();
}

// hx-sse reconnects a stream that once stood; the very first connection is ours to repeat.
function retryFirstConnection() {
  const delay = Math.min(RETRY_MS * 2 ** attempts, RETRY_AT_MOST_MS);
  attempts += 1;
  setTimeout(() => window.htmx.trigger(live, "live:retry"), delay);
}

if (live) {
  live.addEventListener("htmx:sse:before:message", heard);
  live.addEventListener("htmx:response:error", (event) => {
    if (event.detail.ctx.response.status === 401) location.reload();
    else retryFirstConnection();
  });
  live.addEventListener("htmx:error", retryFirstConnection);
  live.addEventListener("htmx:sse:error", (event) => {
    if (event.detail.status === 401) location.reload();
  });
  on("resync", resync);
  on("preferences", follow);
  // A hidden tab holds no stream: its silence begins when it is looked at again.
  document.addEventListener("visibilitychange", () => (heardAt = Date.now()));
  setInterval(() => {
    if (!document.hidden && Date.now() - heardAt > SILENCE_MS) setState("stale");
  }, 1000);
}
