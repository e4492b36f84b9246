// Keys without a modifier, as long as the reader wants them; never while something is typed, and none of them sends an order.

const root = document.documentElement;
const PAGES = {
  t: "/trading", d: "/", o: "/portfolio", y: "/history", w: "/webhooks", h: "/heartbeat", b: "/brokers", r: "/bots", s: "/symbols", p: "/account/preferences",
};
const PERCENTS = { 1: 25, 2: 50, 3: 75, 4: 100 };
const SIDES = { b: "buy", s: "sell" };
const SEQUENCE_MS = 1200;

let goingSince = 0;

function tell(name, detail) {
  document.dispatchEvent(new CustomEvent(name, { detail }));
}

function isTyping(target) {
  return target.isContentEditable || target.matches("code-editor, textarea, select, input:not([type=checkbox]):not([type=radio]):not([type=range]):not([type=button])");
}

function stepTimeframe(by) {
  const buttons = [...document.querySelectorAll("[data-set-timeframe]")];
  const at = buttons.findIndex((button) => button.getAttribute("aria-pressed") === "true");
  buttons[at + by]?.click();
}

document.addEventListener("keydown", (event) => {
  const isOnTerminal = document.getElementById("ticket-panel") !== null;
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && isOnTerminal) {
    event.preventDefault();
    tell("ticket:review", {});
    return;
  }
  const hasModifier = event.ctrlKey || event.metaKey || event.altKey;
  if (!root.hasAttribute("data-shortcuts") || event.defaultPrevented || hasModifier || event.repeat || isTyping(event.target)) return;
  if (document.querySelector("dialog[open]")) return;
  const key = event.key.toLowerCase();
  if (goingSince && Date.now() - goingSince < SEQUENCE_MS) {
    goingSince = 0;
    if (PAGES[key]) {
      event.preventDefault();
      location.href = PAGES[key];
    }
    return;
  }
  goingSince = key === "g" ? Date.now() : 0;
  if (key === "?") document.getElementById("shortcuts-dialog")?.showModal();
  else if (isOnTerminal && key === "/") tell("symbols:open", {});
  else if (isOnTerminal && SIDES[key]) tell("ticket:side", { side: SIDES[key] });
  else if (isOnTerminal && PERCENTS[key]) tell("ticket:percent", { percent: PERCENTS[key] });
  else if (key === "[") stepTimeframe(-1);
  else if (key === "]") stepTimeframe(1);
  else return;
  event.preventDefault();
});
