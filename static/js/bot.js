// The page of one bot: its tabs, and the curve of its equity.

import { alpha, createChart, lib, token } from "./chart-theme.js";
import { number, percent, texts, time } from "./format.js";
import { on } from "./live.js";
import { amountFormat, onShowData, read, sample } from "./backtest-page.js";

const MOST_ROWS = 200;
const page = document.getElementById("bot");
const capital = Number(page.dataset.capital);

// ---- tabs

const list = document.querySelector("#bot-tabs [role=tablist]");
const tabs = [...list.querySelectorAll("[role=tab]")];

function choose(chosen, { focus = false } = {}) {
  for (const tab of tabs) {
    const isIt = tab === chosen;
    tab.setAttribute("aria-selected", String(isIt));
    tab.tabIndex = isIt ? 0 : -1;
    document.getElementById(tab.getAttribute("aria-controls")).hidden = !isIt;
  }
  if (focus) chosen.focus();
  chosen.scrollIntoView({ block: "nearest", inline: "nearest" });
  // Whoever comes back, or sends the address to somebody, sees the same tab.
  const address = new URL(location.href);
  address.searchParams.set("tab", chosen.id.replace("bot-tab-", ""));
  history.replaceState(null, "", address);
}

list.addEventListener("click", (event) => {
  const tab = event.target.closest("[role=tab]");
  if (tab) choose(tab);
});

list.addEventListener("keydown", (event) => {
  const at = tabs.indexOf(event.target.closest("[role=tab]"));
  const next = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: tabs.length - 1 }[event.key];
  if (next === undefined) return;
  event.preventDefault();
  choose(tabs[(next + tabs.length) % tabs.length], { focus: true });
});

// ---- equity

const legend = document.getElementById("bot-legend");
const message = document.getElementById("bot-message");
const points = new Map();
let chart = null;
let area = null;
let line = null;

function paint() {
  const last = [...points.values()].at(-1)?.value ?? capital;
  const colour = token(last < capital ? "--down" : "--up");
  area?.applyOptions({ lineColor: colour, topColor: alpha(colour, 0.2), bottomColor: alpha(colour, 0) });
  line?.applyOptions({ color: token("--fg-3") });
}

function show(point) {
  const strong = document.createElement("b");
  strong.textContent = number(point.value, 2);
  legend.replaceChildren(`${texts.equity} `, strong, ` ${percent(point.value / capital - 1)} · ${time(point.time * 1000, "moment")}`);
}

function begin() {
  chart = createChart(document.getElementById("bot-chart"), { paint, moments: "stamp" });
  area = chart.addSeries(lib.AreaSeries, { lineWidth: 2, priceLineVisible: false, priceFormat: amountFormat });
  line = area.createPriceLine({ price: capital, color: token("--fg-3"), lineWidth: 1, lineStyle: lib.LineStyle.Dashed, title: texts.capital });
  chart.priceScale("right").applyOptions({ scaleMargins: { top: 0.2, bottom: 0.12 } });
  chart.timeScale().applyOptions({ rightOffset: 0, minBarSpacing: 0.01 });
  chart.subscribeCrosshairMove(({ time: at, seriesData }) => {
    const seen = seriesData.get(area);
    const newest = [...points.values()].at(-1);
    if (seen) show({ time: at, value: seen.value });
    else if (newest) show(newest);
  });
}

function put(fresh) {
  for (const [at, value] of fresh) points.set(Math.floor(at / 1000), { time: Math.floor(at / 1000), value: Number(value) });
  message.textContent = texts.noEquity;
  message.hidden = points.size > 0;
  if (!points.size) return;
  const isFirst = chart === null;
  if (isFirst) begin();
  const sorted = [...points.values()].sort((one, other) => one.time - other.time);
  points.clear();
  for (const point of sorted) points.set(point.time, point);
  // Who looks at the whole curve goes on seeing the whole of it; a view that was chosen stays.
  const shown = chart.timeScale().getVisibleLogicalRange();
  const isWhole = isFirst || !shown || (shown.from <= 0.5 && shown.to >= area.data().length - 1.5);
  area.setData(sorted);
  paint();
  show(sorted.at(-1));
  if (isWhole) chart.timeScale().fitContent();
}

async function load() {
  try {
    put((await read(`/bots/${page.dataset.number}/equity`)).points);
  } catch {
    message.textContent = texts.notLoaded;
    message.hidden = false;
  }
}

onShowData(document.getElementById("bot-data"), texts.equity, [texts.time, texts.equity], () =>
  sample([...points.values()].reverse(), MOST_ROWS).map((point) => [time(point.time * 1000, "stamp"), number(point.value, 2)]),
);
on("bot-equity", ({ points: fresh }) => put(fresh));
load();
