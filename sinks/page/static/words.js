// The words of the page, each explained once. Names are those of the views, topics and metrics.

export const PERIODS = {
  "1h": { label: "the last hour", before: "the hour before", bar: "by minute" },
  "24h": { label: "the last 24 hours", before: "the 24 hours before", bar: "by half hour" },
  "7d": { label: "the last 7 days", before: "the 7 days before", bar: "every 3 hours" },
  "30d": { label: "the last 30 days", before: "the 30 days before", bar: "by day" },
};

/** What is shown large. `good`: the direction that is welcome; money stands in the currency chosen. */
export const KPIS = [
  { name: "visits", label: "Visits", hint: "clicks and landings", kind: "count", good: "up" },
  { name: "conversions", label: "Conversions", hint: "orders and other goals", kind: "conversions", good: "up" },
  { name: "cvr", label: "CVR", hint: "conversions per visit", kind: "percent", good: "up" },
  { name: "revenue", label: "Revenue", hint: "value of the conversions", kind: "money", good: "up" },
  { name: "cost", label: "Cost", hint: "spent on ads", kind: "money", good: null },
  { name: "cpa", label: "CPA", hint: "cost per conversion", kind: "money", good: "down" },
  { name: "roas", label: "ROAS", hint: "revenue per unit of cost", kind: "ratio", good: "up" },
];

export const MODELS = {
  last_touch: "All credit goes to the last touch before the conversion (a touch is a visit, or an ad that was seen).",
  last_non_direct: "All credit goes to the last touch that was not Direct; to Direct only where there was nothing else.",
  first_touch: "All credit goes to the first touch: what brought the customer in.",
  linear: "Every touch before the conversion gets the same share.",
  time_decay: "Recent touches get more: a share halves with every 7 days of age.",
  position_based: "40 % go to the first touch, 40 % to the last, the rest is shared by those between.",
  data_driven: "Shares as learnt from which touches made conversions likelier.",
};

export const OUTCOMES = {
  accepted: "counted",
  duplicate: "the same event sent again; counted once",
  dead_letter: "refused; the reasons are below",
  moved: "put where it belongs first, then counted",
};

export const REASONS = {
  malformed: "No JSON, or not readable at all.",
  schema: "A field is missing, or of a wrong type or range.",
  too_large: "Larger than an event may be.",
  too_old: "Came longer after it happened than its kind allows.",
  in_future: "Lies more than 10 minutes ahead of its receipt: the sender's clock is wrong.",
  id_collision: "Another event with the same id and other content came first.",
};

export const ROLES = {
  collector: "takes events in over HTTP",
  worker: "joins, counts and credits them",
  sink: "brings results to ClickHouse",
  clickhouse: "holds what this page shows",
};

export const GLOSSARY = [
  ["Visit", "A click on an ad or a link of ours, or a landing on the site. Pages reached from the site itself or back from a payment provider are none, and invalid traffic is left out."],
  ["Conversion", "An order or another goal of the site. One that waits for approval counts as pending; one that was rejected or refunded counts as none."],
  ["Credit", "What a conversion is owed to. A model is the rule by which it is shared among the touches before it; the shares of one conversion always sum to one, and to its value."],
  ["Channel", "The kind of way a visitor came: the default channel group of Google Analytics 4, plus what the site has set for its campaigns."],
  ["CVR, CPA, ROAS", "Conversions per visit; cost per conversion; revenue divided by cost. Each is made of the figures shown beside it. Where it would divide by zero there is a dash."],
  ["CPC, CPM, ROI", "Cost per click; cost per 1000 impressions; revenue less cost, divided by cost: 0 % where both are equal, −100 % where nothing came back."],
  ["Cost", "What ad networks state (imported), in the place of what clicks and impressions said they cost; where nothing is stated, what they said."],
  ["Currencies", "Amounts in different currencies are never added. Visits and conversions are counted whole; money is what came in the currency chosen, and other amounts are named beside it."],
  ["The period before", "As long as what has passed of this period, right before it. Figures of the past may still change: a late event, a refund or a withdrawn consent moves the credit."],
  ["Refused (dead letter)", "An event that could not be taken. It is kept with its bytes and its reason, and can be mended and sent again."],
];
