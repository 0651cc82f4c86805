// The list of decisions, newest first. Entries keep their place and stay open while newer ones come in.

import { byId, h, say } from "./dom.js";
import { change, clock, iso, label, number, quantity, since } from "./words.js";

const entries = new Map();

export function forget() {
  entries.clear();
  byId("decisions").replaceChildren();
}

export function decisions(runs) {
  const list = byId("decisions");
  const wanted = runs.map((run) => {
    const key = `${run.first_at}`;
    if (!entries.has(key)) entries.set(key, new Entry());
    const entry = entries.get(key);
    entry.show(run);
    return entry.element;
  });
  const kept = new Set(wanted);
  for (const [key, entry] of entries) if (!kept.has(entry.element)) entries.delete(key);
  for (const child of [...list.children]) if (!kept.has(child)) child.remove();
  wanted.forEach((element, i) => {
    if (list.children[i] !== element) list.insertBefore(element, list.children[i] ?? null);
  });
}

class Entry {
  constructor() {
    this.time = h("time", {});
    this.action = h("span", { class: "action" });
    this.what = h("span", { class: "what" });
    this.why = h("span", { class: "why" });
    this.inside = h("div", { class: "inside" });
    this.details = h("details", {}, h("summary", {}, this.time, this.action, this.what, this.why), this.inside);
    this.details.addEventListener("toggle", () => this.open());
    this.element = h("li", {}, this.details);
  }

  show(run) {
    const { decision } = run;
    if (this.run && this.run.count === run.count && this.run.decision.at === decision.at) return;
    this.run = run;
    this.time.dateTime = iso(decision.at);
    say(this.time, clock(decision.at));
    this.action.className = `action ${decision.action}`;
    say(this.action, decision.action);
    say(this.what, decision.sentence);
    const held = run.count > 1 ? `held ${run.count} times since ${since(run.first_at)} · ` : "";
    say(this.why, `${held}${decision.reason}${outcomes(run)}`);
    this.open();
  }

  open() {
    if (this.details.open) this.inside.replaceChildren(...explanation(this.run));
  }
}

function outcomes(run) {
  return run.outcomes.map((o) => ` · ${o.write.variant} ${o.write.current} → ${o.write.replicas}: ${o.status}`
    + (o.detail ? ` (${o.detail})` : "")).join("");
}

function explanation({ decision }) {
  return [
    h("h3", {}, "Steps"),
    h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Steps" }, steps(decision.steps)),
    ...section("What would have changed it", decision.counterfactuals.map((text) => h("li", {}, text))),
    ...section("Considered and not taken", decision.rejected.map((other) => h("li", {},
      `${change(other.replicas, other.replicas)} at ${number(other.cost_per_hour, 2)} per hour: ${other.why_not}`))),
    h("h3", {}, "Estimates"),
    h("dl", {}, decision.estimates.map(([name, value]) => h("div", {},
      h("dt", {}, label(name)), h("dd", {}, quantity(name, value))))),
  ];
}

const section = (title, items) => (items.length ? [h("h3", {}, title), h("ul", {}, items)] : []);

function steps(all) {
  return h("table", {},
    h("thead", {}, h("tr", {}, ["Stage", "Replicas", "Reason", "Why"].map((name) => h("th", { scope: "col" }, name)))),
    h("tbody", {}, all.map((step) => {
      const moved = JSON.stringify(step.before) !== JSON.stringify(step.after);
      return h("tr", {},
        h("td", { class: "nowrap" }, step.stage),
        h("td", { class: moved ? "nowrap" : "nowrap kept" }, change(step.before, step.after)),
        h("td", { class: "nowrap" }, step.reason),
        h("td", { class: "message" }, step.message));
    })));
}
