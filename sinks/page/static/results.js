// Channels, the models beside each other, and campaigns.

import { at, make, say } from "./dom.js";
import { change, conversions, count, digitsOf, money, others, percent, ratio } from "./format.js";
import { nothing, stacked, table } from "./table.js";
import { PERIODS } from "./words.js";

const FIRST = 10; // campaigns shown before asking for more

let currency = "";
let digits = 0;
let modelDigits = 0;
let top = 0;
let period = "24h";
let latest = null;
let all = false;
const tables = {};

const besides = (amounts) => (Object.keys(amounts ?? {}).length ? others(amounts) : "");
const figure = (name, label, cell, title) => ({ name, label, title, cell, value: (row) => row[name] });

const FIGURES = [
  figure("visits", "Visits", (row) => count(row.visits), "Clicks and landings"),
  figure("conversions", "Conv.", (row) => conversions(row.conversions, digits), "Conversions credited"),
  figure("cvr", "CVR", (row) => percent(row.cvr), "Conversions per visit"),
  figure("revenue", "Revenue", (row) => stacked(money(row.revenue, currency), besides(row.others?.revenue)), "Value of the conversions credited"),
  figure("cost", "Cost", (row) => stacked(money(row.cost, currency), besides(row.others?.cost)), "Spent"),
  figure("cpa", "CPA", (row) => money(row.cpa, currency), "Cost per conversion"),
  figure("roas", "ROAS", (row) => ratio(row.roas), "Revenue per unit of cost"),
];

function bar(share) {
  const element = make("span", { class: "bar", "aria-hidden": "true" });
  element.style.setProperty("--share", Math.max(0, Math.min(1, share)).toFixed(4));
  return element;
}

function moved(row) {
  const difference = change(row.revenue, row.before?.revenue);
  const element = make("span", { class: "change", "data-is": { up: "good", down: "bad" }[difference.direction] ?? "even" }, difference.text);
  return element;
}

const SPENT = [
  figure("cost", "Cost", (row) => stacked(money(row.cost, currency), besides(row.others?.cost)), "Spent"),
  figure("impressions", "Impressions", (row) => count(row.impressions), "Ads seen"),
  figure("cpm", "CPM", (row) => money(row.cpm, currency), "Cost per 1000 impressions"),
  figure("clicks", "Clicks", (row) => count(row.clicks), "Clicks through headwater"),
  figure("cpc", "CPC", (row) => money(row.cpc, currency), "Cost per click"),
  figure("conversions", "Conv.", (row) => conversions(row.conversions, digits), "Conversions credited"),
  figure("cpa", "CPA", (row) => money(row.cpa, currency), "Cost per conversion"),
  figure("revenue", "Revenue", (row) => money(row.revenue, currency), "Value of the conversions credited"),
  figure("roas", "ROAS", (row) => ratio(row.roas), "Revenue per unit of cost"),
  figure("roi", "ROI", (row) => percent(row.roi, 0), "Revenue less cost, per unit of cost"),
];

const CHANNELS = [
  { name: "channel", label: "Channel", text: true, head: true, value: (row) => row.channel, cell: (row) => row.channel },
  { name: "bar", label: make("span", { class: "sr" }, "Revenue, drawn"), plain: true, class: "bars", cell: (row) => bar(top ? row.revenue / top : 0), total: () => "" },
  ...FIGURES.slice(0, 4),
  { name: "change", label: "Change", title: "Revenue against the period before", value: (row) => (row.before?.revenue ? row.revenue / row.before.revenue : null), cell: moved },
  ...FIGURES.slice(4),
];

const CAMPAIGNS = [
  { name: "campaign", label: "Campaign", text: true, head: true, value: (row) => row.campaign, cell: (row) => row.campaign },
  { name: "channel", label: "Channel", text: true, value: (row) => row.channel, cell: (row) => row.channel },
  ...FIGURES,
];

/** The columns of the comparison: one a model; the chosen one is marked, and the others are held against it. */
function comparison(names, chosen, of, format) {
  const mine = names.indexOf(chosen);
  return [
    { name: "channel", label: "Channel", text: true, head: true, value: (row) => row.channel, cell: (row) => row.channel },
    ...names.map((name, index) => ({
      name,
      // A name may break after its underscores.
      label: () => make("span", {}, ...name.split("_").flatMap((part, place) => (place ? ["_", make("wbr"), part] : [part]))),
      chosen: name === chosen,
      value: (row) => row[of][index],
      cell: (row) => format(row[of][index]),
      tint: (row) => tint(row[of][index], row[of][mine]),
    })),
  ];
}

function tint(value, other = value) {
  const share = other ? value / other - 1 : value ? 1 : 0;
  const size = Math.abs(share);
  return size < 0.05 ? "" : `${share > 0 ? "more" : "less"}${size > 0.3 ? " much" : ""}`;
}

function compare() {
  const { models, question } = latest;
  const of = document.querySelector('input[name="models-of"]:checked').value;
  if (!models.rows.length) {
    at("models").replaceChildren(nothing(`No conversions in ${PERIODS[period].label}.`));
    tables.models = null;
    delete at("models").dataset.heads;
    return;
  }
  modelDigits = digitsOf(models.rows.flatMap((row) => row.conversions));
  const format = of === "revenue" ? (value) => money(value, currency) : (value) => conversions(value, modelDigits);
  const columns = comparison(models.names, question.model, of, format);
  tables.models ??= table(at("models"), "Models compared", columns);
  // Heads are made anew only where they differ: one of them may have the focus.
  const heads = JSON.stringify([models.names, question.model, of]);
  const replace = heads === at("models").dataset.heads ? null : columns;
  at("models").dataset.heads = heads;
  const total = { channel: "All", [of]: models.names.map((_, index) => models.rows.reduce((sum, row) => sum + row[of][index], 0)) };
  tables.models(models.rows, { total, replace });
}

/** What was spent, by channel or campaign; those that cost nothing have no line. */
function costs() {
  const of = document.querySelector('input[name="costs-of"]:checked').value;
  const spent = (row) => row.cost || Object.keys(row.others.cost).length;
  const rows = (of === "channels" ? latest.channels : latest.campaigns.rows).filter(spent);
  if (!rows.length) {
    at("costs").replaceChildren(nothing(`Nothing was spent in ${PERIODS[period].label}.`));
    tables.costs = null;
    return;
  }
  const heads = (of === "channels" ? CHANNELS : CAMPAIGNS).filter((column) => column.text);
  const columns = [...heads, ...SPENT];
  tables.costs ??= table(at("costs"), "Costs", columns, { sort: { name: "cost", down: true } });
  const replace = at("costs").dataset.of === of ? null : columns;
  at("costs").dataset.of = of;
  const total = of === "channels" ? { channel: "All", ...latest.kpis.values, others: latest.kpis.others } : null;
  tables.costs(rows, { total, replace });
}

function campaigns() {
  const { rows, count: number } = latest.campaigns;
  if (!rows.length) {
    at("campaigns").replaceChildren(nothing(`No campaign was named in ${PERIODS[period].label}.`));
    tables.campaigns = null;
  } else {
    tables.campaigns ??= table(at("campaigns"), "Campaigns", CAMPAIGNS);
    tables.campaigns(rows, { most: all ? Infinity : FIRST });
  }
  const button = at("campaigns-more");
  button.hidden = rows.length <= FIRST;
  const hidden = number > rows.length ? ` of ${count(number)}` : "";
  say(button, all ? `Show the first ${FIRST} only` : hidden ? `Show ${count(rows.length)}${hidden}` : `Show all ${count(rows.length)}`);
}

/** Show these figures. */
export function show(figures) {
  latest = figures;
  ({ currency, period } = figures.question);
  const { channels, kpis } = figures;
  digits = digitsOf([...channels.map((row) => row.conversions), ...figures.campaigns.rows.map((row) => row.conversions)]);
  top = Math.max(...channels.map((row) => row.revenue), 0);
  if (channels.length) {
    tables.channels ??= table(at("channels"), "Channels", CHANNELS);
    tables.channels(channels, { total: { channel: "All", ...kpis.values, others: kpis.others, before: figures.before.values } });
  } else {
    at("channels").replaceChildren(nothing(`Nobody came in ${PERIODS[period].label}.`));
    tables.channels = null;
  }
  compare();
  campaigns();
  costs();
}

/** Listen to what belongs to these tables alone. */
export function start() {
  at("models-of").addEventListener("change", () => latest && compare());
  at("costs-of").addEventListener("change", () => latest && costs());
  at("campaigns-more").addEventListener("click", () => {
    all = !all;
    campaigns();
  });
}
