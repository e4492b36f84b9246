// The candles with entries and exits, linked with the list of trades: whichever is chosen is shown in the other. Candles are read in
// pieces as they come into sight, so that years of minutes cost no more than a day of them.

import { address, onShowData, page, read } from "./backtest-page.js";
import { alpha, createChart, lib, token } from "./chart-theme.js";
import { decimalsOf, number, percent, texts, time } from "./format.js";

const PIECE = 1000;
// A trade that is longer is shown without its end.
const MOST = 20 * PIECE;
const WIDTH = 160;
const EDGE = 20;
// More of them hide the candles, and each other.
const MOST_WORDS = matchMedia("(max-width: 760px)").matches ? 6 : 30;
const MOST_ROWS = 200;

const { symbol, exchange, timeframe } = page.dataset;
const [since, until] = [Number(page.dataset.since), Number(page.dataset.until)];
const step = Number(page.dataset.step);
const decimals = decimalsOf(page.dataset.tick || "0.01");
const legend = document.getElementById("price-legend");
const message = document.getElementById("price-message");
const list = () => document.getElementById("backtest-trades");

let candles = [];
let trades = [];
let chosen = null;
let isReading = false;
let series, line, markers;

const paint = () => {
  const [up, down] = [token("--up"), token("--down")];
  series?.applyOptions({ upColor: up, downColor: down, wickUpColor: alpha(up, 0.75), wickDownColor: alpha(down, 0.85) });
  mark();
};
const chart = createChart(document.getElementById("price-chart"), { decimals, paint, moments: "stamp" });
series = chart.addSeries(lib.CandlestickSeries, { borderVisible: false, priceLineVisible: false, lastValueVisible: false, priceFormat: { type: "price", precision: decimals, minMove: 10 ** -decimals } });
line = chart.addSeries(lib.LineSeries, { lineWidth: 2, lineStyle: lib.LineStyle.Dashed, priceLineVisible: false, lastValueVisible: false, crosshairMarkerVisible: false, autoscaleInfoProvider: () => null });
markers = lib.createSeriesMarkers(series, []);
const scale = chart.timeScale();
paint();
chart.priceScale("right").applyOptions({ scaleMargins: { top: 0.12, bottom: 0.1 } });
scale.applyOptions({ rightOffset: 4 });

// ---- what is drawn

const floor = (at) => at - (at % step);

function marker(trade, isEntry, hasWords) {
  const isBuy = (trade.side === "long") === isEntry;
  return {
    time: floor(isEntry ? trade.in : trade.out) / 1000,
    position: isBuy ? "belowBar" : "aboveBar",
    shape: isBuy ? "arrowUp" : "arrowDown",
    color: token(isBuy ? "--up-fg" : "--down-fg"),
    text: hasWords ? `${isEntry ? texts.entry : texts.exit} ${trade.number}` : "",
  };
}

function mark() {
  if (!markers) return;
  const { from, to } = scale.getVisibleRange() ?? { from: 0, to: 0 };
  const seen = trades.filter((trade) => trade.out / 1000 >= from && trade.in / 1000 <= to).length;
  const both = trades.flatMap((trade) => [marker(trade, true, seen <= MOST_WORDS), ...(trade.open ? [] : [marker(trade, false, seen <= MOST_WORDS)])]);
  markers.setMarkers(both.filter((one) => one.time * 1000 >= first() && one.time * 1000 <= last()).sort((a, b) => a.time - b.time));
}

const first = () => candles[0]?.[0] ?? Infinity;
const last = () => candles.at(-1)?.[0] ?? -Infinity;

function draw() {
  series.setData(candles.map(([at, open, high, low, close]) => ({ time: at / 1000, open, high, low, close })));
  connect();
  mark();
}

function connect() {
  const isIn = chosen && floor(chosen.in) >= first() && floor(chosen.out) <= last() && floor(chosen.out) > floor(chosen.in);
  line.setData(isIn ? [{ time: floor(chosen.in) / 1000, value: chosen.entry }, { time: floor(chosen.out) / 1000, value: chosen.exit }] : []);
  if (chosen) line.applyOptions({ color: token(chosen.profit >= 0 ? "--up" : "--down") });
}

function tell() {
  legend.replaceChildren();
  if (!chosen) return;
  const words = document.createElement("b");
  const change = (chosen.side === "long" ? 1 : -1) * (chosen.exit / chosen.entry - 1);
  words.textContent = `#${chosen.number}  ${number(chosen.entry, decimals)} → ${number(chosen.exit, decimals)}  ${percent(change)}`;
  legend.append(words);
}

// ---- candles, in pieces

async function piece(start, limit = PIECE) {
  const rows = [];
  let at = start;
  while (rows.length < limit) {
    const found = await some(at, Math.min(PIECE, limit - rows.length));
    rows.push(...found);
    if (!found.length || found.at(-1)[0] >= until) break;
    at = found.at(-1)[0] + step;
  }
  return rows;
}

async function some(start, limit) {
  const query = new URLSearchParams({ symbol, exchange, timeframe, start: new Date(Math.max(start, since)).toISOString(), end: new Date(until + step).toISOString(), limit });
  return (await read(`/api/ohlcv?${query}`)).items.map((row) => row.map(Number));
}

async function put(rows) {
  candles = rows;
  if (candles.length) trades = (await read(`${address}/marks?${new URLSearchParams({ first: first(), last: last() + step })}`)).items;
  message.textContent = texts.noCandles;
  message.hidden = candles.length > 0;
  draw();
}

async function around(start, end) {
  const limit = Math.min(MOST, Math.max(PIECE, Math.ceil((end - start) / step) + 2 * WIDTH));
  await put(await piece(floor(start) - Math.round((limit * step - (end - start)) / 2), limit));
}

async function more() {
  const range = scale.getVisibleLogicalRange();
  if (isReading || !range || !candles.length) return;
  const isBefore = range.from < EDGE && first() > since;
  const isAfter = range.to > candles.length - EDGE && last() + step <= until;
  if (!isBefore && !isAfter) return;
  isReading = true;
  try {
    const [from, known] = [first(), candles.length];
    const found = isBefore ? (await piece(from - PIECE * step)).filter(([at]) => at < from) : (await piece(last() + step)).filter(([at]) => at > last());
    if (!found.length) return;
    await put(isBefore ? [...found, ...candles] : [...candles, ...found]);
    const added = isBefore ? candles.length - known : 0;
    scale.setVisibleLogicalRange({ from: range.from + added, to: range.to + added });
  } catch {
    // What is drawn stays; moving the view tries again.
  } finally {
    isReading = false;
  }
}

let timer = 0;
scale.subscribeVisibleLogicalRangeChange(() => {
  clearTimeout(timer);
  timer = setTimeout(() => {
    mark();
    more();
  }, 150);
});

// ---- one trade

const row = (at) => {
  let [low, high] = [0, candles.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (candles[middle][0] < at) low = middle + 1;
    else high = middle;
  }
  return low;
};

/** Put a trade in the middle; the zoom stays, unless the trade is longer than what is seen. */
function centre(trade) {
  const seen = scale.getVisibleLogicalRange();
  const [from, to] = [row(floor(trade.in)), row(floor(trade.out))];
  const width = Math.max(seen ? seen.to - seen.from : WIDTH, (to - from) * 1.25, EDGE);
  const middle = (from + to) / 2;
  scale.setVisibleLogicalRange({ from: middle - width / 2, to: middle + width / 2 });
}

async function choose(trade, { isMoved = true } = {}) {
  chosen = trade;
  highlight();
  tell();
  isReading = true;
  try {
    if (floor(trade.in) < first() || floor(trade.out) > last()) {
      const seen = scale.getVisibleLogicalRange();
      await around(trade.in, trade.out);
      if (seen) scale.setVisibleLogicalRange(seen);
    }
    connect();
    if (isMoved) centre(trade);
  } catch {
    message.textContent = texts.notLoaded;
    message.hidden = false;
  } finally {
    isReading = false;
  }
}

function highlight() {
  for (const one of list().querySelectorAll("tr[data-trade]")) {
    const isIt = chosen !== null && Number(one.dataset.trade) === chosen.number;
    one.classList.toggle("is-chosen", isIt);
    one.querySelector("button").setAttribute("aria-pressed", String(isIt));
  }
}

document.addEventListener("click", (event) => {
  const one = event.target.closest("tr[data-trade]");
  if (!one) return;
  const { trade, in: start, out, entry, exit, side, profit } = one.dataset;
  choose({ number: Number(trade), in: Number(start), out: Number(out), entry: Number(entry), exit: Number(exit), side, profit: Number(profit) });
});

chart.subscribeClick(({ time: at }) => {
  if (at === undefined) return;
  const found = trades.findLast((trade) => floor(trade.in) <= at * 1000 && at * 1000 <= floor(trade.out));
  if (!found) return;
  choose(found, { isMoved: false });
  list().querySelector(`tr[data-trade="${found.number}"]`)?.scrollIntoView({ block: "nearest" });
});

document.addEventListener("htmx:after:swap", highlight);

// ---- the whole

async function newest() {
  try {
    await around(Math.max(since, until - PIECE * step), until);
    scale.setVisibleLogicalRange({ from: candles.length - WIDTH, to: candles.length + 4 });
  } catch {
    message.textContent = texts.notLoaded;
    message.hidden = false;
  }
}

document.getElementById("price-reset").addEventListener("click", newest);
onShowData(document.getElementById("price-data"), texts.time, [texts.time, texts.open, texts.high, texts.low, texts.last], () => {
  const { from, to } = scale.getVisibleLogicalRange() ?? { from: 0, to: MOST_ROWS };
  const seen = candles.slice(Math.max(0, Math.floor(from)), Math.ceil(to));
  return seen.slice(-MOST_ROWS).map(([at, ...prices]) => [time(at, "stamp"), ...prices.slice(0, 4).map((price) => number(price, decimals))]);
});

// Drawn once it is in sight: a page of two charts is not late for the one below.
new IntersectionObserver((entries, observer) => {
  if (!entries.some((entry) => entry.isIntersecting)) return;
  observer.disconnect();
  newest();
}).observe(document.getElementById("backtest-price"));
