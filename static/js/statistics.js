// What the accounts were worth or earned, or what the trades came to together; the drawdown below.

import { amountFormat, onShowData, read, sample, shareFormat } from "./backtest-page.js";
import { alpha, createChart, lib, token } from "./chart-theme.js";
import { number, percent, texts, time } from "./format.js";

const DRAWDOWN_SHARE = 0.26;
const MOST_ROWS = 120;
const panel = document.getElementById("statistics-curve");
const legend = document.getElementById("curve-legend");
const message = document.getElementById("curve-message");

// Several points within one second: the last one counts, the library knows no milliseconds.
function points(curve, name, sign = 1) {
  const found = new Map(curve.time.map((at, row) => [Math.floor(at / 1000), sign * curve[name][row]]));
  return [...found].map(([at, value]) => ({ time: at, value }));
}

function words(name, value) {
  const item = document.createElement("span");
  const strong = document.createElement("b");
  strong.textContent = value;
  item.append(`${name} `, strong);
  return item;
}

function draw(curve) {
  const isOfAccounts = curve.of === "accounts";
  let area, below;
  let shown = isOfAccounts ? "earned" : "value";
  const paint = () => {
    const [colour, down] = [token("--primary"), token("--down")];
    area?.applyOptions({ lineColor: colour, topColor: alpha(colour, 0.22), bottomColor: alpha(colour, 0) });
    below?.applyOptions({
      topLineColor: down, bottomLineColor: down, topFillColor1: "transparent", topFillColor2: "transparent", bottomFillColor1: alpha(down, 0.06), bottomFillColor2: alpha(down, 0.34),
    });
  };
  const formatOf = (name) => (name === "earned" ? shareFormat : amountFormat);
  const chart = createChart(document.getElementById("curve-chart"), { paint, moments: "stamp" });
  area = chart.addSeries(lib.AreaSeries, { lineWidth: 2, priceLineVisible: false, priceFormat: formatOf(shown) });
  below = chart.addSeries(
    lib.BaselineSeries, { baseValue: { type: "price", price: 0 }, lineWidth: 1.5, priceLineVisible: false, priceFormat: isOfAccounts ? shareFormat : amountFormat }, 1,
  );
  area.setData(points(curve, shown));
  below.setData(points(curve, "drawdown", -1));
  paint();
  const [upper, lower] = chart.panes();
  upper.setStretchFactor(1 - DRAWDOWN_SHARE);
  lower.setStretchFactor(DRAWDOWN_SHARE);
  chart.priceScale("right").applyOptions({ scaleMargins: { top: 0.14, bottom: 0.06 } });
  chart.timeScale().applyOptions({ rightOffset: 1, minBarSpacing: 0.01 });
  chart.timeScale().fitContent();

  const show = (value = area.data().at(-1)?.value, fall = below.data().at(-1)?.value) => {
    const names = { earned: texts.earned, value: isOfAccounts ? texts.worth : texts.sum };
    legend.replaceChildren(words(names[shown], formatOf(shown).formatter(value ?? 0)), words(texts.drawdown, below.options().priceFormat.formatter(fall ?? 0)));
  };
  chart.subscribeCrosshairMove(({ seriesData }) => {
    if (seriesData.size) show(seriesData.get(area)?.value, seriesData.get(below)?.value);
    else show();
  });
  show();

  for (const button of panel.querySelectorAll("[data-shown]")) {
    button.addEventListener("click", () => {
      shown = button.dataset.shown;
      area.applyOptions({ priceFormat: formatOf(shown) });
      area.setData(points(curve, shown));
      for (const each of panel.querySelectorAll("[data-shown]")) each.setAttribute("aria-pressed", String(each === button));
      show();
    });
  }
}

async function start() {
  try {
    const curve = await read(panel.dataset.curve);
    if (!curve.time.length) {
      message.textContent = texts.noPoints;
      message.hidden = false;
      return;
    }
    const isOfAccounts = curve.of === "accounts";
    const heads = [texts.time, isOfAccounts ? texts.worth : texts.sum, ...(isOfAccounts ? [texts.earned] : []), texts.drawdown];
    const rows = () =>
      sample([...curve.time.keys()], MOST_ROWS).map((row) => [
        time(curve.time[row], "stamp"),
        number(curve.value[row], 2),
        ...(isOfAccounts ? [percent(curve.earned[row], 2), percent(-curve.drawdown[row], 2)] : [number(-curve.drawdown[row], 2)]),
      ]);
    onShowData(document.getElementById("curve-data"), texts.equity, heads, rows);
    draw(curve);
  } catch {
    message.textContent = texts.notLoaded;
    message.hidden = false;
  }
}

// Where the whole year has no room, its newest weeks are what one wants to see.
const weeks = document.querySelector(".st-calendar")?.parentElement;
if (weeks) weeks.scrollLeft = weeks.scrollWidth;

start();
