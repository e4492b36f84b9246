// The equity curve: one area, live, with what was put in and taken out marked on it where the page says so.

import { alpha, createChart, lib, token } from "./chart-theme.js";
import { number, texts } from "./format.js";
import { on } from "./live.js";

const panel = document.querySelector("[data-equity]");

if (panel) {
  const legend = document.getElementById("equity-legend");
  const message = document.getElementById("equity-message");
  const decimals = Number(panel.dataset.decimals);
  let area = null;
  let mark = () => {};
  let newest = 0;

  const paint = () => {
    const colour = token("--primary");
    area?.applyOptions({ lineColor: colour, topColor: alpha(colour, 0.28), bottomColor: alpha(colour, 0), priceLineColor: colour });
    mark();
  };
  const show = (value) => {
    const strong = document.createElement("b");
    strong.textContent = number(value, decimals);
    legend.replaceChildren(`${texts.equity} `, strong);
  };
  const point = (event) => ({ time: Math.floor(event.t / 1000), value: Number(event.v) });

  const chart = createChart(document.getElementById("equity-chart"), { decimals, paint });
  area = chart.addSeries(lib.AreaSeries, { lineWidth: 2, priceLineVisible: false });
  chart.priceScale("right").applyOptions({ scaleMargins: { top: 0.22, bottom: 0.16 } });
  // A young account has few points: room for six more would leave most of the chart empty.
  chart.timeScale().applyOptions({ rightOffset: 0 });
  paint();

  // Two points within one second: the later one counts.
  const points = new Map(JSON.parse(document.getElementById("equity-data").textContent).map((event) => [point(event).time, point(event)]));
  area.setData([...points.values()].sort((a, b) => a.time - b.time));
  if (points.size) {
    newest = Math.max(...points.keys());
    show(points.get(newest).value);
    chart.timeScale().fitContent();
  }

  const flows = document.getElementById("equity-flows");
  const markers = flows && lib.createSeriesMarkers(area, []);
  mark = () => {
    if (!markers) return;
    const marks = JSON.parse(flows.textContent).map(point).sort((a, b) => a.time - b.time);
    markers.setMarkers(
      marks.map(({ time, value }) => ({
        time,
        position: value > 0 ? "belowBar" : "aboveBar",
        shape: value > 0 ? "arrowUp" : "arrowDown",
        color: token("--warn"),
        text: number(value, decimals),
      })),
    );
  };
  mark();

  on(panel.dataset.equity, (event) => {
    const next = point(event);
    if (next.time < newest) return;
    // Who looks at the whole curve goes on seeing the whole of it; a view that was chosen stays.
    const shown = chart.timeScale().getVisibleLogicalRange();
    const isWhole = !shown || (shown.from <= 0.5 && shown.to >= area.data().length - 1.5);
    newest = next.time;
    area.update(next);
    if (isWhole) chart.timeScale().fitContent();
    show(next.value);
    message.hidden = true;
  });
}
