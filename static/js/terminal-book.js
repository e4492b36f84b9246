// The order book and the market's trades: the newest of each drawn once per frame. A click on a level takes its price into the ticket.

import { decimalsOf, number, texts, time } from "./format.js";
import { on } from "./live.js";

const panel = document.getElementById("book-panel");
const LEVELS = 15;
const TAPE = 60;
const SILENCE_MS = 20_000;

class Book {
  constructor() {
    this.symbol = panel.dataset.symbol;
    this.prices = decimalsOf(panel.dataset.tick);
    this.quantities = decimalsOf(panel.dataset.step);
    this.asks = rows(document.getElementById("book-asks"));
    this.bids = rows(document.getElementById("book-bids"));
    this.last = document.getElementById("book-last");
    this.spread = document.getElementById("book-spread");
    this.none = document.getElementById("book-none");
    this.tape = document.getElementById("tape-rows");
    this.trades = [];
    this.heardAt = null;
  }

  queueBook(book) {
    if (book.s !== this.symbol) return;
    this.pending = book;
    this.heard();
  }

  queueTrades({ s, trades }) {
    if (s !== this.symbol) return;
    // Newest last, and never more than are shown: a burst costs no more than one screen.
    this.trades = [...this.trades, ...trades].slice(-TAPE);
    this.heard();
  }

  heard() {
    this.heardAt = Date.now();
    this.setStale(false);
    this.frame ??= requestAnimationFrame(() => this.draw());
  }

  draw() {
    this.frame = null;
    const book = this.pending;
    this.pending = null;
    if (book) {
      this.none.hidden = true;
      const asks = book.a.slice(0, LEVELS);
      const bids = book.b.slice(0, LEVELS);
      const deepest = Math.max(total(asks), total(bids));
      this.side(this.asks, asks, deepest);
      this.side(this.bids, bids, deepest);
      this.spread.textContent = asks.length && bids.length ? number(asks[0][0] - bids[0][0], this.prices) : "—";
    }
    this.drawTrades();
  }

  side(lines, levels, deepest) {
    let sum = 0;
    lines.forEach((line, index) => {
      const level = levels[index];
      line.hidden = !level;
      if (!level) return;
      const [price, quantity] = level;
      sum += Number(quantity);
      line.dataset.price = price;
      line.firstChild.textContent = number(Number(price), this.prices);
      line.lastChild.textContent = number(Number(quantity), this.quantities);
      line.style.setProperty("--depth", `${deepest ? (100 * sum) / deepest : 0}%`);
    });
  }

  drawTrades() {
    if (!this.trades.length) return;
    const newest = this.trades.map(([at, price, quantity, side]) => tradeRow(time(at), number(Number(price), this.prices), number(Number(quantity), this.quantities), side));
    const [, price, , side] = this.trades.at(-1);
    this.last.textContent = number(Number(price), this.prices);
    this.last.className = `num ${side === "buy" ? "up" : "down"}`;
    this.tape.prepend(...newest.reverse());
    while (this.tape.children.length > TAPE) this.tape.lastElementChild.remove();
    this.trades = [];
  }

  setStale(isStale) {
    if (panel.hasAttribute("data-stale") === isStale) return;
    panel.toggleAttribute("data-stale", isStale);
    document.getElementById("book-stale").hidden = !isStale;
    document.getElementById("book-stale-words").textContent = isStale ? `${texts.staleBook} ${time(this.heardAt)}` : "";
  }
}

function rows(side) {
  const made = Array.from({ length: LEVELS }, (_, index) => {
    const row = document.createElement("button");
    row.type = "button";
    row.className = "lv num";
    row.hidden = true;
    // One of each side is reached with Tab, the others from it with the arrows.
    row.tabIndex = index ? -1 : 0;
    row.append(document.createElement("span"), document.createElement("span"));
    return row;
  });
  side.append(...(side.classList.contains("asks") ? [...made].reverse() : made));
  return made;
}

function tradeRow(at, price, quantity, side) {
  const row = document.createElement("li");
  row.className = `num ${side}`;
  const spoken = document.createElement("span");
  spoken.className = "vh";
  spoken.textContent = side === "buy" ? texts.buy : texts.sell;
  const cells = [price, quantity, at].map((text) => {
    const cell = document.createElement("span");
    cell.textContent = text;
    return cell;
  });
  cells[0].prepend(spoken);
  row.append(...cells);
  return row;
}

function total(levels) {
  return levels.reduce((sum, [, quantity]) => sum + Number(quantity), 0);
}

if (panel) {
  const book = new Book();
  on("book", (event) => book.queueBook(event));
  on("tape", (event) => book.queueTrades(event));
  setInterval(() => book.heardAt && !document.hidden && book.setStale(Date.now() - book.heardAt > SILENCE_MS), 1000);

  panel.addEventListener("click", (event) => {
    const level = event.target.closest(".lv");
    if (level) document.dispatchEvent(new CustomEvent("ticket:price", { detail: { price: level.dataset.price } }));
    const choice = event.target.closest("[data-show-book]");
    if (!choice) return;
    panel.dataset.show = choice.dataset.showBook;
    for (const button of panel.querySelectorAll("[data-show-book]")) button.setAttribute("aria-pressed", String(button === choice));
  });
  panel.addEventListener("keydown", (event) => {
    if (!event.target.matches(".lv") || (event.key !== "ArrowUp" && event.key !== "ArrowDown")) return;
    const all = [...panel.querySelectorAll(".lv:not([hidden])")];
    const next = all[all.indexOf(event.target) + (event.key === "ArrowDown" ? 1 : -1)];
    event.preventDefault();
    next?.focus();
  });
}
