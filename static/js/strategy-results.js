// What was found: tabs, the marks of problems at their lines, and which part of the page is shown where there is room for one.

import { texts } from "./format.js";
import { editor } from "./strategy-editor.js";

const page = document.getElementById("strategy-editor");
const results = page.querySelector(".sed-results");
const list = results.querySelector("[role=tablist]");
const tabs = [...list.querySelectorAll("[role=tab]")];
const narrow = matchMedia("(max-width: 760px)");

// ---- tabs

export function choose(name, { focus = false } = {}) {
  for (const tab of tabs) {
    const isIt = tab.id === `sed-tab-${name}`;
    tab.setAttribute("aria-selected", String(isIt));
    tab.tabIndex = isIt ? 0 : -1;
    document.getElementById(tab.getAttribute("aria-controls")).hidden = !isIt;
    if (isIt && focus) tab.focus();
    if (isIt) tab.scrollIntoView({ block: "nearest", inline: "nearest" });
  }
}

const nameOf = (tab) => tab.id.replace("sed-tab-", "");

list.addEventListener("click", (event) => {
  const tab = event.target.closest("[role=tab]");
  if (tab) choose(nameOf(tab));
});

list.addEventListener("keydown", (event) => {
  const at = tabs.indexOf(event.target.closest("[role=tab]"));
  const next = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: tabs.length - 1 }[event.key];
  if (next === undefined) return;
  event.preventDefault();
  choose(nameOf(tabs[(next + tabs.length) % tabs.length]), { focus: true });
});

// ---- parts

function show(part) {
  page.dataset.show = part;
  for (const button of page.querySelectorAll("[data-sed-show]")) button.setAttribute("aria-pressed", String(button.dataset.sedShow === part));
}

page.querySelector(".sed-show").addEventListener("click", (event) => {
  const button = event.target.closest("[data-sed-show]");
  if (button) show(button.dataset.sedShow);
});
page.addEventListener("strategy:show", (event) => show(event.detail.part));
// A part that only a phone shows alone is nothing to be left in on a wider one.
narrow.addEventListener("change", () => !narrow.matches && page.dataset.show === "results" && show("code"));

// ---- problems

let marked = null;

function mark() {
  const problems = document.getElementById("sed-problems");
  if (problems === marked) return false;
  marked = problems;
  const rows = [...problems.querySelectorAll("[data-mark]")];
  editor.mark(
    rows.map(({ dataset, ...row }, at) => ({
      line: Number(dataset.mark), column: Number(dataset.column), severity: dataset.severity, message: rows[at].querySelector("[data-words]").textContent,
    })),
  );
  const count = results.querySelector("[data-sed-count=problems]");
  count.textContent = problems.dataset.count;
  count.hidden = problems.dataset.count === "0";
  count.classList.toggle("is-bad", problems.dataset.errors !== "0");
  return true;
}

// Whoever cannot see the list is told its length, once it is known.
function announce() {
  const { count } = marked.dataset;
  document.getElementById("sed-announced").textContent = count === "0" ? texts.noProblems : texts.problems.replace("{count}", count);
}

page.addEventListener("click", (event) => {
  const button = event.target.closest("[data-line]");
  if (!button) return;
  show("code");
  page.dispatchEvent(new CustomEvent("strategy:close"));
  editor.goTo(Number(button.dataset.line), Number(button.dataset.column));
});

// A failed backtest sends its reader to the line where it failed.
const place = /^#L(\d+)$/.exec(location.hash);
if (place) editor.goTo(Number(place[1]), 0);

for (const name of ["htmx:after:swap", "htmx:sse:after:message"]) document.addEventListener(name, () => mark() && announce());
mark();

// ---- what is written is looked at while it is written; a validation under way says more

page.addEventListener("strategy:kept", () => {
  if (!document.getElementById("sed-validate").disabled) window.htmx.trigger("#sed-check", "strategy-typed");
});

// ---- what runs is looked at

document.addEventListener("htmx:before:request", (event) => {
  const asked = event.detail.ctx.sourceElement?.id;
  const tab = { "sed-validate": "problems", "sed-try": "trial" }[asked];
  if (!tab) return;
  choose(tab);
  if (narrow.matches) show("results");
  page.dispatchEvent(new CustomEvent("strategy:close"));
});
