// The panels below the chart: tabs, their counts, the current symbol only. Where there is no column for the book it is a tab as well, and
// the ticket a sheet.

const tabs = document.getElementById("tabs");
const list = tabs.querySelector("[role=tablist]");
const only = document.getElementById("only-symbol");
const ticket = document.getElementById("ticket-panel");
const book = document.getElementById("book-panel");
const TAB = "terminal.tab";
const ONLY = "terminal.only";

function kept(key) {
  try {
    return localStorage.getItem(key);
  } catch {
    return null;
  }
}

function keep(key, value) {
  try {
    localStorage.setItem(key, value);
  } catch {
    // Not remembered, then.
  }
}

// ---- tabs

const all = () => [...list.querySelectorAll("[role=tab]")].filter((tab) => tab.offsetParent !== null);

function choose(tab, { focus = false } = {}) {
  for (const each of list.querySelectorAll("[role=tab]")) {
    const isIt = each === tab;
    each.setAttribute("aria-selected", String(isIt));
    each.tabIndex = isIt ? 0 : -1;
    document.getElementById(each.getAttribute("aria-controls")).hidden = !isIt;
  }
  const name = tab.id.replace("tab-", "");
  tabs.dataset.tab = name;
  for (const act of tabs.querySelectorAll("[data-of-tab]")) act.hidden = act.dataset.ofTab !== name;
  if (focus) tab.focus();
  tab.scrollIntoView?.({ block: "nearest", inline: "nearest" });
}

list.addEventListener("click", (event) => {
  const tab = event.target.closest("[role=tab]");
  if (!tab) return;
  choose(tab);
  keep(TAB, tab.id);
});

list.addEventListener("keydown", (event) => {
  const shown = all();
  const at = shown.indexOf(event.target.closest("[role=tab]"));
  const next = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: shown.length - 1 }[event.key];
  if (next === undefined) return;
  event.preventDefault();
  const tab = shown[(next + shown.length) % shown.length];
  choose(tab, { focus: true });
  keep(TAB, tab.id);
});

// ---- counts, and the current symbol only: rows come and go with the stream

const COUNTED = { positions: ["#positions tr[id^=position-]"], "open-orders": ["#open-orders tbody tr[id]", "#external tbody tr[id]"] };

function refresh() {
  const symbol = only.checked ? only.value : "";
  for (const row of tabs.querySelectorAll("tr[data-symbol]")) row.hidden = Boolean(symbol) && row.dataset.symbol !== symbol;
  for (const [name, selectors] of Object.entries(COUNTED)) {
    const count = tabs.querySelector(`[data-count="${name}"]`);
    const found = selectors.flatMap((selector) => [...tabs.querySelectorAll(selector)]).filter((row) => !row.hidden);
    if (count) count.textContent = String(found.length);
  }
}

only.checked = kept(ONLY) === "yes";
only.addEventListener("change", () => {
  keep(ONLY, only.checked ? "yes" : "no");
  refresh();
});
document.addEventListener("htmx:after:swap", refresh);
document.addEventListener("htmx:sse:after:message", refresh);
refresh();

// ---- the book's place

const noColumn = matchMedia("(max-width: 1399px)");
const column = document.getElementById("terminal");

function placeBook() {
  if (!book) return;
  const isTab = noColumn.matches;
  const place = isTab ? document.getElementById("pane-book") : column;
  if (book.parentElement !== place) place.append(book);
  const chosen = list.querySelector("[aria-selected=true]");
  if (!isTab && chosen?.id === "tab-book") choose(document.getElementById("tab-positions"));
}

placeBook();
noColumn.addEventListener("change", placeBook);
const remembered = document.getElementById(kept(TAB) ?? "");
choose(remembered && all().includes(remembered) ? remembered : document.getElementById("tab-positions"));

// ---- the ticket as a sheet, where it has no column

const sheet = matchMedia("(max-width: 960px)");

function openTicket(side) {
  if (sheet.matches && !ticket.matches(":popover-open")) ticket.showPopover();
  if (side) document.dispatchEvent(new CustomEvent("ticket:side", { detail: { side } }));
  ticket.querySelector("input:checked, input:not([type=hidden])")?.focus();
}

function closeTicket() {
  if (ticket.matches(":popover-open")) ticket.hidePopover();
}

document.addEventListener("click", (event) => {
  const opener = event.target.closest("[data-open-ticket]");
  if (opener) openTicket(opener.dataset.openTicket);
  if (event.target.closest("[data-close-ticket]")) {
    closeTicket();
    document.querySelector("[data-open-ticket]")?.focus();
  }
});
document.addEventListener("ticket:price", () => sheet.matches && openTicket());
document.addEventListener("keydown", (event) => event.key === "Escape" && !document.querySelector("dialog[open]") && closeTicket());
sheet.addEventListener("change", closeTicket);
