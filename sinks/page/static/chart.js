// The chart of one KPI over the period, beside the period before; its text and its table say the same.

import { at, make, say } from "./dom.js";
import { DASH, times } from "./format.js";
import { format } from "./cards.js";
import { PERIODS } from "./words.js";

/** Steps of an axis of whole numbers. */
const WHOLE = Array.from({ length: 12 }, (_, power) => [1, 2, 5].map((step) => step * 10 ** power)).flat();

let plot = null;
let drawn = ""; // what the plot was made for: another question or another colour needs another plot
let shown = null;

/** Draw `kpi` of these figures. */
export function show(figures, kpi) {
  shown = { figures, kpi };
  const { question, window: { starts, length }, kpis, before } = figures;
  const words = PERIODS[question.period];
  const clock = times(question.zone);
  say(at("chart-title"), `${kpi.label}${kpi.kind === "money" && question.currency ? ` in ${question.currency}` : ""} ${words.bar}`);
  say(at("legend-now"), words.label);
  say(at("legend-before"), words.before);
  const series = kpis.series[kpi.name];
  const last = series.length - 1;
  // Of the bar that is filling, the period before has only as much as has passed: a fall that means nothing.
  const data = [
    starts,
    before.series[kpi.name].map((value, index) => (index === last ? null : value)),
    series.map((value, index) => (index === last ? null : value)),
    series.map((value, index) => (index >= last - 1 ? value : null)),
  ];
  const colours = ["key-now", "key-before"].map((id) => getComputedStyle(at(id)).color);
  const wanted = JSON.stringify([kpi.name, question, colours, starts[0]]);
  if (wanted !== drawn || plot === null) {
    plot?.destroy();
    plot = new uPlot(options(kpi, question, clock, colours), data, at("chart"));
    drawn = wanted;
  } else {
    plot.setData(data);
  }
  describe(kpi, figures, clock);
  if (at("chart-table").open) tabulate(kpi, figures, clock);
}

function options(kpi, question, clock, [now, before]) {
  const style = getComputedStyle(at("chart"));
  const [ink, rule] = [style.color, style.borderTopColor];
  const font = `12px ${style.fontFamily}`;
  const label = (value) => format(kpi, value, question.currency).replace(/\.00(?= %$|$)/, "");
  return {
    width: at("chart").clientWidth,
    height: height(),
    padding: [10, 22, 0, 0],
    legend: { show: false },
    cursor: { y: false, points: { size: 8 }, drag: { x: false, y: false } },
    select: { show: false },
    tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), question.zone),
    scales: { y: { range: (_, low, high) => [Math.min(0, low ?? 0), high > 0 ? high * 1.08 : 1] } },
    axes: [
      {
        stroke: ink, font, grid: { show: false }, ticks: { stroke: rule, width: 1, size: 5 }, size: 32, space: 64,
        values: (_, splits) => splits.map((seconds, index) => tick(seconds * 1000, splits[index - 1] * 1000, question.period, clock)),
      },
      { stroke: ink, font, size: (_, values) => 16 + 7 * Math.max(3, ...(values ?? []).map((text) => text.length)), grid: { stroke: rule, width: 1 }, ticks: { show: false }, space: 36, ...(kpi.kind === "count" ? { incrs: WHOLE } : {}), values: (_, splits) => splits.map(label) },
    ],
    series: [
      {},
      { stroke: before, width: 1.5, dash: [4, 4], points: { show: false } },
      { stroke: now, width: 2, fill: now.replace(/rgba?\(([^)]+)\)/, (_, parts) => `rgba(${parts.split(",").slice(0, 3)}, 0.12)`), points: { show: false }, spanGaps: false },
      { stroke: now, width: 2, dash: [2, 3], points: { show: false } },
    ],
    hooks: { setCursor: [({ cursor: { idx } }) => read(idx)] },
  };
}

function tick(ms, before, period, clock) {
  if (period === "30d") return clock.day(ms);
  if (clock.hour(ms) === "00:00" || (period === "7d" && clock.day(ms) !== clock.day(before || 0))) return clock.day(ms);
  return clock.hour(ms);
}

/** What lies under the pointer. */
function read(index) {
  if (!shown || index === null || index === undefined) {
    say(at("readout"), "");
    return;
  }
  const { figures, kpi } = shown;
  const { question } = figures;
  const value = (series) => format(kpi, series[index], question.currency);
  say(at("readout"), `${when(figures, index, times(question.zone))}: ${value(figures.kpis.series[kpi.name])} (before: ${value(figures.before.series[kpi.name])})`);
}

function when({ question, window: { starts } }, index, clock) {
  const ms = starts[index] * 1000;
  return question.period === "30d" ? clock.weekday(ms) : `${clock.weekday(ms)}, ${clock.hour(ms)}`;
}

/** The chart in a sentence, for who does not see it. */
function describe(kpi, figures, clock) {
  const { question } = figures;
  const series = figures.kpis.series[kpi.name];
  const known = series.map((value, index) => [value, index]).filter(([value]) => value !== null);
  const text = (value) => format(kpi, value, question.currency);
  let words = `Line chart: ${kpi.label} ${PERIODS[question.period].bar}. `;
  if (known.length) {
    const top = known.reduce((best, item) => (item[0] > best[0] ? item : best));
    const low = known.reduce((best, item) => (item[0] < best[0] ? item : best));
    words += `Highest ${text(top[0])} at ${when(figures, top[1], clock)}, lowest ${text(low[0])} at ${when(figures, low[1], clock)}. `;
  } else {
    words += "There is nothing to show. ";
  }
  say(at("chart-words"), `${words}All values are in the table below.`);
}

function tabulate(kpi, figures, clock) {
  const { question, window: { starts }, kpis, before } = figures;
  const text = (value) => (value === null ? DASH : format(kpi, value, question.currency));
  const rows = starts.map((_, index) =>
    make("tr", {},
      make("th", { scope: "row" }, when(figures, index, clock)),
      make("td", {}, text(kpis.series[kpi.name][index])),
      make("td", {}, text(before.series[kpi.name][index]))));
  at("chart-table-body").replaceChildren(
    make("table", {},
      make("caption", { class: "sr" }, `${kpi.label} ${PERIODS[question.period].bar}, and ${PERIODS[question.period].before}`),
      make("thead", {}, make("tr", {}, make("th", { scope: "col", class: "l" }, "From"), make("th", { scope: "col" }, kpi.label), make("th", { scope: "col" }, "Before"))),
      make("tbody", {}, ...rows.reverse())));
}

const height = () => (innerWidth < 560 ? 180 : 230);

/** Follow the page's width, the colours, and the table being opened. */
export function start() {
  new ResizeObserver(() => {
    if (plot && at("chart").clientWidth) plot.setSize({ width: at("chart").clientWidth, height: height() });
  }).observe(at("chart"));
  document.addEventListener("themechange", () => requestAnimationFrame(() => shown && show(shown.figures, shown.kpi)));
  at("chart-table").addEventListener("toggle", () => {
    if (shown && at("chart-table").open) tabulate(shown.kpi, shown.figures, times(shown.figures.question.zone));
  });
}
