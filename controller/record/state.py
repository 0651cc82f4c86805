"""One plain sentence on how a fleet fares, for the head of the page and the status table."""

from __future__ import annotations

from typing import Literal, NamedTuple

from controller.model.decision import Action, Reason
from controller.model.weights import moved_text
from controller.ports import CycleRecord
from controller.record.figures import Figures
from controller.record.wording import percent, span, threshold

Level = Literal["good", "working", "attention"]
_BLIND = (Reason.BLIND, Reason.UNREADABLE)
_SETTLES_S = 60.0
"""A replica that has just come is incomplete for a window: that needs nobody's attention."""


class State(NamedTuple):
    """How urgent, and why."""

    level: Level
    sentence: str


def state_of(record: CycleRecord, f: Figures) -> State:
    """The most urgent truth first: blind, held, missing objectives, moving, half blind, fine."""
    urgent = _blind(record) or _held(record) or _missing(record, f)
    return urgent or _moving(record, f) or _half_blind(record) or _fine(f)


def _blind(record: CycleRecord) -> State | None:
    decision = record.plan.decision
    if decision.reason not in _BLIND:
        return None
    what = "replicas cannot be read" if decision.reason is Reason.UNREADABLE else "no trustworthy metrics"
    lost = [c.since for c in decision.conditions if c.type in ("MetricsAvailable", "Ready") and c.status != "True"]
    return State(
        "attention", f"Blind{_since(decision.at, lost[-1] if lost else decision.at)}: {what}; every replica is kept"
    )


def _held(record: CycleRecord) -> State | None:
    for condition in record.plan.decision.conditions:
        if condition.type == "Scaling" and condition.status != "True":
            return State("attention", f"Scaling is restrained ({condition.reason}): {condition.message}")
    return None


def _missing(record: CycleRecord, f: Figures) -> State | None:
    objectives = record.fleet.spec.objectives
    missed = [
        f"{percent(share)} of {what} within {threshold(objective.threshold)} (target {percent(objective.target)})"
        for what, share, objective in (
            ("first tokens", f.ttft_within_ratio, objectives.ttft),
            ("requests' tokens", f.tpot_within_ratio, objectives.tpot),
        )
        if share is not None and share < objective.target
    ]
    if not missed:
        return None
    moving = _moving(record, f)
    return State("attention", "Missing: " + " and ".join(missed) + (f". {moving.sentence}" if moving else ""))


def _moving(record: CycleRecord, f: Figures) -> State | None:
    decision = record.plan.decision
    ready = f"{f.ready or 0} ready"
    if decision.action is Action.TRAFFIC and decision.traffic is not None and decision.traffic.before is not None:
        moved = moved_text(decision.traffic.before, decision.traffic.after or ())
        return State("working", f"Moving traffic: {moved}; {ready}")
    if decision.action is not Action.HOLD:
        before, after = (sum(n for _, n in c) for c in (decision.before, decision.after))
        verb = {Action.UP: "Growing", Action.DOWN: "Shrinking", Action.SHIFT: "Moving"}[decision.action]
        return State("working", f"{verb} from {_replicas(before)} to {after}; {ready}")
    if f.starting:
        return State("working", f"{_replicas(f.desired or 0)} ordered: {ready}, {f.starting} starting")
    if f.draining:
        return State("working", f"{_replicas(f.desired or 0)} wanted: {ready}, {f.draining} finishing their requests")
    if f.ready is not None and f.desired is not None and f.ready < f.desired:
        return State("attention", f"Only {f.ready} of {_replicas(f.desired)} ready, none starting")
    return None


def _half_blind(record: CycleRecord) -> State | None:
    at = record.plan.decision.at
    for c in record.plan.decision.conditions:
        if c.type == "MetricsAvailable" and c.status != "True":
            level: Level = "attention" if at - c.since > _SETTLES_S else "working"
            what = f"{c.message}; they justify no reduction"
            return State(level, f"Metrics are incomplete{_since(at, c.since)}: {what}")
    return None


def _since(at: float, begun: float) -> str:
    """How long it has lasted; empty for what has just begun."""
    return f" for {span(at - begun)}" if at - begun >= 1 else ""


def _fine(f: Figures) -> State:
    held = f"{_replicas(f.ready or 0)} ready"
    if f.ttft_within_ratio is None and f.tpot_within_ratio is None:
        return State("good", f"Quiet: {held}, no finished request in the window")
    return State("good", f"Inside its objectives: {held}")


def _replicas(count: int) -> str:
    return f"{count} replica" if count == 1 else f"{count} replicas"
