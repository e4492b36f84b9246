// The list: runs that are chosen to be compared, and what becomes of those that are under way.

import { on } from "./live.js";

const MOST = 4;
const REFRESH_MS = 400;

function choose() {
  const button = document.getElementById("compare-button");
  if (!button) return;
  const boxes = [...document.querySelectorAll("#backtests-compare input[name=run]")];
  const count = boxes.filter((box) => box.checked).length;
  for (const box of boxes) box.disabled = !box.checked && count >= MOST;
  button.disabled = count < 2;
  const words = document.getElementById("compare-words");
  words.textContent = count ? words.dataset.some.replace("{count}", String(count)) : words.dataset.none;
}

document.addEventListener("change", (event) => event.target.matches("input[name=run]") && choose());
document.addEventListener("htmx:after:swap", choose);
choose();

let timer = 0;

/** Read the list anew, unless somebody is choosing from it. */
function refresh() {
  const isChoosing = document.querySelector("#backtests input[name=run]:checked");
  if (!isChoosing && document.getElementById("backtests-filter")) window.htmx.trigger("#backtests-filter", "submit");
}

on("backtest", ({ id, state, pct }) => {
  const row = document.querySelector(`[data-backtest="${id}"]`);
  const bar = row?.querySelector("progress");
  if (bar) bar.value = pct;
  // Something began, went on or ended: its row says more than a bar.
  if (row?.dataset.state === state) return;
  clearTimeout(timer);
  timer = setTimeout(refresh, REFRESH_MS);
});
