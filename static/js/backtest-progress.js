// A run that is under way: how far it is, and its curve as it grows. The stream tells; what it may have missed is asked for.

import { address, amountFormat, id, page, read } from "./backtest-page.js";
import { alpha, createChart, lib, token } from "./chart-theme.js";
import { compact, texts } from "./format.js";
import { on } from "./live.js";

const ASK_AFTER_MS = 4000;
const SAY_EVERY_MS = 10_000;
const OVER = new Set(["completed", "canceled", "failed"]);
const points = new Map();
let chart = null;
let area = null;
let heardAt = 0;
let saidAt = Date.now();
let isOver = false;

const put = (name, text) => {
  const place = document.getElementById(name);
  if (place) place.textContent = text;
};

function paint() {
  const colour = token("--primary");
  area?.applyOptions({ lineColor: colour, topColor: alpha(colour, 0.22), bottomColor: alpha(colour, 0) });
}

function grow(fresh) {
  for (const [at, value] of fresh) points.set(at, Number(value));
  if (!points.size) return;
  if (!chart) {
    document.getElementById("growing-message").hidden = true;
    chart = createChart(document.getElementById("growing-chart"), { paint, moments: "stamp" });
    area = chart.addSeries(lib.AreaSeries, { lineWidth: 2, priceLineVisible: false, priceFormat: amountFormat });
    chart.timeScale().applyOptions({ rightOffset: 0, minBarSpacing: 0.01 });
    paint();
  }
  area.setData([...points].sort(([one], [other]) => one - other).map(([at, value]) => ({ time: Math.floor(at / 1000), value })));
  chart.timeScale().fitContent();
}

function name(state) {
  if (page.dataset.state === state) return;
  page.dataset.state = state;
  document.getElementById("backtest-progress").dataset.state = state;
  const pill = document.querySelector("#backtest-head .pill");
  pill.textContent = texts.states[state];
  pill.className = `pill ${state === "queued" ? "mut" : "info"}`;
}

function show(told) {
  if (isOver) return;
  heardAt = Date.now();
  if (OVER.has(told.state)) {
    isOver = true;
    location.reload();
    return;
  }
  name(told.state);
  const bar = document.getElementById("progress-bar");
  if (bar) bar.value = told.pct;
  put("progress-phase", told.words);
  put("progress-pct", `${Math.floor(told.pct)}\u00a0%`);
  put("progress-speed", told.bars_per_s ? texts.barsPerS.replace("{count}", compact(told.bars_per_s)) : "");
  put("progress-left", told.left ? texts.left.replace("{time}", told.left) : "");
  grow(told.points ?? []);
  if (Date.now() - saidAt < SAY_EVERY_MS) return;
  saidAt = Date.now();
  put("progress-said", `${told.words} ${Math.floor(told.pct)} %`);
}

on("backtest", (told) => told.id === id && show(told));

async function ask() {
  if (isOver || document.hidden || Date.now() - heardAt < ASK_AFTER_MS) return;
  try {
    show(await read(`${address}/progress`));
  } catch {
    // The next time, then.
  }
}

setInterval(ask, ASK_AFTER_MS / 2);
document.addEventListener("visibilitychange", ask);
ask();
