// The equity of a run beside having held, and another run if one is laid beside it; the drawdown below.

import { address, amountFormat, onShowData, page, read, sample, shareFormat } from "./backtest-page.js";
import { alpha, createChart, lib, token } from "./chart-theme.js";
import { number, percent, texts, time } from "./format.js";

const DRAWDOWN_SHARE = 0.26;
const MOST_ROWS = 120;
const legend = document.getElementById("curve-legend");
const message = document.getElementById("curve-message");
const { beside } = page.dataset;

const column = (curve, name, sign = 1) => curve.time.map((at, row) => ({ time: at / 1000, value: sign * curve[name][row] }));

function words(name, kind, value) {
  const item = document.createElement("span");
  item.className = `legend-run ${kind}`;
  const strong = document.createElement("b");
  strong.textContent = value === undefined ? "" : amountFormat.formatter(value);
  item.append(`${name} `, strong);
  return item;
}

function draw(curve, other) {
  let equity, held, second, below;
  const paint = () => {
    const [colour, down] = [token("--primary"), token("--down")];
    equity?.applyOptions({ lineColor: colour, topColor: alpha(colour, 0.22), bottomColor: alpha(colour, 0) });
    held?.applyOptions({ color: token("--warn") });
    second?.applyOptions({ color: token("--violet") });
    below?.applyOptions({
      topLineColor: down, bottomLineColor: down, topFillColor1: "transparent", topFillColor2: "transparent", bottomFillColor1: alpha(down, 0.06), bottomFillColor2: alpha(down, 0.34),
    });
  };
  const chart = createChart(document.getElementById("curve-chart"), { paint, moments: "stamp" });
  const thin = { lineWidth: 1.5, priceLineVisible: false, lastValueVisible: false, crosshairMarkerVisible: false, priceFormat: amountFormat };
  held = chart.addSeries(lib.LineSeries, { ...thin, lineStyle: lib.LineStyle.Dashed });
  held.setData(column(curve, "held"));
  if (other) {
    second = chart.addSeries(lib.LineSeries, thin);
    second.setData(column(other, "equity"));
  }
  equity = chart.addSeries(lib.AreaSeries, { lineWidth: 2, priceLineVisible: false, priceFormat: amountFormat });
  equity.setData(column(curve, "equity"));
  below = chart.addSeries(lib.BaselineSeries, { baseValue: { type: "price", price: 0 }, lineWidth: 1.5, priceLineVisible: false, priceFormat: shareFormat }, 1);
  below.setData(column(curve, "drawdown", -1));
  paint();
  const [upper, lower] = chart.panes();
  upper.setStretchFactor(1 - DRAWDOWN_SHARE);
  lower.setStretchFactor(DRAWDOWN_SHARE);
  chart.priceScale("right").applyOptions({ scaleMargins: { top: 0.14, bottom: 0.06 } });
  chart.timeScale().applyOptions({ rightOffset: 1, minBarSpacing: 0.01 });
  chart.timeScale().fitContent();

  const show = (value = (series) => series?.data().at(-1)?.value) => {
    const items = [words(texts.thisRun, "is-own", value(equity)), words(texts.held, "is-held", value(held))];
    if (second) items.push(words(texts.run.replace("{number}", beside), "is-beside", value(second)));
    legend.replaceChildren(...items);
  };
  chart.subscribeCrosshairMove(({ seriesData }) => {
    if (seriesData.size) show((series) => seriesData.get(series)?.value);
    else show();
  });
  show();

  for (const button of document.querySelectorAll("[data-scale]")) {
    button.addEventListener("click", () => {
      const isLog = button.dataset.scale === "log";
      chart.priceScale("right").applyOptions({ mode: isLog ? lib.PriceScaleMode.Logarithmic : lib.PriceScaleMode.Normal });
      for (const each of document.querySelectorAll("[data-scale]")) each.setAttribute("aria-pressed", String(each === button));
    });
  }
}

async function start() {
  try {
    const [curve, other] = await Promise.all([read(`${address}/curve`), beside ? read(`/backtests/${beside}/curve`) : null]);
    const rows = () =>
      sample([...curve.time.keys()], MOST_ROWS).map((row) => [
        time(curve.time[row], "stamp"), number(curve.equity[row], 2), number(curve.held[row], 2), percent(-curve.drawdown[row], 1),
      ]);
    onShowData(document.getElementById("curve-data"), texts.equity, [texts.time, texts.equity, texts.held, texts.drawdown], rows);
    draw(curve, other);
  } catch {
    message.textContent = texts.notLoaded;
    message.hidden = false;
  }
}

start();
