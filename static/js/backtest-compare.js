// The equity of up to four runs in one chart, each from 100 on: other capitals and other currencies can be compared that way.

import { onShowData, read, sample } from "./backtest-page.js";
import { createChart, lib, token } from "./chart-theme.js";
import { number, texts, time } from "./format.js";

const TONES = ["--primary", "--violet", "--success", "--danger"];
const MOST_ROWS = 120;
const message = document.getElementById("overlay-message");
const legend = document.getElementById("overlay-legend");
const runs = [...document.querySelectorAll("[data-run]")].map((one) => one.dataset.run);

function legendItem(run, at) {
  const item = document.createElement("span");
  item.className = `legend-run tone-${at + 1}`;
  item.textContent = `#${run}`;
  return item;
}

function draw(curves) {
  const drawn = [];
  const paint = () => drawn.forEach((series, at) => series.applyOptions({ color: token(TONES[at]) }));
  const chart = createChart(document.getElementById("overlay-chart"), { decimals: 1, paint, moments: "stamp" });
  for (const curve of curves) {
    const series = chart.addSeries(lib.LineSeries, { lineWidth: 2, priceLineVisible: false });
    series.setData(curve.time.map((at, row) => ({ time: at / 1000, value: (100 * curve.equity[row]) / curve.equity[0] })));
    drawn.push(series);
  }
  paint();
  chart.priceScale("right").applyOptions({ scaleMargins: { top: 0.14, bottom: 0.08 } });
  chart.timeScale().applyOptions({ rightOffset: 1, minBarSpacing: 0.01 });
  chart.timeScale().fitContent();
  legend.replaceChildren(...runs.map(legendItem));
}

function rows(curves) {
  return sample(curves.flatMap((curve, run) => curve.time.map((at, row) => [at, run, row])).sort((one, other) => one[0] - other[0]), MOST_ROWS).map(
    ([at, run, row]) => [time(at, "stamp"), `#${runs[run]}`, number((100 * curves[run].equity[row]) / curves[run].equity[0], 1)],
  );
}

try {
  const curves = await Promise.all(runs.map((run) => read(`/backtests/${run}/curve`)));
  onShowData(document.getElementById("overlay-data"), texts.equity, [texts.time, "#", texts.equity], () => rows(curves));
  draw(curves);
} catch {
  message.textContent = texts.notLoaded;
  message.hidden = false;
}
