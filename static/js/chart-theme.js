// What all charts share: colours from the tokens, times in the reader's zone, the page's numbers.

import { language, number, time } from "./format.js";

const lib = window.LightweightCharts;

export function token(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

export function alpha(hex, opacity) {
  const parts = /^#(..)(..)(..)$/.exec(hex);
  return parts ? `rgba(${parts.slice(1).map((part) => parseInt(part, 16)).join(",")},${opacity})` : hex;
}

function colours() {
  const grid = { color: alpha(token("--line"), 0.75) };
  const crosshair = { color: token("--control-line"), labelBackgroundColor: token("--line-2") };
  return {
    layout: {
      background: { color: "transparent" },
      textColor: token("--fg-3"),
      fontFamily: token("--font"),
      fontSize: 11,
      // The built-in logo injects a style element, which the CSP refuses; the page carries a visible link instead.
      attributionLogo: false,
      panes: { separatorColor: token("--line-2"), separatorHoverColor: alpha(token("--control-line"), 0.3) },
    },
    grid: { vertLines: grid, horzLines: grid },
    rightPriceScale: { borderColor: token("--line-2") },
    timeScale: { borderColor: token("--line-2") },
    crosshair: { vertLine: crosshair, horzLine: crosshair },
  };
}

// The library has no time zones: data stays UTC, only labels are translated.
function tickLabel(seconds, kind) {
  const styles = ["year", "month", "day", "minute", "clock"];
  return time(seconds * 1000, styles[kind]);
}

/** Create a chart in `host`; `paint` sets the series' colours, now and whenever the theme changes. Without `decimals` each series says
 *  itself how its values are written; `moments` is the style of a time at the crosshair. */
export function createChart(host, { decimals, paint, moments = "moment" }) {
  const base = colours();
  const chart = lib.createChart(host, {
    ...base,
    autoSize: true,
    localization: {
      locale: language,
      ...(decimals === undefined ? {} : { priceFormatter: (value) => number(value, decimals) }),
      timeFormatter: (seconds) => time(seconds * 1000, moments),
    },
    timeScale: { ...base.timeScale, timeVisible: true, secondsVisible: false, rightOffset: 6, tickMarkFormatter: tickLabel },
    crosshair: { ...base.crosshair, mode: lib.CrosshairMode.Normal },
  });
  addEventListener("themechange", () => {
    chart.applyOptions(colours());
    paint();
  });
  return chart;
}

export { lib };
