// The order ticket: which field was typed last, what follows it, and what the rest of the page asks of it. All numbers are the server's.

const SIZES = ["quantity", "amount", "percent", "risk"];

const form = () => document.getElementById("ticket-form");
const figures = () => document.getElementById("ticket-figures");
const field = (name) => document.getElementById(`tk-${name}`);

function setSource(name) {
  const ticket = form();
  ticket.dataset.source = name;
  ticket.elements.source.value = name;
}

function compute() {
  figures()?.dispatchEvent(new CustomEvent("ticket-again"));
}

function fill(input, value) {
  if (!input || input.value === value) return;
  input.value = value;
}

// ---- typing: the field that a person touches is meant, the others follow

document.addEventListener("input", (event) => {
  const ticket = event.target.closest?.("#ticket-form");
  if (!ticket) return;
  const name = event.target.name;
  if (SIZES.includes(name)) setSource(name);
  if (name === "risk_unit" && ticket.elements.risk.value) setSource("risk");
  clearSentence(event.target);
});

document.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-percent]");
  if (button?.closest("#ticket-form")) takePercent(button.dataset.percent);
});

function takePercent(percent) {
  const slider = field("percent");
  if (!slider) return;
  slider.value = percent;
  setSource("percent");
  compute();
}

let known = null;

// ---- what the server computed, put where it belongs

document.addEventListener("htmx:after:swap", () => {
  const shown = figures();
  if (!shown) return;
  follow(shown);
  showDenial(shown);
  // An answer brings the next order's name, and a balance that is another one now.
  const name = form().elements.intent.value;
  if (known !== null && known !== name) compute();
  known = name;
  const ticket = form();
  if (ticket.dataset.hasErrors === undefined) return;
  delete ticket.dataset.hasErrors;
  // A dialog that closes gives the focus back to where it was opened; then it goes to the mistake.
  requestAnimationFrame(() => focusFirstMistake(ticket));
});

function follow(shown) {
  const source = form().dataset.source;
  const { quantity, amount, percent } = shown.dataset;
  const values = { quantity, amount, percent };
  for (const [name, value] of Object.entries(values)) {
    if (name !== source && (value || source !== name)) fill(field(name), name === "percent" ? value || "0" : value);
  }
}

function note(input) {
  return input && document.getElementById(`${input.id}-note`);
}

function clearSentence(input) {
  const sentence = note(input);
  if (!sentence?.classList.contains("error")) return;
  sentence.textContent = "";
  input.removeAttribute("aria-invalid");
}

let marked = null;

// A denial that is about a field stands at that field.
function showDenial(shown) {
  const denial = document.getElementById("ticket-denial");
  if (marked && marked.isConnected) clearSentence(marked);
  marked = null;
  const input = shown.dataset.field && field(shown.dataset.field);
  const sentence = note(input);
  if (!denial || !sentence?.classList.contains("error")) return;
  sentence.textContent = denial.textContent.trim();
  input.setAttribute("aria-invalid", "true");
  marked = input;
  // Behind a closed fold nobody reads it: there it stands at the end as well.
  denial.hidden = !input.closest("details:not([open])");
}

function focusFirstMistake(ticket) {
  const wrong = ticket.querySelector("[aria-invalid=true]");
  if (!wrong) return;
  wrong.closest("details")?.setAttribute("open", "");
  wrong.focus();
}

// ---- other accounts: their rules come with a new ticket, once the list is closed

let areOthers = false;

document.addEventListener("change", (event) => {
  if (event.target.name === "broker_id" && event.target.closest("#ticket-brokers")) areOthers = true;
});

document.addEventListener(
  "toggle",
  (event) => {
    if (event.target.id !== "ticket-accounts" || event.target.open || !areOthers) return;
    areOthers = false;
    document.getElementById("ticket-brokers").dispatchEvent(new CustomEvent("ticket-accounts"));
  },
  true,
);

// ---- what the rest of the page asks of the ticket

document.addEventListener("ticket:price", (event) => {
  const ticket = form();
  if (!ticket) return;
  const kind = ticket.elements.kind.value;
  // A click on a price names the price that the order waits for; a market order becomes a limit there.
  if (kind === "market") ticket.querySelector("[name=kind][value=limit]").checked = true;
  const name = ["stop", "take_profit", "trailing"].includes(kind) ? "trigger_price" : "price";
  fill(field(name), String(event.detail.price));
  clearSentence(field(name));
  compute();
});

document.addEventListener("ticket:side", (event) => {
  const choice = form()?.querySelector(`[name=side][value="${event.detail.side === "sell" ? "sell" : "buy"}"]`);
  if (!choice) return;
  choice.checked = true;
  choice.focus();
  compute();
});

document.addEventListener("ticket:percent", (event) => takePercent(String(event.detail.percent)));

document.addEventListener("ticket:review", () => form()?.requestSubmit());

// ---- for how long an answer has been awaited

setInterval(() => {
  for (const time of document.querySelectorAll("#ticket-result time[data-since]")) {
    time.textContent = `${Math.max(Math.round((Date.now() - Date.parse(time.dateTime)) / 1000), 0)} s`;
  }
}, 1000);
