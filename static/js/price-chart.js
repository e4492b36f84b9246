// The price chart: candles, volume, fill markers, live. The reader's zoom is theirs: no fitContent, and setData only where history changes.
// What follows the candles (indicators, lines) is added with `follow`.

import { alpha, createChart, lib, token } from "./chart-theme.js";
import { bar, Candles, MINUTES } from "./candles.js";
import { decimalsOf, number, texts } from "./format.js";
import { on } from "./live.js";

const PAGE = 500;
const NEAR_THE_EDGE = 30;
const MEND_AFTER_MS = [1000, 5000, 20_000];

export class PriceChart {
  constructor(element) {
    this.element = element;
    this.exchange = element.dataset.exchange;
    this.symbol = element.dataset.symbol;
    this.timeframe = element.dataset.timeframe;
    this.decimals = decimalsOf(element.dataset.tick);
    this.fills = JSON.parse(document.getElementById("fills-data").textContent).filter((fill) => fill.s === this.symbol);
    this.legend = document.getElementById("chart-legend");
    this.last = document.getElementById("last-price");
    this.message = document.getElementById("chart-message");
    this.pending = new Map();
    this.followers = [];
    this.hasVolume = true;
    this.chart = createChart(document.getElementById("price-chart"), { decimals: this.decimals, paint: () => this.paint() });
    this.addSeries(element.dataset.tick);
    this.paint();
    this.chart.subscribeCrosshairMove((move) => this.showLegend(this.candles?.byTime.get(move.time * 1000)));
    this.chart.timeScale().subscribeVisibleLogicalRangeChange((range) => {
      if (range && range.from < NEAR_THE_EDGE) this.loadOlder();
    });
  }

  /** Have `follower` told: drawAll(candles) when history changed, drawNewest(candle), legend(time), paint(). */
  follow(follower) {
    this.followers.push(follower);
    if (this.candles) follower.drawAll?.(this.candles.sorted());
  }

  tell(what, ...given) {
    for (const follower of this.followers) follower[what]?.(...given);
  }

  addSeries(tick) {
    this.price = this.chart.addSeries(lib.CandlestickSeries, {
      borderVisible: false,
      priceLineWidth: 1,
      priceFormat: { type: "price", precision: this.decimals, minMove: Number(tick) },
    });
    this.volume = this.chart.addSeries(lib.HistogramSeries, {
      priceFormat: { type: "volume" },
      priceScaleId: "volume",
      lastValueVisible: false,
      priceLineVisible: false,
    });
    this.chart.priceScale("right").applyOptions({ scaleMargins: { top: 0.12, bottom: 0.2 } });
    this.chart.priceScale("volume").applyOptions({ scaleMargins: { top: 0.86, bottom: 0 } });
    this.markers = lib.createSeriesMarkers(this.price, []);
  }

  paint() {
    const [up, down] = [token("--up"), token("--down")];
    this.price.applyOptions({ upColor: up, downColor: down, wickUpColor: alpha(up, 0.75), wickDownColor: alpha(down, 0.85) });
    this.tell("paint");
    if (this.candles) this.drawAll();
  }

  showVolume(isShown) {
    this.hasVolume = isShown;
    this.volume.applyOptions({ visible: isShown });
    this.chart.priceScale("right").applyOptions({ scaleMargins: { top: 0.12, bottom: isShown ? 0.2 : 0.06 } });
  }

  // ---- history

  async fetchRows(timeframe, parameters) {
    const query = new URLSearchParams({ exchange: this.exchange, symbol: this.symbol, timeframe, ...parameters });
    const answer = await fetch(`/api/ohlcv?${query}`);
    if (!answer.ok) throw new Error(`candles: status ${answer.status}`);
    return (await answer.json()).items;
  }

  async load() {
    const timeframe = this.timeframe;
    const candles = new Candles(timeframe);
    try {
      const [rows, minutes] = await Promise.all([
        this.fetchRows(timeframe, { limit: PAGE }),
        timeframe === "1m" ? [] : this.fetchRows("1m", { limit: MINUTES[timeframe] }),
      ]);
      candles.add(rows);
      const current = rows.length ? candles.floor(minutes.at(-1)?.[0] ?? 0) : 0;
      candles.addMinutes(minutes.filter(([at]) => at >= current));
    } catch {
      this.say(texts.candlesFailed);
      return;
    }
    // Another timeframe was chosen meanwhile.
    if (timeframe !== this.timeframe) return;
    this.candles = candles;
    this.isComplete = candles.byTime.size < PAGE;
    this.drawAll();
    this.say(candles.byTime.size ? "" : (texts.loadingCandles ?? texts.noCandles));
  }

  /** Take what closed while nobody told us: what is shown stays where it is. */
  async catchUp() {
    const candles = this.candles;
    if (!candles?.byTime.size) return this.begin();
    const timeframe = this.timeframe;
    try {
      const rows = await this.fetchRows(timeframe, { limit: PAGE });
      if (candles !== this.candles) return undefined;
      const isLong = rows.length && rows[0][0] > Math.max(...candles.byTime.keys());
      // Longer away than one page reaches back: what lies between would be a hole.
      if (isLong) return this.begin();
      candles.add(rows);
      this.drawAll();
    } catch {
      this.say(texts.candlesFailed);
    }
    return undefined;
  }

  // What lies between was not told of: after a restart the server fetches it a moment later than we would.
  mend() {
    if (this.mending) return;
    this.mending = true;
    for (const [index, after] of MEND_AFTER_MS.entries()) {
      setTimeout(() => {
        if (index === MEND_AFTER_MS.length - 1) this.mending = false;
        this.catchUp();
      }, after);
    }
  }

  /** Load, and show the newest candles. */
  async begin() {
    await this.load();
    this.show();
  }

  async loadOlder() {
    const candles = this.candles;
    if (!candles || this.isLoading || this.isComplete) return;
    this.isLoading = true;
    try {
      const oldest = Math.min(...candles.byTime.keys());
      const rows = await this.fetchRows(this.timeframe, { limit: PAGE, end: new Date(oldest).toISOString() });
      const older = rows.filter(([at]) => at < oldest);
      this.isComplete = older.length === 0;
      candles.add(older);
      if (candles === this.candles) this.drawAll();
    } catch {
      this.isComplete = true;
    } finally {
      this.isLoading = false;
    }
  }

  show() {
    const count = this.candles?.byTime.size ?? 0;
    const isWide = innerWidth > 760;
    if (count) this.chart.timeScale().setVisibleLogicalRange({ from: count - (isWide ? 150 : 62), to: count + (isWide ? 8 : 4) });
  }

  // ---- drawing

  drawAll() {
    const candles = this.candles.sorted();
    this.price.setData(candles);
    this.volume.setData(candles.map((candle) => this.volumeBar(candle)));
    this.drawMarkers();
    this.tell("drawAll", candles);
    this.showNewest(candles.at(-1));
  }

  drawNewest(candle) {
    this.price.update(candle);
    this.volume.update(this.volumeBar(candle));
    this.tell("drawNewest", candle);
    this.showNewest(candle);
  }

  volumeBar(candle) {
    const colour = token(candle.close >= candle.open ? "--up" : "--down");
    return { time: candle.time, value: candle.volume, color: alpha(colour, 0.26) };
  }

  drawMarkers() {
    const isWide = innerWidth > 760;
    // One arrow for a candle and a side: a pile of them hides the candles.
    const counts = new Map();
    for (const fill of this.fills) {
      const key = `${this.candles.floor(fill.t)} ${fill.side}`;
      counts.set(key, (counts.get(key) ?? 0) + 1);
    }
    const marks = [...counts].map(([key, count]) => {
      const [at, side] = key.split(" ");
      const isBuy = side === "buy";
      return {
        time: Number(at) / 1000,
        position: isBuy ? "belowBar" : "aboveBar",
        shape: isBuy ? "arrowUp" : "arrowDown",
        color: token(isBuy ? "--up-fg" : "--down-fg"),
        text: isWide ? `${isBuy ? texts.buy : texts.sell}${count > 1 ? ` ×${count}` : ""}` : "",
      };
    });
    this.markers.setMarkers(marks.sort((a, b) => a.time - b.time));
  }

  showNewest(candle) {
    if (!candle) return;
    this.newest = candle;
    const colour = candle.close >= candle.open ? "up" : "down";
    this.price.applyOptions({ priceLineColor: token(`--${colour}`) });
    this.last.className = `chart-last num ${colour}`;
    this.last.textContent = number(candle.close, this.decimals);
    if (!this.isHovering) this.showLegend(null);
  }

  showLegend(hovered) {
    this.isHovering = Boolean(hovered);
    const candle = hovered ?? this.newest;
    if (!candle) return;
    const parts = [
      [texts.open, candle.open],
      [texts.high, candle.high],
      [texts.low, candle.low],
      [texts.last, candle.close],
    ].map(([name, value]) => legendItem(name, number(value, this.decimals)));
    if (this.hasVolume) parts.push(legendItem(texts.volume, number(candle.volume, 2)));
    for (const follower of this.followers) {
      for (const [name, text, colour] of follower.legend?.(candle.time) ?? []) parts.push(legendItem(name, text, colour));
    }
    this.legend.replaceChildren(...parts);
  }

  say(text) {
    this.message.textContent = text;
    this.message.hidden = !text;
  }

  // ---- live: the newest of each kind wins, drawn once per frame

  queue(kind, event) {
    if (event.s !== this.symbol) return;
    // A closed candle is final; every minute keeps its own place.
    this.pending.set(kind === "candle" ? `candle ${event.t}` : kind, [kind, event]);
    this.frame ??= requestAnimationFrame(() => this.flush());
  }

  flush() {
    this.frame = null;
    const events = [...this.pending.values()];
    this.pending.clear();
    if (!this.candles) return;
    for (const [kind, event] of events) {
      const candle =
        kind === "candle"
          ? this.candles.minute(bar(event.t, event.o, event.h, event.l, event.c, event.v))
          : this.candles.tick(Number(event.p), event.t);
      if (candle && this.newest && candle.at - this.newest.at > this.candles.length) this.mend();
      if (candle && (!this.newest || candle.at >= this.newest.at)) this.drawNewest(candle);
    }
    if (this.candles.byTime.size) this.say("");
  }

  addFill(fill) {
    if (fill.s !== this.symbol || !this.candles) return;
    this.fills.push(fill);
    this.drawMarkers();
  }

  async setTimeframe(timeframe) {
    this.timeframe = timeframe;
    for (const button of this.element.querySelectorAll("[data-set-timeframe]")) {
      button.setAttribute("aria-pressed", String(button.dataset.setTimeframe === timeframe));
    }
    for (const input of document.querySelectorAll("input[type=hidden][name=timeframe]")) input.value = timeframe;
    const address = new URL(location.href);
    address.searchParams.set("timeframe", timeframe);
    history.replaceState(history.state, "", address);
    await this.begin();
  }
}

function legendItem(name, value, colour = "") {
  const item = document.createElement("span");
  if (colour) item.className = `legend-line ${colour}`;
  const strong = document.createElement("b");
  strong.textContent = value;
  item.append(`${name} `, strong);
  return item;
}

/** Make the chart of the page's panel, if it has one, and keep it alive from the page's stream. */
export function startChart() {
  const panel = document.querySelector("[data-chart]");
  if (!panel) return null;
  const chart = new PriceChart(panel);
  panel.addEventListener("click", (event) => {
    const button = event.target.closest("[data-set-timeframe]");
    if (button) chart.setTimeframe(button.dataset.setTimeframe);
  });
  on("candle", (event) => event.tf === "1m" && chart.queue("candle", event));
  on("tick", (event) => chart.queue("tick", event));
  on("fill", (event) => chart.addFill(event));
  on("candles", (event) => event.s === chart.symbol && chart.catchUp());
  on("resync", () => chart.catchUp());
  return chart;
}
