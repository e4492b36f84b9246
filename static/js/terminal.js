// The trading page: its chart with indicators and lines, the head with the last day, image and full screen.

import { Indicators } from "./chart-indicators.js";
import { Lines } from "./chart-lines.js";
import { token } from "./chart-theme.js";
import { compact, decimalsOf, number, percent } from "./format.js";
import { on } from "./live.js";
import { startChart } from "./price-chart.js";

const panel = document.getElementById("price-panel");
const chart = startChart();

// ---- the last day

const facts = Object.fromEntries([...document.querySelectorAll("[data-fact]")].map((cell) => [cell.dataset.fact, cell]));

function showFacts(market) {
  const decimals = decimalsOf(panel.dataset.tick);
  const price = (value) => (value === null ? "—" : number(Number(value), decimals));
  for (const name of ["high", "low", "spread"]) facts[name].textContent = price(market[name]);
  facts.turnover.textContent = market.turnover === null ? "—" : `${compact(Number(market.turnover))} ${panel.dataset.quote}`;
  const change = facts.change.firstElementChild ?? facts.change;
  const value = Number(market.change ?? 0);
  change.textContent = market.change === null ? "—" : percent(value);
  change.className = `delta ${value > 0 ? "up" : value < 0 ? "down" : "flat"}`;
}

if (chart) {
  new Indicators(chart, document.getElementById("indicators"));
  const lines = new Lines(chart, document.getElementById("price-chart"));
  lines.set(JSON.parse(document.getElementById("lines-data").textContent));
  on("lines", (given) => lines.set(given));
  on("market", showFacts);
  // Each connection begins with how the reader reads: after the first one, something was missed.
  let connections = 0;
  on("preferences", () => (connections += 1) > 1 && chart.catchUp());
  chart.begin();

  const menu = document.getElementById("indicators");
  menu.addEventListener("beforetoggle", () => {
    const { bottom, right } = document.getElementById("indicators-button").getBoundingClientRect();
    menu.style.setProperty("--menu-top", `${bottom + 4}px`);
    menu.style.setProperty("--menu-end", `${Math.max(8, innerWidth - right)}px`);
  });
  document.getElementById("save-image").addEventListener("click", () => saveImage(chart));
  document.getElementById("full-screen").addEventListener("click", () => {
    if (document.fullscreenElement) document.exitFullscreen();
    else panel.requestFullscreen();
  });
  const host = document.getElementById("price-chart");
  // A double click takes the price under it into the ticket; a single one moves the chart.
  host.addEventListener("dblclick", (event) => {
    const price = chart.price.coordinateToPrice(event.clientY - host.getBoundingClientRect().top);
    if (price > 0) document.dispatchEvent(new CustomEvent("ticket:price", { detail: { price: price.toFixed(chart.decimals) } }));
  });
  // For the console, and for tests.
  panel.chart = chart;
}

function saveImage({ chart: drawn, symbol, timeframe }) {
  const picture = drawn.takeScreenshot();
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [picture.width, picture.height];
  const context = canvas.getContext("2d");
  context.fillStyle = token("--panel");
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(picture, 0, 0);
  canvas.toBlob((blob) => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = `${symbol.replace("/", "-")}-${timeframe}.png`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  });
}
