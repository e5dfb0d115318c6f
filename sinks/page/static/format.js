// Figures and times as text. What is no number is an en dash.

export const DASH = "–";
const MINUS = "−";

const cache = new Map();
function numbers(options) {
  const key = JSON.stringify(options);
  if (!cache.has(key)) cache.set(key, new Intl.NumberFormat("en", options));
  return cache.get(key);
}
const text = (value, options) =>
  value === null || value === undefined || !Number.isFinite(value) ? DASH : numbers(options).format(value).replace("-", MINUS);
const fixed = (digits) => ({ minimumFractionDigits: digits, maximumFractionDigits: digits });

/** Whether a figure is too long for a card, and how it is written there: "12.35M". */
export const isLong = (value) => Math.abs(value) >= 1e7;
export const short = (value) => text(value, { notation: "compact", maximumFractionDigits: 2 });

export const count = (value) => text(value, { maximumFractionDigits: 0 });

/** Conversions: whole under some models, shared under others; `digits` for columns that must line up. */
export const conversions = (value, digits = Number.isInteger(value) ? 0 : 2) => text(value, fixed(digits));

/** Digits that a column of conversions needs. */
export const digitsOf = (values) => (values.every((value) => value === null || Math.abs(value - Math.round(value)) < 1e-9) ? 0 : 2);

export const percent = (value, digits = 2) => (value === null || value === undefined ? DASH : `${text(value * 100, fixed(digits))} %`);

function decimals(currency) {
  try {
    return numbers({ style: "currency", currency }).resolvedOptions().maximumFractionDigits;
  } catch {
    return 2; // a code that the browser does not know
  }
}

/** An amount without its currency, which stands beside or above it. */
export const money = (value, currency) => text(value, fixed(Math.abs(value) >= 1e6 ? 0 : decimals(currency)));

/** Amounts in other currencies: "438.40 GBP, 98.92 USD". */
export const others = (amounts) =>
  Object.entries(amounts ?? {})
    .map(([currency, value]) => `${money(value, currency)} ${currency}`)
    .join(", ");

export const ratio = (value) => text(value, fixed(Math.abs(value) >= 1000 ? 0 : 2));

/** A rate a second: small ones with more digits. */
export const rate = (value) => text(value, fixed(Math.abs(value) >= 100 ? 0 : Math.abs(value) >= 10 ? 1 : 2));

/** How much a figure has changed: {text, direction, words}; direction is "none" where it cannot be told. */
export function change(value, before) {
  if (value === null || value === undefined || !before) return { text: DASH, direction: "none", words: "no comparison" };
  const share = (value - before) / Math.abs(before);
  if (Math.abs(share) < 0.0005) return { text: "0.0 %", direction: "same", words: "unchanged" };
  const size = Math.abs(share) >= 10 ? `×${text(value / before, { maximumFractionDigits: 0 })}` : `${text(Math.abs(share) * 100, fixed(1))} %`;
  const direction = share > 0 ? "up" : "down";
  return { text: `${share > 0 ? "▲" : "▼"} ${size}`, direction, words: `${direction} ${size}` };
}

/** Seconds in words: "12 s", "3 min", "2 h", "4 d". */
export function duration(seconds) {
  if (seconds === null || seconds === undefined) return DASH;
  if (seconds < 90) return `${count(Math.max(0, seconds))} s`;
  if (seconds < 5400) return `${count(seconds / 60)} min`;
  if (seconds < 129600) return `${count(seconds / 3600)} h`;
  return `${count(seconds / 86400)} d`;
}

/** Formatters of times in one zone; all take milliseconds. */
export function times(zone) {
  const of = (options) => {
    const format = new Intl.DateTimeFormat("en-GB", { timeZone: zone, ...options });
    return (ms) => format.format(ms);
  };
  const day = of({ day: "numeric", month: "short" });
  const hour = of({ hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
  const weekday = of({ weekday: "short", day: "numeric", month: "short" });
  return {
    day,
    hour,
    weekday,
    moment: (ms) => `${day(ms)}, ${hour(ms)}`,
    second: of({ hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" }),
    name: zoneName(zone),
  };
}

function zoneName(zone) {
  const parts = new Intl.DateTimeFormat("en-GB", { timeZone: zone, timeZoneName: "shortOffset" }).formatToParts(Date.now());
  const offset = parts.find((part) => part.type === "timeZoneName")?.value ?? "";
  return zone === offset || zone === "UTC" ? zone : `${zone} (${offset})`;
}
