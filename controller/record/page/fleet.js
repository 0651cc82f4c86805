// One fleet: head, tiles, charts, variants, and the conditions that are amiss.

import { Chart } from "./charts.js";
import { byId, h, say } from "./dom.js";
import { UNKNOWN, count, iso, number, percent, since, target, threshold } from "./words.js";

const VARIANT_COLORS = ["blue", "violet", "teal", "amber", "gray"];

export function head(fleet) {
  say(byId("fleet-name"), fleet.fleet);
  say(byId("fleet-model"), `${fleet.model_name} · policy ${fleet.policy} · metrics from ${fleet.source}`);
  const state = byId("state");
  if (state.dataset.text !== fleet.state.sentence + fleet.state.level) {
    state.dataset.text = fleet.state.sentence + fleet.state.level;
    state.replaceChildren(h("span", { class: `dot ${fleet.state.level}` }), fleet.state.sentence);
  }
  say(byId("last-sentence"), fleet.decision.sentence);
  const list = byId("counterfactuals");
  if (list.dataset.text !== fleet.decision.counterfactuals.join("\n")) {
    list.dataset.text = fleet.decision.counterfactuals.join("\n");
    list.replaceChildren(...fleet.decision.counterfactuals.map((text) => h("li", {}, text)));
  }
  amiss(fleet.amiss);
}

function amiss(conditions) {
  const section = byId("amiss");
  section.hidden = !conditions.length;
  section.replaceChildren(h("ul", {}, conditions.map((c) => h("li", {},
    h("b", {}, `${c.type} is ${c.status}`), ` (${c.reason}) since `, h("time", { datetime: iso(c.since) }, since(c.since)),
    `: ${c.message}`))));
}

function tile(id, name, value, unit, note, missed = false) {
  return h("dl", { class: missed ? "tile missed" : "tile", id: `tile-${id}` },
    h("dt", {}, name),
    h("dd", { class: "value" }, value, unit ? h("span", { class: "unit" }, unit) : null),
    h("dd", { class: "note" }, note));
}

function attainment(id, name, ratio, objective) {
  const missed = ratio !== null && ratio < objective.target_ratio;
  const note = `within ${threshold(objective.threshold_s)} · target ${target(objective.target_ratio)}`;
  return tile(id, name, percent(ratio), "", ratio === null ? `${note} · none finished` : note, missed);
}

export function tiles(fleet, client) {
  const f = fleet.figures;
  const parts = [
    tile("arrivals", "Arrivals", number(f.arrival_rps), "requests/s",
      `ready replicas carry ${number(f.capacity_rps)} requests/s`),
    attainment("ttft", "First token in time", f.ttft_within_ratio, fleet.objectives.ttft),
    attainment("tpot", "Tokens in time", f.tpot_within_ratio, fleet.objectives.tpot),
    tile("replicas", "Replicas ready", count(f.ready), `of ${count(f.desired)}`,
      `${count(f.starting)} starting · ${count(f.draining)} draining`),
    tile("requests", "Running", count(f.running), "requests", `${count(f.waiting)} waiting`),
    tile("cost", "Cost", number(f.cost_per_hour, 2), "per hour", "of replicas that hold a machine"),
  ];
  if (client) parts.push(...clientTiles(client));
  byId("tiles").classList.toggle("wide", Boolean(client));
  byId("tiles").replaceChildren(...parts);
}

function clientTiles(client) {
  const ms = (seconds) => (seconds === null || seconds === undefined ? UNKNOWN : `${Math.round(seconds * 1000)} ms`);
  return [
    tile("client", "Clients: in time", percent(client.window_attainment_ratio ?? client.attainment_ratio), "",
      `${number(client.rps ?? client.offered_rps)} requests/s · ${count(client.failed)} failed`),
    tile("client-ttft", "Clients: first token p95", ms(client.ttft_p95_s), "", `p95 per token ${ms(client.tpot_p95_s)}`),
  ];
}

const COLUMNS = [
  ["Variant", (v) => v.name],
  ["Role", (v) => v.role],
  ["Accelerator", (v) => v.accelerator],
  ["Weight", (v) => (v.weight_pct === null ? UNKNOWN : `${v.weight_pct} %`), "n"],
  ["Ordered", (v) => count(v.desired), "n"],
  ["Ready", (v) => count(v.ready), "n"],
  ["Starting", (v) => count(v.starting), "n"],
  ["Draining", (v) => count(v.draining), "n"],
  ["One replica carries", (v) => (v.capacity_rps === null ? UNKNOWN
    : `${number(v.capacity_rps, 2)} requests/s ± ${count((v.capacity_uncertainty_ratio ?? 0) * 100)} %`), "n"],
  ["Cold start p90", (v) => (v.cold_start_p90_s === null ? UNKNOWN : `${count(v.cold_start_p90_s)} s`), "n"],
  ["Cost", (v) => `${number(v.cost_per_hour, 2)} /h`, "n"],
];

export function variants(fleet) {
  byId("variants").replaceChildren(h("table", {},
    h("thead", {}, h("tr", {}, COLUMNS.map(([name, , kind]) => h("th", { class: kind, scope: "col" }, name)))),
    h("tbody", {}, fleet.figures.variants.map((variant) => h("tr", {},
      COLUMNS.map(([, text, kind]) => h("td", { class: kind ?? "nowrap" }, text(variant))))))));
}

const onAxis = (digits) => (value, axis) => (axis ? String(Number(value.toFixed(2))) : number(value, digits));

/** The axis of shares begins below the least one, at a round number, and ends at all of them. */
function shareFloor(least) {
  const low = [0.98, 0.95, 0.9, 0.8, 0.5, 0].find((bound) => least >= bound) ?? 0;
  return [low, 1];
}

/** The charts of one fleet; made anew when another fleet is chosen. */
export function charts(fleet) {
  const { ttft, tpot } = fleet.objectives;
  const zero = () => 0;
  const ready = (p) => p.ready;
  const moving = (p) => (p.ready === null ? null : p.ready + (p.starting ?? 0));
  const leaving = (p) => (p.ready === null ? null : moving(p) + (p.draining ?? 0));
  const own = (part, stacked) => (p, alone) => (alone ? p[part] : stacked(p));
  const specs = [
    { title: "Arrivals and capacity", unit: "requests/s", format: onAxis(1), series: [
      { name: "carried by ready replicas", kind: "area", color: "teal", value: (p) => p.capacity_rps, base: zero, stepped: true },
      { name: "sized for", kind: "dash", color: "gray", value: (p) => p.sized_rps },
      { name: "arriving", kind: "line", color: "blue", value: (p) => p.arrival_rps },
    ] },
    { title: "Replicas", unit: "replicas", format: count, whole: true, least: 3, series: [
      { name: "ready", kind: "solid", color: "teal", value: own("ready", ready), base: zero, stepped: true },
      { name: "starting", kind: "solid", color: "amber", value: own("starting", moving), base: ready, stepped: true },
      { name: "draining", kind: "area", color: "gray", value: own("draining", leaving), base: moving, stepped: true },
      { name: "ordered", kind: "step", color: "ink", value: (p) => p.desired },
    ] },
    { title: "Requests inside their objectives", unit: "share of requests", floor: shareFloor,
      format: (v, axis) => (axis ? target(v) : percent(v)), series: [
        { name: "first token", kind: "line", color: "blue", value: (p) => p.ttft_within_ratio },
        { name: "per token", kind: "line", color: "violet", value: (p) => p.tpot_within_ratio },
        { name: ttft.target_ratio === tpot.target_ratio ? "target" : "first-token target", kind: "dash", color: "ink",
          value: () => ttft.target_ratio },
        ...(ttft.target_ratio === tpot.target_ratio ? []
          : [{ name: "per-token target", kind: "dash", color: "gray", value: () => tpot.target_ratio }]),
      ] },
    { title: "Requests in the engines", unit: "requests", format: count, whole: true, least: 8, series: [
      { name: "running", kind: "area", color: "blue", value: own("running", (p) => p.running), base: zero },
      { name: "waiting", kind: "line", color: "amber", value: (p) => p.waiting },
    ] },
    { title: "What one replica carries, as learned", unit: "requests/s", format: onAxis(2),
      series: fleet.figures.variants.flatMap((v, i) => learned(v.name, VARIANT_COLORS[i % VARIANT_COLORS.length])) },
    { title: "Cost", unit: "per hour", format: onAxis(2), series: [
      { name: "replicas that hold a machine", kind: "area", color: "violet", value: (p) => p.cost_per_hour, base: zero, stepped: true },
    ] },
  ];
  const made = specs.map((spec) => new Chart(spec));
  byId("charts").replaceChildren(...made.map((chart) => chart.element));
  return made;
}

function learned(name, color) {
  const of = (p) => p.variants.find((v) => v.name === name) ?? {};
  const edge = (p, sign) => {
    const { capacity_rps: mean, capacity_uncertainty_ratio: spread } = of(p);
    return mean === null || mean === undefined ? null : Math.max(0, mean * (1 + sign * (spread ?? 0)));
  };
  return [
    { name, kind: "line", color, value: (p) => of(p).capacity_rps ?? null },
    { silent: true, kind: "area", color, value: (p) => edge(p, 1), base: (p) => edge(p, -1) },
  ];
}

