// The shell: theme, toasts, dialogs, copy buttons, clock. Listeners are delegated, so swapped content needs no set-up.

import { texts, time } from "./format.js";

const root = document.documentElement;
const TOASTS_AT_MOST = 3;
const TOAST_MS = 5000;

// ---- toasts

export function toast(level, text) {
  const list = document.getElementById("toasts");
  const item = document.createElement("div");
  item.className = `toast ${level}`;
  if (level === "error") item.setAttribute("role", "alert");
  const words = document.createElement("p");
  words.textContent = text;
  const close = document.createElement("button");
  close.type = "button";
  close.className = "btn ghost icon-only sm";
  close.setAttribute("aria-label", texts.close);
  close.textContent = "×";
  close.addEventListener("click", () => item.remove());
  item.append(words, close);
  list.append(item);
  // Opened anew, the list lies above a dialog that was opened meanwhile.
  list.hidePopover?.();
  list.showPopover?.();
  while (list.children.length > TOASTS_AT_MOST) list.firstElementChild.remove();
  if (level !== "error") leaveLater(item);
}

function leaveLater(item) {
  let timer = setTimeout(() => item.remove(), TOAST_MS);
  const hold = () => clearTimeout(timer);
  const release = () => {
    clearTimeout(timer);
    timer = setTimeout(() => item.remove(), TOAST_MS);
  };
  for (const name of ["pointerenter", "focusin"]) item.addEventListener(name, hold);
  for (const name of ["pointerleave", "focusout"]) item.addEventListener(name, release);
}

// An HX-Trigger header brings the detail itself, the live stream brings it as text.
document.addEventListener("toast", (event) => {
  const detail = typeof event.detail.data === "string" ? JSON.parse(event.detail.data) : event.detail;
  toast(detail.level, detail.text);
});

document.addEventListener("htmx:response:error", (event) => {
  const { ctx } = event.detail;
  if (ctx.sourceElement?.id === "live" || ctx.response.status === 422) return;
  // The answer brings its own words.
  if (ctx.response.raw.headers.get("HX-Trigger")) return;
  if (ctx.response.status === 401) {
    toast("error", texts.sessionEnded);
    return;
  }
  const reference = ctx.response.raw.headers.get("X-Request-Id");
  toast("error", reference ? `${texts.requestFailed} (${reference})` : texts.requestFailed);
});

document.addEventListener("htmx:error", (event) => {
  if (event.detail.ctx && event.detail.ctx.sourceElement?.id !== "live") toast("error", texts.notReached);
});

// ---- dialogs

document.addEventListener("dialog-open", (event) => {
  const dialog = document.getElementById(event.detail.id);
  if (dialog && !dialog.open) dialog.showModal();
});

document.addEventListener("dialog-close", (event) => document.getElementById(event.detail.id)?.close());

// What a dialog shows comes with the answer that opens it: it never shows, even for a moment, what was asked about something else.
document.addEventListener("htmx:after:swap", () => {
  for (const content of document.querySelectorAll("[data-opens]")) {
    const dialog = document.getElementById(content.dataset.opens);
    delete content.dataset.opens;
    if (dialog && !dialog.open) dialog.showModal();
  }
});

// Browsers without invoker commands.
if (!("command" in HTMLButtonElement.prototype)) {
  document.addEventListener("click", (event) => {
    const button = event.target.closest("button[commandfor]");
    const dialog = button && document.getElementById(button.getAttribute("commandfor"));
    if (!dialog) return;
    if (button.getAttribute("command") === "show-modal") dialog.showModal();
    else dialog.close();
  });
}

document.addEventListener("htmx:after:swap", () => document.querySelector("[data-autofocus]:not(:focus-within)")?.focus());

// ---- forms

document.addEventListener("input", (event) => {
  const wanted = event.target.dataset?.mustEqual;
  if (wanted !== undefined) event.target.form.querySelector("[type=submit]").disabled = event.target.value.trim() !== wanted;
});

document.addEventListener("change", (event) => {
  if (event.target.form?.matches("[data-autosubmit]")) event.target.form.submit();
});

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  await copy(document.getElementById(button.dataset.copy));
  toast("success", texts.copied);
});

async function copy(element) {
  if (navigator.clipboard) {
    await navigator.clipboard.writeText(element.textContent);
    return;
  }
  // Plain HTTP on a local network has no clipboard API.
  getSelection().selectAllChildren(element);
  document.execCommand("copy");
}

// ---- theme: at once here, and remembered by the server

export function setTheme(theme) {
  root.dataset.theme = theme;
  document.querySelector("meta[name=color-scheme]").content = theme;
  for (const button of document.querySelectorAll("[data-theme-form] [name=theme]")) {
    button.setAttribute("aria-pressed", String(button.value === theme));
  }
  dispatchEvent(new Event("themechange"));
}

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (!form.matches("[data-theme-form]")) return;
  event.preventDefault();
  const theme = event.submitter.value;
  const body = new URLSearchParams(new FormData(form));
  body.set("theme", theme);
  setTheme(theme);
  fetch(form.action, { method: "POST", body, headers: { "HX-Request": "true" } }).catch(() => toast("error", texts.notReached));
});

// ---- clock: the server's, kept running

const clock = document.getElementById("clock");
if (clock) {
  const ahead = Date.parse(clock.dateTime) - Date.now();
  setInterval(() => (clock.textContent = time(Date.now() + ahead)), 1000);
}

// The server formats every time; for a person who reads local time it must know which zone that is.
const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
if (zone) document.cookie = `tz=${zone}; path=/; max-age=31536000; samesite=lax`;
