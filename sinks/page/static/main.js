// The page: controls ask, the stream answers, and each part shows its own.

import * as cards from "./cards.js";
import * as chart from "./chart.js";
import * as controls from "./controls.js";
import { at, make, say } from "./dom.js";
import { times } from "./format.js";
import * as health from "./health.js";
import { live } from "./live.js";
import * as results from "./results.js";
import { GLOSSARY, KPIS, MODELS, PERIODS } from "./words.js";

let picked = "visits";
let figures = null;
let latest = 0; // when the server last had figures
let asked = false; // a question was just chosen: say when its answer is there
let collector = "";
let told = "";

const kpi = () => KPIS.find(({ name }) => name === picked);

function showFigures(next) {
  const same = figures && JSON.stringify(figures.question) === JSON.stringify(next.question);
  const moved = same && figures.window && JSON.stringify(figures.window) === JSON.stringify(next.window);
  figures = next;
  const { question } = next;
  const names = next.models?.names ?? Object.keys(MODELS).filter((name) => name !== "data_driven");
  controls.show({ question, choices: next.choices, models: names.includes(question.model) ? names : [...names, question.model] });
  health.showFigures(next);
  document.body.classList.remove("waiting");
  const known = Boolean(question.site);
  at("content").hidden = !known;
  at("controls").hidden = !known;
  at("empty").hidden = known;
  if (!known) return showNothing();
  const clock = times(question.zone);
  document.title = `${question.site}: live results · headwater`;
  say(at("results-title"), question.site);
  const from = next.window.starts[0] * 1000;
  say(at("window"), `${clock.moment(from)} until now, against ${PERIODS[question.period].before}. Times in ${clock.name}.`);
  say(at("zone"), `Times in ${clock.name}.`);
  cards.show(next, moved);
  chart.show(next, kpi());
  results.show(next);
  if (asked) {
    asked = false;
    say(at("announce"), `${question.site}, ${PERIODS[question.period].label}, ${question.model}: the figures are there.`);
  }
  quiet();
}

/** The site exists but had nothing in this period: say so, and lead to where there is something. */
function quiet() {
  const { question, kpis, newest } = figures;
  if (kpis.values.visits || kpis.values.conversions || kpis.values.cost || at("notice").dataset.kind === "problem") {
    if (at("notice").dataset.kind === "quiet") notice("");
    return;
  }
  const text = `Nothing happened on ${question.site} in ${PERIODS[question.period].label}.`;
  const clock = times(question.zone);
  const age = newest ? (Date.now() - newest) / 3600000 : Infinity;
  const wider = age < 24 ? "24h" : age < 7 * 24 ? "7d" : age < 30 * 24 ? "30d" : "";
  notice("quiet", text, newest ? ` The newest event is of ${clock.moment(newest)}.` : " Perhaps its name is spelt differently.",
    wider && wider !== question.period ? make("button", { type: "button", onclick: () => controls.choose({ period: wider }) }, `Show ${PERIODS[wider].label}`) : "");
}

function notice(kind, text = "", more = "", action = "") {
  const element = at("notice");
  const said = kind + text + more;
  if (told === said) return;
  told = said;
  element.dataset.kind = kind;
  element.hidden = !kind;
  element.replaceChildren(...(kind ? [make("p", {}, make("strong", {}, text), more), action].filter(Boolean) : []));
}

/** No event has ever arrived: say what to do. */
function showNothing() {
  document.title = "headwater: no events yet";
  notice("");
  say(at("empty-title"), "No events yet");
  const example = `curl -sS ${collector || "http://COLLECTOR:8080"}/events --json '{"type": "landing", "event_id": "first", "time": '$(date +%s)000', "site": "my-shop", "visitor_id": "me", "url": "https://my-shop.example/?utm_source=google&utm_medium=cpc&utm_campaign=spring"}'`;
  if (at("empty-text").dataset.said === example) return;
  at("empty-text").dataset.said = example;
  at("empty-text").replaceChildren(
    make("p", {}, "headwater waits for the first one. This page shows it a second or two after it comes, without being loaded again. To send one yourself:"),
    make("pre", { tabindex: "0", "aria-label": "Example" }, make("code", {}, example)),
    make("p", {}, "Or let a simulated shop run through it: ", make("code", {}, "headwater demo")));
}

function showState(name, problem) {
  const words = { connecting: "Connecting", live: "Live", stale: "Stale", refused: "Stopped" };
  at("live").dataset.state = name;
  if (name === "stale" || name === "refused") document.body.classList.remove("waiting");
  say(at("live-text"), words[name]);
  const zone = figures?.question.zone;
  if (name === "live") {
    if (at("notice").dataset.kind === "problem") notice("");
    if (figures?.question.site) quiet();
  } else if (name === "refused") {
    notice("problem", `This address asks for something that there is not: ${problem}.`, "", make("button", { type: "button", onclick: controls.forget }, "Show the usual view"));
  } else if (name === "stale") {
    if (!figures) at("content").hidden = true;
    const until = latest && zone ? ` What you see is of ${times(zone).second(latest)}.` : " There are no figures to show yet.";
    notice("problem", sentence(problem), `${until} It goes on by itself as soon as that is mended.`);
  }
  health.showProblem(name === "stale" ? problem : "");
}

const sentence = (text) => (/[.!?]$/.test(text) ? text : `${text}.`);

function pick(name) {
  picked = name;
  cards.press(name);
  if (figures?.question.site) chart.show(figures, kpi());
}

function start() {
  at("words-list").append(...GLOSSARY.flatMap(([word, text]) => [make("dt", {}, word), make("dd", {}, text)]));
  cards.start(pick);
  cards.press(picked);
  chart.start();
  results.start();
  health.start();
  const open = live({
    figures: showFigures,
    health: (next) => {
      collector = next.roles.find(({ name }) => name.startsWith("collector"))?.address ?? "";
      health.showHealth(next);
      if (figures && !figures.question.site) showNothing();
    },
    tick: ({ at: moment, problem }) => {
      if (!problem) latest = moment;
      const zone = figures?.question.zone;
      if (latest && zone) say(at("clock"), times(zone).second(latest));
    },
    state: showState,
  });
  controls.start(() => {
    asked = true;
    document.body.classList.add("waiting");
    open(controls.parameters());
  });
  open(controls.parameters());
}

start();
