// Webhooks: addresses that are filled in by a button, and one that is pasted and never leaves this browser.

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-fill]");
  if (!button) return;
  const field = document.getElementById(button.dataset.fill);
  field.value = button.dataset.value;
  field.focus();
});

// What was found out about a message is not about another one. It is no part of what is rendered anew with each choice.
for (const name of ["input", "change"]) {
  document.addEventListener(name, (event) => {
    if (!event.target.closest?.("#builder-form")) return;
    const tried = document.getElementById("tried-built");
    tried?.replaceChildren();
    tried?.removeAttribute("data-decision");
  });
}

let pasted = "";

function show(field) {
  const target = document.getElementById(field.dataset.fills);
  target.dataset.placeholder ??= target.textContent;
  target.textContent = pasted || target.dataset.placeholder;
}

document.addEventListener("input", (event) => {
  if (!event.target.dataset?.fills) return;
  pasted = event.target.value.trim();
  show(event.target);
});

// The builder is rendered anew with every choice: what was pasted stands there again.
document.addEventListener("htmx:after:swap", () => {
  const field = document.querySelector("[data-fills]");
  if (!field || !pasted) return;
  field.value = pasted;
  show(field);
});
