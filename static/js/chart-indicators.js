// Indicators on the price chart: chosen in a small menu, remembered in this browser. Adding or taking one away leaves the view where it is.

import { alpha, lib, token } from "./chart-theme.js";
import { number, texts } from "./format.js";
import { Indicator } from "./indicators.js";

const KEY = "chart.indicators";
const USUAL = {
  ema1: { on: true, period: 20 },
  ema2: { on: true, period: 50 },
  bollinger: { on: false, period: 20 },
  rsi: { on: false, period: 14 },
  volume: { on: true },
};
const SHORTEST = 2;
const LONGEST = 400;
const LOOKS = { ema1: "--ma1", ema2: "--ma2", bollinger: "--violet", rsi: "--violet" };

export class Indicators {
  constructor(chart, menu) {
    this.chart = chart;
    this.menu = menu;
    this.chosen = remembered();
    this.shown = new Map();
    for (const box of menu.querySelectorAll("[data-indicator]")) box.checked = this.chosen[box.dataset.indicator].on;
    for (const input of menu.querySelectorAll("[data-period]")) input.value = this.chosen[input.dataset.period].period;
    menu.addEventListener("change", (event) => this.change(event.target));
    chart.follow(this);
    this.apply();
  }

  change(control) {
    const { indicator, period } = control.dataset;
    if (indicator) this.chosen[indicator].on = control.checked;
    if (period) {
      const wanted = Math.round(Number(control.value));
      const isGood = wanted >= SHORTEST && wanted <= LONGEST;
      if (isGood) this.chosen[period].period = wanted;
      else control.value = this.chosen[period].period;
      this.remove(period);
    }
    store(this.chosen);
    this.apply();
  }

  apply() {
    this.chart.showVolume(this.chosen.volume.on);
    for (const name of Object.keys(LOOKS)) {
      const isOn = this.chosen[name].on;
      if (isOn && !this.shown.has(name)) this.add(name);
      if (!isOn) this.remove(name);
    }
    this.chart.showLegend(null);
  }

  add(name) {
    const { period } = this.chosen[name];
    const kind = name.startsWith("ema") ? "ema" : name;
    const indicator = new Indicator(kind, period);
    const line = (pane, options = {}) =>
      this.chart.chart.addSeries(lib.LineSeries, { ...plain(), color: token(LOOKS[name]), ...options }, pane);
    let series;
    if (name === "bollinger") series = { upper: line(0), middle: line(0, { lineStyle: lib.LineStyle.Dashed }), lower: line(0) };
    else if (name === "rsi") series = { value: line(1, { priceFormat: { type: "price", precision: 1, minMove: 0.1 } }) };
    else series = { value: line(0) };
    this.shown.set(name, { name, period, indicator, series, values: new Map() });
    if (name === "rsi") this.dressRsi(series.value);
    if (this.chart.candles) this.draw(this.shown.get(name), this.chart.candles.sorted());
  }

  dressRsi(series) {
    for (const price of [30, 70]) {
      series.createPriceLine({ price, color: alpha(token("--fg-3"), 0.7), lineWidth: 1, lineStyle: lib.LineStyle.Dotted, axisLabelVisible: false, title: "" });
    }
    const [main, pane] = this.chart.chart.panes();
    main.setStretchFactor?.(4);
    pane?.setStretchFactor?.(1);
  }

  remove(name) {
    const shown = this.shown.get(name);
    if (!shown) return;
    this.shown.delete(name);
    for (const series of Object.values(shown.series)) this.chart.chart.removeSeries(series);
  }

  drawAll(candles) {
    for (const shown of this.shown.values()) this.draw(shown, candles);
  }

  draw(shown, candles) {
    const points = shown.indicator.reset(candles);
    shown.values = new Map(points.map((point) => [point.time, point.value]));
    for (const [part, series] of Object.entries(shown.series)) series.setData(points.map((point) => pick(point, part)));
  }

  drawNewest(candle) {
    for (const shown of this.shown.values()) {
      const point = shown.indicator.update(candle);
      if (!point) continue;
      shown.values.set(point.time, point.value);
      for (const [part, series] of Object.entries(shown.series)) series.update(pick(point, part));
    }
  }

  paint() {
    for (const shown of this.shown.values()) {
      for (const series of Object.values(shown.series)) series.applyOptions({ color: token(LOOKS[shown.name]) });
    }
  }

  legend(time) {
    const found = [];
    for (const { name, period, values } of this.shown.values()) {
      const value = values.get(time);
      if (value === undefined) continue;
      if (name === "bollinger") found.push([`${texts.bollinger} ${period}`, `${this.price(value.lower)} – ${this.price(value.upper)}`, name]);
      else if (name === "rsi") found.push([`${texts.rsi} ${period}`, number(value, 1), name]);
      else found.push([`${texts.ema} ${period}`, this.price(value), name]);
    }
    return found;
  }

  price(value) {
    return number(value, this.chart.decimals);
  }
}

function pick(point, part) {
  return part === "value" ? point : { time: point.time, value: point.value[part] };
}

function plain() {
  return { lineWidth: 1.5, lastValueVisible: false, priceLineVisible: false, crosshairMarkerVisible: false };
}

function remembered() {
  const chosen = structuredClone(USUAL);
  try {
    const stored = JSON.parse(localStorage.getItem(KEY) ?? "{}");
    for (const [name, usual] of Object.entries(chosen)) {
      if (typeof stored[name]?.on === "boolean") usual.on = stored[name].on;
      if (Number.isInteger(stored[name]?.period) && stored[name].period >= SHORTEST && stored[name].period <= LONGEST) usual.period = stored[name].period;
    }
  } catch {
    // A browser that keeps nothing shows the usual.
  }
  return chosen;
}

function store(chosen) {
  try {
    localStorage.setItem(KEY, JSON.stringify(chosen));
  } catch {
    // Not remembered, then.
  }
}
