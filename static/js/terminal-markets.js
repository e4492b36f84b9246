// The list of symbols: keyboard, live prices, and on narrow screens a sheet of its own.

import { decimalsOf, number, percent } from "./format.js";
import { on } from "./live.js";

const panel = document.getElementById("markets");
const form = document.getElementById("market-form");
const search = document.getElementById("market-search");
const narrow = matchMedia("(max-width: 1180px)");

// ---- open and close, where it has no room of its own

export function openMarkets() {
  if (narrow.matches && !panel.matches(":popover-open")) panel.showPopover();
  search.focus();
  search.select();
}

function closeMarkets() {
  if (panel.matches(":popover-open")) panel.hidePopover();
}

document.addEventListener("click", (event) => {
  if (event.target.closest("[data-open-markets]")) openMarkets();
  if (event.target.closest("[data-close-markets]")) {
    closeMarkets();
    document.getElementById("pair")?.focus();
  }
});
narrow.addEventListener("change", closeMarkets);
document.addEventListener("symbols:open", openMarkets);

// ---- keyboard: arrows walk the list, Enter in the search takes the first

let isChosen = false;

const links = () => [...panel.querySelectorAll(".mk-link")];

/** Whether the list is the answer to what is typed now. */
function isAnswered() {
  const { search: asked, filter } = document.getElementById("market-rows").dataset;
  return asked === search.value && filter === form.elements.quote.value;
}

form.addEventListener("input", () => (isChosen = false));
form.addEventListener("submit", (event) => event.preventDefault());

document.addEventListener("htmx:after:swap", () => {
  if (!isChosen || !isAnswered()) return;
  isChosen = false;
  links()[0]?.click();
});

panel.addEventListener("keydown", (event) => {
  if (event.key === "Escape") {
    event.preventDefault();
    closeMarkets();
    (narrow.matches ? document.getElementById("pair") : document.activeElement)?.[narrow.matches ? "focus" : "blur"]();
  } else if (event.key === "Enter" && event.target === search) {
    event.preventDefault();
    // What was typed may not have been answered yet: the answer's first is meant.
    if (isAnswered()) links()[0]?.click();
    else isChosen = true;
  } else if (event.key === "ArrowDown" || event.key === "ArrowUp") {
    const all = links();
    const at = all.indexOf(event.target.closest(".mk-row")?.querySelector(".mk-link"));
    const next = event.key === "ArrowDown" ? at + 1 : at - 1;
    if (event.target !== search && at < 0) return;
    event.preventDefault();
    if (next < 0) search.focus();
    else all[Math.min(next, all.length - 1)]?.focus();
  }
});

// ---- live prices of what is watched

const pending = new Map();
let frame = null;

function show() {
  frame = null;
  for (const [symbol, price] of pending) {
    const row = panel.querySelector(`.mk-row[data-symbol="${CSS.escape(symbol)}"]`);
    if (!row) continue;
    row.querySelector(".mk-last").textContent = number(price, decimalsOf(row.dataset.tick));
    const open = Number(row.dataset.dayOpen);
    if (!open) continue;
    const change = price / open - 1;
    const cell = row.querySelector(".mk-change");
    const words = cell.firstElementChild ?? cell.appendChild(document.createElement("span"));
    words.className = `delta ${change > 0 ? "up" : change < 0 ? "down" : "flat"}`;
    words.textContent = percent(change);
  }
  pending.clear();
}

on("tick", (event) => {
  pending.set(event.s, Number(event.p));
  frame ??= requestAnimationFrame(show);
});
