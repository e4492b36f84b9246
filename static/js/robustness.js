// The page of a backtest's robustness while it is found out: its own stream says that it is further, and the page asks for what it shows.

const page = document.getElementById("robustness");
const ASK_MS = 500;
let timer = 0;
let stream = null;

async function ask() {
  timer = 0;
  await window.htmx.ajax("GET", `/backtests/${page.dataset.number}/robustness/live`, { target: "#robustness-live", swap: "outerMorph" });
  listen();
}

function later() {
  timer ||= setTimeout(ask, ASK_MS);
}

function close() {
  stream?.close();
  stream = null;
}

function listen() {
  if (document.getElementById("robustness-live").dataset.over === "true") return close();
  if (stream) return;
  stream = new EventSource(`/api/backtests/${page.dataset.id}/robustness/events`);
  stream.addEventListener("progress", later);
  stream.addEventListener("over", () => {
    close();
    later();
  });
}

document.addEventListener("htmx:after:swap", listen);
addEventListener("pagehide", close);
listen();
