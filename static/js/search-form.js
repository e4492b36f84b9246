// The form of a search: a parameter shows its bounds while it varies, and one value while it does not.

document.addEventListener("change", (event) => {
  const id = event.target.dataset?.vary;
  if (!id) return;
  document.getElementById(`${id}-varied`).hidden = !event.target.checked;
  document.getElementById(`${id}-fixed`).hidden = event.target.checked;
});
