// Asks the daemon every two seconds and shows what it says; keeps the last of it while the daemon is away.

import { decisions, forget } from "./decisions.js";
import { byId, h, say } from "./dom.js";
import { charts, head, tiles, variants } from "./fleet.js";
import { clock, count, number } from "./words.js";

const EVERY_MS = 2000;
const TIMEOUT_MS = 5000;
const KEPT_S = 900;
const LISTED_MAX = 60;
const DECISIONS_STEP = 20;

const view = { key: null, charts: [], points: [], lostAt: null, filter: "", listed: "", turn: 0,
  decisions: DECISIONS_STEP };

async function ask(path) {
  const answer = await fetch(path, { signal: AbortSignal.timeout(TIMEOUT_MS), cache: "no-store" });
  if (!answer.ok && answer.status !== 404) throw new Error(`${path} answered ${answer.status}`);
  return answer.ok ? answer.json() : null;
}

const wanted = (fleets) => {
  const chosen = decodeURIComponent(location.hash.slice(1));
  return fleets.find((f) => f.fleet === chosen) ?? fleets.find((f) => f.state.level === "attention") ?? fleets[0];
};

async function refresh() {
  try {
    const overview = await ask("/api/v1/fleets");
    if (overview === null) throw new Error("another program answers at this address");
    reached(overview);
    const fleet = view.key && !location.hash && overview.fleets.find((f) => f.fleet === view.key) || wanted(overview.fleets);
    navigation(overview.fleets, fleet?.fleet);
    if (fleet) await showFleet(fleet);
    byId("waiting").hidden = Boolean(fleet);
    byId("fleet").hidden = !fleet;
  } catch (error) {
    if (!(error instanceof TypeError || error instanceof DOMException || error instanceof Error)) throw error;
    lost();
  }
}

function reached(overview) {
  view.lostAt = null;
  document.body.classList.remove("lost");
  byId("mode").hidden = !overview.dry_run;
  const trouble = byId("trouble");
  trouble.hidden = !overview.errors.length;
  say(trouble, overview.errors.join("; "));
  const link = byId("link");
  link.className = "link up";
  say(link, overview.at === null ? "no cycle yet"
    : `last cycle ${clock(overview.at)}, ${number(overview.tick_s, 2)} s · version ${overview.version}`);
}

function lost() {
  view.lostAt ??= Date.now() / 1000;
  document.body.classList.add("lost");
  const link = byId("link");
  link.className = "link down";
  say(link, `not reachable since ${clock(view.lostAt)}: showing what was last known`);
}

function navigation(fleets, current) {
  byId("fleets").hidden = fleets.length < 2;
  byId("filter").parentElement.hidden = fleets.length <= 12;
  const shown = fleets.filter((f) => f.fleet.includes(view.filter)).slice(0, LISTED_MAX);
  const state = JSON.stringify([current, shown.map((f) => [f.fleet, f.state.level, f.figures.ready, f.figures.desired])]);
  if (state === view.listed) return;
  view.listed = state;
  byId("fleet-list").replaceChildren(...shown.map((f) => h("li", {},
    h("a", { href: `#${encodeURIComponent(f.fleet)}`, "aria-current": f.fleet === current ? "page" : null, title: f.state.sentence },
      h("span", { class: `dot ${f.state.level}` }), h("span", {}, f.fleet),
      h("span", {}, `${count(f.figures.ready)} of ${count(f.figures.desired)} ready`)))));
}

async function showFleet({ fleet: key }) {
  const turn = ++view.turn;
  const fresh = key !== view.key;
  const path = `/api/v1/fleets/${key.split("/").map(encodeURIComponent).join("/")}`;
  const from = fresh ? 0 : view.points.at(-1)?.at ?? 0;
  const [fleet, history, list, client] = await Promise.all([
    ask(path), ask(`${path}/history?since=${from}`), ask(`${path}/decisions?limit=${view.decisions + 1}`), ask("/api/v1/client")]);
  if (!fleet || !history || !list || turn !== view.turn) return;
  if (fresh) {
    Object.assign(view, { key, points: [], charts: charts(fleet), decisions: DECISIONS_STEP });
    forget();
    document.title = `${fleet.fleet} · governor`;
  }
  const setBack = fleet.figures.at < (view.points.at(-1)?.at ?? 0);
  view.points = (setBack ? [] : [...view.points, ...history.points]).filter((p) => p.at >= fleet.figures.at - KEPT_S);
  head(fleet);
  tiles(fleet, client?.client);
  variants(fleet);
  decisions(list.decisions.slice(0, view.decisions));
  byId("older").hidden = list.decisions.length <= view.decisions;
  if (view.points.length) view.charts.forEach((chart) => chart.show(view.points));
}

byId("filter").addEventListener("input", (event) => {
  view.filter = event.target.value.trim();
  refresh();
});
byId("older").addEventListener("click", () => {
  view.decisions += DECISIONS_STEP;
  refresh();
});
addEventListener("hashchange", refresh);

async function forever() {
  await refresh();
  setTimeout(forever, EVERY_MS);
}
forever();
