// The chart of a quick backtest: candles with entries and exits, the equity below.

import { alpha, createChart, lib, token } from "./chart-theme.js";
import { decimalsOf, texts } from "./format.js";

const EQUITY_SHARE = 0.3;
// More of them hide the candles, and each other.
const MOST_WORDS = 24;
let shown = null;

function marker({ t, side, is_entry: isEntry }, hasWords) {
  const isBuy = side === "buy";
  return {
    time: t / 1000,
    position: isBuy ? "belowBar" : "aboveBar",
    shape: isBuy ? "arrowUp" : "arrowDown",
    color: token(isBuy ? "--up-fg" : "--down-fg"),
    text: hasWords ? (isEntry ? texts.entry : texts.exit) : "",
  };
}

function draw() {
  const data = document.getElementById("trial-data");
  if (shown?.data === data) return;
  shown?.chart.remove();
  shown = null;
  const host = document.getElementById("trial-chart");
  if (!host) return;
  const { candles, marks, equity, held, tick } = JSON.parse(data.textContent);
  const decimals = decimalsOf(tick);
  let price, area, line, markers;
  const paint = () => {
    const [up, down, colour] = [token("--up"), token("--down"), token("--primary")];
    price?.applyOptions({ upColor: up, downColor: down, wickUpColor: alpha(up, 0.75), wickDownColor: alpha(down, 0.85) });
    area?.applyOptions({ lineColor: colour, topColor: alpha(colour, 0.28), bottomColor: alpha(colour, 0) });
    line?.applyOptions({ color: token("--fg-3") });
    markers?.setMarkers(marks.map((mark) => marker(mark, marks.length <= MOST_WORDS)));
  };
  const chart = createChart(host, { decimals, paint });
  price = chart.addSeries(lib.CandlestickSeries, { borderVisible: false, priceLineVisible: false, priceFormat: { type: "price", precision: decimals, minMove: Number(tick) } });
  price.setData(candles.map(([t, open, high, low, close]) => ({ time: t / 1000, open, high, low, close })));
  area = chart.addSeries(lib.AreaSeries, { lineWidth: 2, priceLineVisible: false, title: texts.equity }, 1);
  area.setData(equity.map(([t, value]) => ({ time: t / 1000, value })));
  line = chart.addSeries(lib.LineSeries, { lineWidth: 1, lineStyle: lib.LineStyle.Dashed, priceLineVisible: false, lastValueVisible: false, crosshairMarkerVisible: false }, 1);
  line.setData(held.map(([t, value]) => ({ time: t / 1000, value })));
  markers = lib.createSeriesMarkers(price, []);
  paint();
  const [upper, lower] = chart.panes();
  upper.setStretchFactor(1 - EQUITY_SHARE);
  lower.setStretchFactor(EQUITY_SHARE);
  chart.timeScale().applyOptions({ rightOffset: 1 });
  chart.timeScale().fitContent();
  shown = { data, chart };
}

document.addEventListener("htmx:after:swap", draw);
draw();
