// The KPIs: one card each, with its course and its change; pressing one shows it in the chart.

import { at, draw, flash, make, say } from "./dom.js";
import { change, conversions, count, isLong, money, others, percent, ratio, short } from "./format.js";
import { KPIS, PERIODS } from "./words.js";

const WIDTH = 120;
const HEIGHT = 32;

/** A KPI's value as text. */
export function format(kpi, value, currency) {
  if (kpi.kind === "money") return money(value, currency);
  return { count, conversions: (number) => conversions(number), percent: (number) => percent(number), ratio }[kpi.kind](value);
}

const cards = new Map();

/** Make the cards; `pick(name)` is called when one is pressed. */
export function start(pick) {
  at("cards").replaceChildren(
    ...KPIS.map((kpi) => {
      const part = {
        unit: make("span", { class: "unit" }),
        value: make("span", { class: "value" }, "\u00a0"),
        change: make("span", { class: "change" }),
        against: make("span", { class: "sr" }),
        more: make("span", { class: "also" }),
        line: draw("polyline", { fill: "none" }),
        area: draw("polygon", {}),
      };
      const spark = draw("svg", { class: "spark", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true" }, part.area, part.line);
      part.button = make(
        "button",
        { type: "button", class: "card", "aria-pressed": "false", "data-kpi": kpi.name, onclick: () => pick(kpi.name) },
        make("span", { class: "label" }, kpi.label, " ", part.unit),
        part.value,
        make("span", { class: "changes" }, part.change, part.against),
        spark,
        make("span", { class: "hint" }, kpi.hint),
        part.more,
      );
      cards.set(kpi.name, part);
      return make("li", {}, part.button);
    }),
  );
}

/** Show which KPI the chart shows. */
export function press(name) {
  for (const [other, { button }] of cards) button.setAttribute("aria-pressed", String(other === name));
}

/** Show the figures; `moved`: they follow figures of the same question, so what changed may be pointed out. */
export function show(figures, moved) {
  const { kpis, before, question } = figures;
  for (const kpi of KPIS) {
    const part = cards.get(kpi.name);
    const value = kpis.values[kpi.name];
    const text = format(kpi, value, question.currency);
    if (moved && part.raw !== value && part.raw !== null && value !== null) flash(part.button, value > part.raw ? "up" : "down");
    part.raw = value;
    say(part.value, isLong(value) ? short(value) : text);
    part.value.title = isLong(value) ? text : "";
    say(part.unit, kpi.kind === "money" ? question.currency : "");
    const difference = change(value, before.values[kpi.name]);
    say(part.change, difference.text);
    const welcome = kpi.good === null || !["up", "down"].includes(difference.direction) ? "even" : difference.direction === kpi.good ? "good" : "bad";
    part.change.dataset.is = welcome;
    say(part.against, ` against ${PERIODS[question.period].before}. `);
    const also = kpi.name === "conversions" && kpis.pending ? `${conversions(kpis.pending)} of them pending` : others(kpis.others[kpi.name]);
    say(part.more, also && kpi.name !== "conversions" ? `besides ${also}` : also);
    spark(part, kpis.series[kpi.name].slice(0, -1));
  }
}

/** Draw a course; where there is no number there is a gap, closed by a straight line. */
function spark({ line, area }, series) {
  const known = series.map((value, index) => [index, value]).filter(([, value]) => value !== null);
  const top = Math.max(...known.map(([, value]) => value), 0);
  if (known.length < 2 || top === 0) {
    line.setAttribute("points", `0,${HEIGHT - 1} ${WIDTH},${HEIGHT - 1}`);
    area.setAttribute("points", "");
    return;
  }
  const x = (index) => ((index / (series.length - 1)) * WIDTH).toFixed(1);
  const y = (value) => (HEIGHT - 2 - (value / top) * (HEIGHT - 5)).toFixed(1);
  const points = known.map(([index, value]) => `${x(index)},${y(value)}`).join(" ");
  line.setAttribute("points", points);
  area.setAttribute("points", `${x(known[0][0])},${HEIGHT} ${points} ${x(known.at(-1)[0])},${HEIGHT}`);
}
