"""The laws of weights set by hand, each about what was seen and the plan made of it. They know nothing of the planner.

Every law returns what breaks it, or an empty text.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from controller.model.fleet import Fleet
from controller.model.plan import Plan
from controller.model.snapshot import Snapshot
from tests.property.controller.laws import (
    a_foreign_target_is_left_alone,
    bounds_hold,
    every_decision_is_explained,
    no_growth_beyond_the_budget,
    silence_is_not_idleness,
    steps_are_bounded,
    victims_are_those_who_matter_least,
    writes_are_the_decision,
)
from tests.property.controller.worlds import World

TrafficLaw = Callable[[Fleet, Snapshot, Plan], str]
ALSO = (
    a_foreign_target_is_left_alone,
    bounds_hold,
    every_decision_is_explained,
    no_growth_beyond_the_budget,
    silence_is_not_idleness,
    steps_are_bounded,
    victims_are_those_who_matter_least,
    writes_are_the_decision,
)
"""Laws of every decision that know nothing of versions."""


def weights_seen(fleet: Fleet, snapshot: Snapshot) -> Mapping[str, int]:
    found = {}
    for variant in fleet.spec.variants:
        state = snapshot.variant(variant.name)
        if state is not None and state.weight_pct is not None:
            found[variant.subset] = state.weight_pct
    return found


def _ready(fleet: Fleet, snapshot: Snapshot, subset: str) -> dict[str, int]:
    states = ((v.name, snapshot.variant(v.name)) for v in fleet.spec.variants if v.subset == subset)
    return {name: s.target.ready for name, s in states if s is not None and s.target is not None}


def _capacity(plan: Plan, name: str) -> float:
    return dict(plan.decision.estimates).get(f"capacity_rps.{name}") or 0.0


def _stable(fleet: Fleet, plan: Plan) -> str:
    return plan.memory.stable or fleet.subsets[0]


def capacity_before_traffic(fleet: Fleet, snapshot: Snapshot, plan: Plan) -> str:
    """No version gets more than its ready replicas carry, those that leave now not counted."""
    write, sized_rps = plan.weights, dict(plan.decision.estimates).get("sized_rps")
    attained = {c.type: c.status == "True" for c in plan.decision.conditions}.get("ObjectiveAttainable")
    if write is None or write.urgent or not attained:
        return ""
    now, after = weights_seen(fleet, snapshot), dict(plan.decision.after)
    for subset, percent in write.weights:
        if percent <= now[subset]:
            continue
        staying = {name: min(n, after[name]) for name, n in _ready(fleet, snapshot, subset).items()}
        if not sum(staying.values()):
            return f"{subset} gets {percent} % without a ready replica"
        if sized_rps is None:
            if subset != _stable(fleet, plan):
                return f"{subset} gets {percent} % of a demand that nobody knows"
            continue
        carried = sum(n * _capacity(plan, name) for name, n in staying.items())
        if percent / 100 * sized_rps > carried * 1.000001:
            return f"{subset} gets {percent} % of {sized_rps:.2f}/s and carries {carried:.2f}/s"
    return ""


def traffic_before_reductions(fleet: Fleet, snapshot: Snapshot, plan: Plan) -> str:
    """Where ready replicas leave, those that stay carry the greater of the present and the wanted share."""
    sized_rps = dict(plan.decision.estimates).get("sized_rps")
    attained = {c.type: c.status == "True" for c in plan.decision.conditions}.get("ObjectiveAttainable")
    if sized_rps is None or not attained or fleet.spec.scaling.override is not None:
        return ""
    now, before, after = weights_seen(fleet, snapshot), dict(plan.decision.before), dict(plan.decision.after)
    for subset, wanted in fleet.wanted_weights or ():
        ready = _ready(fleet, snapshot, subset)
        leaving = [name for name, n in ready.items() if after[name] < min(n, before[name])]
        most = {v.name: v.replicas.max for v in fleet.spec.variants}
        if not leaving or any(before[name] > most[name] for name in leaving):
            continue
        carried = sum(min(n, after[name]) * _capacity(plan, name) for name, n in ready.items())
        share = max(wanted, now.get(subset, 0)) / 100
        if share * sized_rps > carried * 1.001:
            return f"{leaving} shrink to {carried:.2f}/s, {share:.0%} of {sized_rps:.2f}/s are theirs"
    return ""


def nobody_is_sent_where_nobody_answers(fleet: Fleet, snapshot: Snapshot, plan: Plan) -> str:
    """A version on trial without a ready replica loses its traffic in the same cycle, where another one is ready."""
    now = weights_seen(fleet, snapshot)
    if sum(now.values()) != 100 or fleet.spec.scaling.paused:
        return ""
    ready = {s: sum(_ready(fleet, snapshot, s).values()) for s in now}
    kept = {s: sum(min(n, dict(plan.decision.after)[v]) for v, n in _ready(fleet, snapshot, s).items()) for s in now}
    dead = [s for s, percent in now.items() if percent and not ready[s] and s != _stable(fleet, plan)]
    if not dead or not any(kept.values()):
        return ""
    if plan.weights is None or any(dict(plan.weights.weights)[s] for s in dead):
        return f"{dead} have no ready replica and keep traffic"
    return ""


def a_write_is_whole_and_made_for_what_was_seen(fleet: Fleet, snapshot: Snapshot, plan: Plan) -> str:
    write, now = plan.weights, weights_seen(fleet, snapshot)
    if write is None:
        return ""
    route, weights = snapshot.route, dict(write.weights)
    if sum(weights.values()) != 100 or min(weights.values()) < 0 or tuple(weights) != fleet.subsets:
        return f"{weights} are no split"
    if dict(write.before) != now or weights == now:
        return f"{weights} were decided on {dict(write.before)}, {now} were seen"
    if route is None or write.resource_version != route.resource_version:
        return "the version is not the one that was read"
    remembered = plan.memory.traffic is not None and plan.memory.traffic.intent == write
    lost = [s for s, percent in weights.items() if percent < now[s]]
    if write.urgent and any(sum(_ready(fleet, snapshot, s).values()) for s in lost):
        return f"{lost} lose traffic urgently, but have ready replicas"
    right = remembered and (write.urgent or write.weights == fleet.wanted_weights)
    return "" if right else f"{weights} are not remembered, or not what is wanted"


def a_paused_fleet_keeps_its_weights(fleet: Fleet, snapshot: Snapshot, plan: Plan) -> str:
    return "moved while paused" if fleet.spec.scaling.paused and plan.weights is not None else ""


def contested_weights_are_left_alone(fleet: Fleet, snapshot: Snapshot, plan: Plan) -> str:
    memory, write = plan.memory.traffic, plan.weights
    fought = memory is not None and memory.contested and write is not None and not write.urgent
    return "contested weights were written" if fought else ""


def it_is_said_whether_traffic_is_as_wanted(fleet: Fleet, snapshot: Snapshot, plan: Plan) -> str:
    found = {c.type: c for c in plan.decision.conditions}.get("TrafficInSync")
    made = plan.decision.traffic
    if found is None or made is None or not found.message:
        return "nothing is said of traffic"
    same = weights_seen(fleet, snapshot) == dict(fleet.wanted_weights or ())
    if (found.status == "True") != (same and plan.weights is None):
        return f"TrafficInSync is {found.status} ({found.reason})"
    moved = made.before if plan.weights is None else plan.weights.weights
    return "" if made.after == moved else "the decision does not tell the write"


LAWS: tuple[TrafficLaw, ...] = (
    capacity_before_traffic,
    traffic_before_reductions,
    nobody_is_sent_where_nobody_answers,
    a_write_is_whole_and_made_for_what_was_seen,
    a_paused_fleet_keeps_its_weights,
    contested_weights_are_left_alone,
    it_is_said_whether_traffic_is_as_wanted,
)


def broken_traffic(world: World, plan: Plan) -> list[str]:
    """The laws that the plan breaks, each with how."""
    if "Ready" in {c.type for c in plan.decision.conditions if c.reason == "Unreadable"}:
        return ["an unreadable fleet was written"] if plan.writes or plan.weights else []
    found = [(law.__name__, law(world.fleet, world.snapshot, plan)) for law in LAWS]
    found += [(law.__name__, law(world, plan)) for law in ALSO]
    return [f"{name}: {text}" for name, text in found if text]
