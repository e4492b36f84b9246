// Times that something is counted down to: each shows what is left, by the server's clock.

const clock = document.getElementById("clock");
const ahead = clock ? Date.parse(clock.dateTime) - Date.now() : 0;

function words(milliseconds) {
  const seconds = Math.max(0, Math.ceil(milliseconds / 1000));
  const [hours, minutes, rest] = [Math.floor(seconds / 3600), Math.floor((seconds % 3600) / 60), seconds % 60];
  const two = (value) => String(value).padStart(2, "0");
  return hours ? `${hours}:${two(minutes)}:${two(rest)}` : `${two(minutes)}:${two(rest)}`;
}

function count() {
  const now = Date.now() + ahead;
  for (const place of document.querySelectorAll("[data-countdown]")) {
    const left = Date.parse(place.dateTime) - now;
    place.textContent = words(left);
    place.classList.toggle("is-short", left < 10_000);
  }
}

setInterval(count, 1000);
for (const name of ["htmx:after:swap", "htmx:sse:after:message"]) document.addEventListener(name, count);
count();
