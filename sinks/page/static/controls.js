// What is asked: site, period, model, currency. It stands in the address, so that a view can be kept and sent to others.

import { at, options, say } from "./dom.js";
import { MODELS } from "./words.js";

const NAMES = ["site", "period", "model", "currency"];
const zone = Intl.DateTimeFormat().resolvedOptions().timeZone ?? "UTC";

let chosen = {};
let changed = () => {};

function read() {
  const address = new URLSearchParams(location.search);
  chosen = Object.fromEntries(NAMES.filter((name) => address.get(name)).map((name) => [name, address.get(name)]));
}

/** The question as parameters of the live stream. */
export const parameters = () => new URLSearchParams({ ...chosen, zone });

/** Choose something, as if by the controls. */
export function choose(change) {
  Object.assign(chosen, change);
  const address = new URLSearchParams(chosen).toString();
  history.pushState(null, "", address ? `?${address}` : location.pathname);
  changed();
}

/** Go back to what the page shows by itself, where the address asks for what there is not. */
export function forget() {
  chosen = {};
  history.replaceState(null, "", location.pathname);
  changed();
}

/** Show in the controls what an answer was about, and what else there is to choose. */
export function show({ question, choices, models }) {
  const sites = choices.sites.includes(question.site) || !question.site ? choices.sites : [question.site, ...choices.sites];
  options(at("site"), sites.map((site) => [site, site]), question.site);
  const currencies = choices.currencies.includes(question.currency) || !question.currency ? choices.currencies : [question.currency, ...choices.currencies];
  options(at("currency"), currencies.map((code) => [code, code]), question.currency);
  at("site").disabled = sites.length === 0;
  at("currency").disabled = currencies.length === 0;
  options(at("model"), models.map((name) => [name, name]), question.model);
  const period = document.querySelector(`input[name="period"][value="${question.period}"]`);
  if (period) period.checked = true;
  say(at("model-words"), MODELS[question.model] ?? "");
}

/** Listen; `tell` is called when another question is asked. */
export function start(tell) {
  changed = tell;
  read();
  options(at("model"), Object.keys(MODELS).filter((name) => name !== "data_driven").map((name) => [name, name]), chosen.model ?? "last_non_direct");
  const period = document.querySelector(`input[name="period"][value="${CSS.escape(chosen.period ?? "24h")}"]`);
  if (period) period.checked = true;
  at("controls").addEventListener("submit", (event) => event.preventDefault());
  at("controls").addEventListener("change", ({ target }) => {
    // Another site has currencies of its own.
    if (target.name === "site") delete chosen.currency;
    choose({ [target.name]: target.value });
    if (target.name === "model") say(at("model-words"), MODELS[target.value] ?? "");
  });
  addEventListener("popstate", () => {
    read();
    changed();
  });
}
