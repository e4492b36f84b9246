// The page of one strategy: what is kept where. The text is kept on the server as a draft a moment after it was typed, and in the browser
// until the server has it; a version is made by saving. Two tabs never overwrite each other: each draft names the one it was made from.

import { toast } from "./app.js";
import { texts, time } from "./format.js";

const page = document.getElementById("strategy-editor");
const form = document.getElementById("strategy-form");
const dialog = document.getElementById("sed-leave");
const conflict = document.getElementById("sed-conflict");
const id = page.dataset.id;
const BACKUP = `strategy.${id}`;
const KEEP_AFTER_MS = 1000;
const RETRY_MS = 5000;
// A request that goes on while its page ends may carry this much.
const KEEPALIVE_BYTES = 60_000;
const others = new BroadcastChannel(BACKUP);

await customElements.whenDefined("code-editor");
export const editor = document.getElementById("sed-code");

let kept = editor.value;
let shown = document.getElementById("sed-state");
// The text that the head's word on validity is about.
let checked = shown.querySelector("[data-of-text=changed]").hidden ? kept : null;
let asked = kept;
let isSaving = false;
let theirs = null;
let timer = 0;
let keeping = Promise.resolve(true);
let isLeaving = false;

const state = () => document.getElementById("sed-state");
const revision = () => Number(document.getElementById("sed-revision").value);
const isKept = () => editor.value === kept;

function setRevision(number) {
  document.getElementById("sed-revision").value = String(number);
}

function say(text, isBad = false) {
  const place = document.getElementById("sed-saved");
  place.textContent = text;
  place.classList.toggle("is-bad", isBad);
}

// ---- the browser's own copy, for what the server never got

function back() {
  try {
    if (isKept()) localStorage.removeItem(BACKUP);
    else localStorage.setItem(BACKUP, JSON.stringify({ source: editor.value, revision: revision() }));
  } catch {
    // Without storage the server's draft is all there is.
  }
}

function fromBackup() {
  try {
    return JSON.parse(localStorage.getItem(BACKUP));
  } catch {
    return null;
  }
}

// ---- the draft

/** Read a text of this strategy: `{version}`, `{template}`, or what the server has as its newest. */
export async function read(which = {}) {
  const answer = await fetch(`/strategies/${id}/text?${new URLSearchParams(which)}`);
  if (!answer.ok) throw new Error(`text: status ${answer.status}`);
  return answer.json();
}

async function send(isLast) {
  if (theirs) return false;
  if (isKept()) return true;
  const source = editor.value;
  const body = new FormData();
  body.set("source", source);
  body.set("revision", String(revision()));
  say(texts.keeping);
  try {
    const answer = await fetch(`/strategies/${id}/draft`, {
      method: "POST", body, headers: { "X-CSRF-Token": form.elements.csrf_token.value }, keepalive: isLast && source.length < KEEPALIVE_BYTES,
    });
    if (answer.status === 409) {
      await meet();
      return false;
    }
    if (!answer.ok) throw new Error(`draft: status ${answer.status}`);
    const told = await answer.json();
    kept = source;
    setRevision(told.revision);
    others.postMessage(told.revision);
    page.dispatchEvent(new CustomEvent("strategy:kept"));
    say(told.is_draft ? `${texts.draftKept} ${time(told.at)}` : texts.asSaved);
    back();
    return isKept();
  } catch {
    say(texts.notKept, true);
    later(RETRY_MS);
    return false;
  }
}

/** Keep what stands in the editor; whether the server has it then. One after the other: a draft names the one before. */
export function keep({ isLast = false } = {}) {
  clearTimeout(timer);
  keeping = keeping.then(() => send(isLast));
  return keeping;
}

function judge() {
  const isChecked = editor.value === checked;
  for (const one of state().querySelectorAll("[data-of-text]")) one.hidden = isChecked === (one.dataset.ofText === "changed");
}

function later(after = KEEP_AFTER_MS) {
  clearTimeout(timer);
  timer = setTimeout(keep, after);
}

editor.addEventListener("input", () => {
  judge();
  back();
  if (isKept()) return;
  say(texts.unsaved);
  later();
});

// ---- another tab, or another device

/** Somebody else kept another text: what this tab has and nobody else, is never given up silently. */
async function meet() {
  theirs = await read();
  if (isKept() || theirs.source === editor.value) {
    take();
    return;
  }
  clearTimeout(timer);
  say(texts.unsaved, true);
  conflict.hidden = false;
}

function settle(newest) {
  setRevision(newest);
  theirs = null;
  conflict.hidden = true;
}

function take() {
  const { source, revision: newest, at } = theirs;
  kept = source;
  settle(newest);
  editor.value = source;
  say(at ? `${texts.draftKept} ${time(at)}` : texts.asSaved);
  back();
  refresh();
}

/** What the head and the list of versions say, from a fresh page. */
async function refresh() {
  const answer = await fetch(location.pathname).catch(() => null);
  if (!answer?.ok) return;
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  asked = kept;
  for (const name of ["sed-state", "sed-versions"]) {
    const region = document.adoptNode(fresh.getElementById(name));
    document.getElementById(name).replaceWith(region);
    window.htmx.process(region);
  }
  follow();
}

conflict.addEventListener("click", (event) => {
  const choice = event.target.closest("[data-conflict]")?.dataset.conflict;
  if (choice === "theirs") take();
  if (choice === "mine") {
    settle(theirs.revision);
    keep();
  }
  if (choice === "compare") page.dispatchEvent(new CustomEvent("strategy:compare", { detail: { source: theirs.source } }));
});

others.addEventListener("message", (event) => {
  // Where the server is not reached now, the next draft meets the other one; a promise that failed would let none follow.
  if (event.data !== revision() && !theirs) keeping = keeping.then(meet).catch(() => later(RETRY_MS));
});
document.addEventListener("strategy-conflict", () => meet());

// ---- saving a version

form.addEventListener(
  "submit",
  (event) => {
    clearTimeout(timer);
    if (form.dataset.ready === "") return;
    // A draft on its way would be newer than the one that this names.
    event.preventDefault();
    event.stopImmediatePropagation();
    keeping = keeping.then(isKept);
    // A task of its own: within the event of one submission no other one begins.
    keeping.then(() => setTimeout(submit));
  },
  true,
);

function submit() {
  form.dataset.ready = "";
  form.requestSubmit();
  delete form.dataset.ready;
}

document.addEventListener("strategy-saved", (event) => {
  setRevision(event.detail.revision);
  others.postMessage(revision());
  document.getElementById("sed-note").value = "";
  document.title = document.title.replace(/^.*? · /, `${form.elements.name.value} · `);
  back();
  if (!isKept()) later();
});

// ---- what the server says of the text that it was sent

document.addEventListener("htmx:before:request", (event) => {
  const from = event.detail.ctx.sourceElement?.id;
  if (!["sed-validate", "strategy-form"].includes(from)) return;
  asked = editor.value;
  isSaving = from === "strategy-form";
});

function follow() {
  if (state() === shown) return;
  shown = state();
  if (isSaving && !shown.querySelector(".error")) kept = asked;
  isSaving = false;
  checked = shown.querySelector("[data-of-text=changed]").hidden ? asked : null;
  judge();
  back();
  if (!isKept()) say(texts.unsaved);
}

document.addEventListener("htmx:after:swap", follow);
document.addEventListener("htmx:sse:after:message", follow);

// ---- keys: save, validate, try. They come before the editor's own.

document.addEventListener(
  "keydown",
  (event) => {
    if (!(event.ctrlKey || event.metaKey) || event.altKey || document.querySelector("dialog[open]")) return;
    if (event.target.closest(".sed-assistant") && event.key === "Enter") return;
    const button = { s: "sed-save", Enter: event.shiftKey ? "sed-try" : "sed-validate" }[event.key];
    if (!button || (event.key === "s" && event.shiftKey)) return;
    // There it sends the question.
    if (event.key === "Enter" && event.target.id === "assistant-question") return;
    event.preventDefault();
    event.stopPropagation();
    document.getElementById(button).click();
  },
  true,
);

// ---- nobody leaves without what was not kept

addEventListener("beforeunload", (event) => {
  if (isLeaving || isKept()) return;
  keep({ isLast: true });
  event.preventDefault();
});

document.addEventListener(
  "click",
  async (event) => {
    const link = event.target.closest("a[href]");
    if (!link || link.target || event.ctrlKey || event.metaKey || event.shiftKey || event.button || isKept()) return;
    if (link.matches("[data-restore], [data-template]") || link.getAttribute("href").startsWith("#")) return;
    event.preventDefault();
    dialog.dataset.href = link.href;
    if (await keep()) leave();
    else dialog.showModal();
  },
  true,
);

function leave() {
  isLeaving = true;
  location.href = dialog.dataset.href;
}

document.getElementById("sed-leave-anyway").addEventListener("click", leave);
addEventListener("pageshow", () => (isLeaving = false));
document.addEventListener("visibilitychange", () => document.hidden && !isKept() && keep({ isLast: true }));

// ---- another text into the editor: a version, a template. It is a change like any other, and can be undone.

page.addEventListener("click", async (event) => {
  const link = event.target.closest("[data-restore], [data-template]");
  if (!link) return;
  event.preventDefault();
  const { restore, template } = link.dataset;
  try {
    const { source } = await read(restore ? { version: restore } : { template });
    editor.value = source;
    toast("info", restore ? texts.restored.replace("{number}", restore) : texts.templateUsed);
    page.dispatchEvent(new CustomEvent("strategy:show", { detail: { part: "code" } }));
    editor.focus();
  } catch {
    toast("error", texts.notReached);
  }
});

// ---- what a crash left behind

const left = fromBackup();
if (left && left.source !== editor.value) {
  const server = editor.value;
  editor.value = left.source;
  if (left.revision !== revision()) {
    theirs = { source: server, revision: revision() };
    conflict.hidden = false;
  } else {
    later();
  }
} else {
  back();
}
page.dataset.ready = "";
