// Two texts against each other, above the editor: versions, the other tab's text, and what the assistant proposes.

import { toast } from "./app.js";
import { texts } from "./format.js";
import { editor, read } from "./strategy-editor.js";

const page = document.getElementById("strategy-editor");
const panel = document.getElementById("sed-compare");
const title = document.getElementById("sed-compare-title");
const against = document.getElementById("sed-against");
const diff = document.getElementById("sed-diff");
const accept = document.getElementById("sed-accept");
const reject = document.getElementById("sed-reject");
const close = document.getElementById("sed-compare-close");

let older = null;
let proposal = null;
let from = null;

function open(words, original, text, { isProposal = false } = {}) {
  from ??= document.activeElement;
  title.textContent = original === text ? `${words}: ${texts.noChanges}` : words;
  against.hidden = isProposal || older === null;
  accept.hidden = reject.hidden = !isProposal;
  close.hidden = isProposal;
  editor.hidden = true;
  panel.hidden = false;
  diff.compare(null);
  diff.readOnly = !isProposal;
  diff.value = text;
  diff.compare(original, { controls: isProposal });
  page.dispatchEvent(new CustomEvent("strategy:show", { detail: { part: "code" } }));
  (isProposal ? accept : close).focus();
}

function shut() {
  if (panel.hidden) return;
  panel.hidden = true;
  editor.hidden = false;
  older = null;
  if (proposal) decide(false);
  (from?.isConnected && from !== document.body ? from : editor).focus();
  from = null;
}

function decide(isAccepted) {
  const { message_id } = proposal;
  proposal = null;
  document.dispatchEvent(new CustomEvent("aristobot:proposal-decided", { detail: { accepted: isAccepted, message_id } }));
}

// ---- versions

function offer() {
  const numbers = [...document.querySelectorAll("#sed-versions [data-version]")].map((row) => row.dataset.version);
  against.replaceChildren(new Option(texts.editorText, ""), ...numbers.filter((number) => number !== older.number).map((number) => new Option(`v${number}`, number)));
}

async function compareVersion() {
  const newer = against.value;
  try {
    const text = newer ? (await read({ version: newer })).source : editor.value;
    const words = newer ? texts.diffBetween.replace("{older}", older.number).replace("{newer}", newer) : texts.diffTitle.replace("{number}", older.number);
    open(words, older.source, text);
  } catch {
    toast("error", texts.notReached);
  }
}

page.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-diff]");
  if (!button || proposal) return;
  from = button;
  try {
    older = { number: button.dataset.diff, source: (await read({ version: button.dataset.diff })).source };
  } catch {
    toast("error", texts.notReached);
    return;
  }
  offer();
  await compareVersion();
});
against.addEventListener("change", compareVersion);
close.addEventListener("click", shut);
page.addEventListener("strategy:close", () => !proposal && shut());
page.addEventListener("strategy:compare", (event) => open(texts.conflictTitle, event.detail.source, editor.value));
panel.addEventListener("keydown", (event) => event.key === "Escape" && !proposal && !event.defaultPrevented && shut());

// ---- proposals: never over the text, only beside it, until somebody decides

document.addEventListener("aristobot:proposal", (event) => {
  if (proposal) decide(false);
  proposal = event.detail;
  older = null;
  open(texts.proposalTitle, editor.value, event.detail.source, { isProposal: true });
});

accept.addEventListener("click", () => {
  const text = diff.value;
  decide(true);
  shut();
  editor.value = text;
  editor.focus();
  toast("info", texts.accepted);
});

reject.addEventListener("click", () => {
  decide(false);
  shut();
});
