// What the charts of one backtest share: the page's facts, reading its data, tables of what is drawn; and the place of its menu.

import { number, percent } from "./format.js";

export const page = document.getElementById("backtest");
export const id = page?.dataset.id;
export const address = `/backtests/${page?.dataset.number}`;

/** Read JSON, or throw. */
export async function read(path) {
  const answer = await fetch(path, { headers: { Accept: "application/json" } });
  if (!answer.ok) throw new Error(`${path}: status ${answer.status}`);
  return answer.json();
}

/** How an amount is written on an axis: cents where there is room for them. */
export const amountFormat = { type: "custom", minMove: 0.01, formatter: (value) => number(value, Math.abs(value) < 100_000 ? 2 : 0) };
export const shareFormat = { type: "custom", minMove: 0.0001, formatter: (value) => percent(value, 1) };

function cell(kind, text, isNumber) {
  const made = document.createElement(kind);
  if (kind === "th") made.scope = "col";
  if (isNumber) made.className = "r";
  made.textContent = text;
  return made;
}

/** Fill a "Show data" with a table, made anew each time it is opened: `rows()` gives rows of texts. */
export function onShowData(details, caption, heads, rows) {
  details?.addEventListener("toggle", () => {
    if (!details.open) return;
    const table = document.createElement("table");
    table.className = "tbl";
    const title = document.createElement("caption");
    title.className = "vh";
    title.textContent = caption;
    const head = table.createTHead().insertRow();
    head.append(...heads.map((text, at) => cell("th", text, at > 0)));
    const body = table.createTBody();
    for (const row of rows()) body.insertRow().append(...row.map((text, at) => cell("td", text, at > 0)));
    table.prepend(title);
    details.querySelector(".scroll").replaceChildren(table);
  });
}

/** At most `most` of many, evenly taken, the first and the last among them. */
export function sample(many, most) {
  if (many.length <= most) return many;
  return Array.from({ length: most }, (_, at) => many[Math.round((at * (many.length - 1)) / (most - 1))]);
}

// A menu opens where its button is.
document.addEventListener(
  "beforetoggle",
  (event) => {
    const button = document.querySelector(`[popovertarget="${event.target.id}"]`);
    if (!event.target.matches?.(".bt-export") || !button) return;
    const { bottom, right } = button.getBoundingClientRect();
    event.target.style.setProperty("--menu-top", `${bottom + 4}px`);
    event.target.style.setProperty("--menu-end", `${Math.max(8, document.documentElement.clientWidth - right)}px`);
  },
  true,
);
