// Is tracking working: the verdict, the vital figures, what becomes of events, the parts, and what was refused.

import { at, draw, make, say } from "./dom.js";
import { count, duration, percent, rate, times } from "./format.js";
import { nothing, table } from "./table.js";
import { OUTCOMES, PERIODS, REASONS, ROLES } from "./words.js";

const STATES = { good: "Good", attention: "Look at this", bad: "Bad", unknown: "Not known" };
const COURSE = 60;

let figures = null;
let health = null;
let problem = "";
const course = [];
const tables = {};
const vitals = new Map();

const VITALS = [
  { name: "newest", label: "Newest event", hint: "when the latest event shown here happened", value: () => (figures?.newest ? `${duration((Date.now() - figures.newest) / 1000)} ago` : null), state: () => (figures?.newest ? "good" : "unknown") },
  { name: "rate", label: "Events a second", hint: "counted, over the last minute", value: () => (health?.rates ? rate(total()) : null), state: () => (health?.rates ? "good" : "unknown") },
  { name: "lag", label: "Waiting to be counted", hint: "events in Kafka that the worker has not taken yet (consumer lag); near 0 is good", value: () => known("lag", count), state: () => state("lag") },
  { name: "commit_age", label: "Longest standstill", hint: "how long waiting work has not moved on (commit age); 0 s is good", value: () => known("commit_age", duration), state: () => state("commit_age") },
  { name: "sink_lag", label: "Delay to ClickHouse", hint: "age of the oldest result not yet in ClickHouse (sink lag); a few seconds are good", value: () => known("sink_lag", duration), state: () => state("sink_lag") },
];

const total = () => Object.values(health.rates).reduce((sum, value) => sum + value, 0);
const known = (name, format) => (health?.figures[name].value === null || !health ? null : format(health.figures[name].value));
const state = (name) => health?.figures[name].state ?? "unknown";

/** Make what stays. */
export function start() {
  at("vitals").replaceChildren(
    ...VITALS.map((vital) => {
      const part = { mark: mark(), value: make("span", { class: "value" }), words: make("span", { class: "sr" }) };
      part.element = make("div", { class: "vital" }, make("dt", {}, vital.label), make("dd", {}, part.mark, part.value, part.words, make("span", { class: "hint" }, vital.hint)));
      if (vital.name === "rate") {
        part.line = draw("polyline", { fill: "none" });
        part.element.append(draw("svg", { class: "spark", viewBox: `0 0 ${COURSE} 20`, preserveAspectRatio: "none", "aria-hidden": "true" }, part.line));
      }
      vitals.set(vital.name, part);
      return part.element;
    }),
  );
  setInterval(() => document.hidden || shown(), 1000);
}

const mark = () => make("span", { class: "mark", "aria-hidden": "true" });

function shown() {
  for (const vital of VITALS) {
    const part = vitals.get(vital.name);
    const value = vital.value();
    say(part.value, value ?? "–");
    part.element.dataset.state = vital.state();
    say(part.words, ` (${STATES[vital.state()].toLowerCase()}) `);
  }
}

function verdict() {
  const problems = [...(health?.problems ?? [])];
  if (problem) problems.unshift({ state: "bad", text: "This page gets no figures at present; see above." });
  const worst = problems.some(({ state: one }) => one === "bad") ? "bad" : problems.length ? "attention" : (health?.verdict ?? "unknown");
  const element = at("verdict");
  const said = JSON.stringify([worst, problems]);
  if (element.dataset.said === said) return;
  element.dataset.said = said;
  element.dataset.state = worst;
  at("tracking").dataset.state = worst;
  say(at("tracking-text"), { good: " works", attention: " needs a look", bad: " is troubled", unknown: "" }[worst]);
  if (!problems.length) {
    element.replaceChildren(make("p", {}, worst === "good" ? "Yes. All parts answer, and nothing waits or stands still." : "Asking the parts of headwater."));
  } else {
    element.replaceChildren(make("p", {}, worst === "bad" ? "Not as it should:" : "Yes, but look at this:"), make("ul", {}, ...problems.map(({ text }) => make("li", {}, text))));
  }
}

/** Show what the roles say. */
export function showHealth(told) {
  health = told;
  if (health.rates) {
    course.push(total());
    if (course.length > COURSE) course.shift();
    const top = Math.max(...course, 0.001);
    if (course.length > 4) vitals.get("rate").line.setAttribute("points", course.map((value, index) => `${COURSE - course.length + index},${(19 - (value / top) * 17).toFixed(1)}`).join(" "));
  }
  shown();
  verdict();
  tables.outcomes ??= table(at("outcomes"), "What becomes of events", [
    { name: "outcome", label: "Outcome", text: true, head: true, cell: (row) => row.outcome },
    { name: "rate", label: "a second", cell: (row) => (row.rate === null ? "–" : rate(row.rate)) },
    { name: "share", label: "Share", cell: (row) => percent(row.share, 1) },
    { name: "means", label: "Which means", text: true, cell: (row) => make("span", { class: "soft" }, OUTCOMES[row.outcome]) },
  ], { sortable: false });
  const sum = health.rates ? total() : 0;
  tables.outcomes(Object.keys(OUTCOMES).map((outcome) => ({ outcome, rate: health.rates?.[outcome] ?? null, share: sum ? health.rates[outcome] / sum : null })));
  roles();
}

function roles() {
  const parts = [...(health?.roles ?? []), { name: "clickhouse", state: problem ? "away" : "up", reason: "" }];
  const said = JSON.stringify(parts);
  if (at("roles").dataset.said === said) return;
  at("roles").dataset.said = said;
  const words = { up: "works", waiting: "not ready", away: "does not answer" };
  at("roles").replaceChildren(
    ...parts.map((role) =>
      make("li", { "data-state": { up: "good", waiting: "attention", away: "bad" }[role.state] },
        mark(), make("strong", {}, role.name), " ",
        make("span", { class: "is" }, role.state === "waiting" && role.reason ? `not ready: ${role.reason}` : words[role.state]),
        make("span", { class: "hint" }, ROLES[role.name.replace(/-\d+$/, "")] ?? ""))),
  );
}

/** Show what belongs to the period: the newest event, and what was refused. */
export function showFigures(told) {
  figures = told;
  const clock = times(told.question.zone);
  shown();
  if (!told.refused.length) {
    at("refused").replaceChildren(nothing(`None in ${PERIODS[told.question.period].label}.`));
    tables.refused = null;
    return;
  }
  tables.refused ??= table(at("refused"), "Refused events by reason", [
    { name: "reason", label: "Reason", text: true, head: true, cell: (row) => row.reason },
    { name: "events", label: "Events", cell: (row) => count(row.events) },
    { name: "means", label: "Which means", text: true, cell: (row) => make("span", { class: "wrap" }, REASONS[row.reason] ?? "") },
    { name: "latest", label: "Latest", cell: (row) => clock.moment(row.latest) },
    { name: "detail", label: "Said of the latest", text: true, cell: (row) => make("code", { class: "wrap" }, row.detail) },
  ], { sortable: false });
  tables.refused(told.refused);
}

/** What keeps figures from coming, or "". */
export function showProblem(text) {
  problem = text;
  verdict();
  if (health) roles();
}
