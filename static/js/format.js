// Texts, numbers and times as the page's language writes them; the server's formatters are the model.

const root = document.documentElement;

export const language = root.lang === "fr" ? "fr-FR" : "en-GB";
export const timezone = root.dataset.timezone || "UTC";
const own = document.getElementById("i18n-page");
export const texts = { ...JSON.parse(document.getElementById("i18n").textContent), ...(own ? JSON.parse(own.textContent) : {}) };

const numberFormats = new Map();

export function number(value, decimals) {
  if (!numberFormats.has(decimals)) {
    numberFormats.set(
      decimals,
      new Intl.NumberFormat(language, { minimumFractionDigits: decimals, maximumFractionDigits: decimals }),
    );
  }
  const text = numberFormats.get(decimals).format(value);
  // What is written as nothing is neither above nor below it.
  return /[1-9]/.test(text) ? text.replace("-", "\u2212") : text.replace("-", "");
}

/** A fraction as a signed percentage: 0.0174 gives +1.74%. */
export function percent(fraction, decimals = 2) {
  const text = number(fraction * 100, decimals);
  const sign = fraction > 0 && /[1-9]/.test(text) ? "+" : "";
  return `${sign}${text}${language === "fr-FR" ? "\u00A0" : ""}%`;
}

const compactFormat = new Intl.NumberFormat(language === "fr-FR" ? language : "en-US", { notation: "compact", maximumFractionDigits: 2 });

/** A large number with a unit: 2840000000 gives 2.84B. */
export function compact(value) {
  return compactFormat.format(value);
}

/** Decimals of a tick written as text: "0.010" gives 2, "5" gives 0. */
export function decimalsOf(tick) {
  const [, fraction = ""] = tick.split(".");
  return fraction.replace(/0+$/, "").length;
}

function dateFormat(options) {
  return new Intl.DateTimeFormat(language, { timeZone: timezone, hourCycle: "h23", ...options });
}

const formats = {
  clock: dateFormat({ hour: "2-digit", minute: "2-digit", second: "2-digit" }),
  minute: dateFormat({ hour: "2-digit", minute: "2-digit" }),
  day: dateFormat({ day: "numeric", month: "short" }),
  month: dateFormat({ month: "short" }),
  year: dateFormat({ year: "numeric" }),
  stamp: dateFormat({ day: "numeric", month: "short", year: "numeric", hour: "2-digit", minute: "2-digit" }),
  moment: dateFormat({ day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" }),
};

export function time(milliseconds, style = "clock") {
  return formats[style].format(milliseconds);
}
