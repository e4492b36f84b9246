// Usual periods: one press fills both dates.

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-since]");
  if (!button) return;
  document.getElementById("bt-since").value = button.dataset.since;
  document.getElementById("bt-until").value = button.dataset.until;
  press();
});

function press() {
  const [since, until] = ["bt-since", "bt-until"].map((id) => document.getElementById(id)?.value);
  for (const button of document.querySelectorAll("[data-since]")) {
    button.setAttribute("aria-pressed", String(button.dataset.since === since && button.dataset.until === until));
  }
}

document.addEventListener("change", (event) => event.target.matches("#bt-since, #bt-until") && press());
document.addEventListener("htmx:after:swap", press);
