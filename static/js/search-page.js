// One search while it goes on: its own stream says that something changed, and the page asks for what it shows.

const page = document.getElementById("search");
const address = `/backtests/searches/${page.dataset.number}`;
const ASK_MS = 700;
let order = "best";
let timer = 0;
let stream = null;

const live = () => document.getElementById("search-live");
const chosen = (part) => document.querySelector(`select[data-heat="${part}"]`)?.value ?? "";

async function ask() {
  timer = 0;
  // A menu that is open would close.
  if (document.activeElement?.matches("select[data-heat]")) return later();
  const query = new URLSearchParams({ x: chosen("x"), y: chosen("y"), sort: order });
  await window.htmx.ajax("GET", `${address}/live?${query}`, { target: "#search-live", swap: "outerMorph" });
  listen();
}

function later() {
  timer ||= setTimeout(ask, ASK_MS);
}

/** Listen while it goes on; what is over says nothing more. */
function listen() {
  if (live().dataset.over === "true") {
    stream?.close();
    stream = null;
    return;
  }
  if (stream) return;
  stream = new EventSource(`/api/searches/${page.dataset.id}/events`);
  stream.addEventListener("progress", later);
  stream.addEventListener("over", () => {
    stream?.close();
    stream = null;
    later();
  });
}

document.addEventListener("change", (event) => {
  if (!event.target.matches("select[data-heat]")) return;
  event.target.blur();
  later();
});

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-sort]");
  if (!button) return;
  order = button.dataset.sort;
  later();
});

addEventListener("pagehide", () => stream?.close());
listen();
