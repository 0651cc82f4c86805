"""Weights set by hand, under the law "capacity before traffic".

No write of ours makes false, or worsens, for any version that gets more traffic:

    weight x demand <= ready replicas x learned capacity

What the wanted split asks of replicas is ordered first; meanwhile the weights are held as they are, and then move in
one step. One exception: a version without a ready replica loses its traffic to one that has, whatever that carries.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from controller.decide.proposal import Question
from controller.estimate.demand import LONG_S, Demand
from controller.estimate.ownership import QUIET_S, drifted
from controller.estimate.split import observed_weights
from controller.model.copies import replace
from controller.model.decision import Counts, Reason, Step, TrafficDecision, WeightWrite
from controller.model.memory import TrafficMemory
from controller.model.weights import Weights, moved_text, weights_text

_TOLERANCE = 1e-9


@dataclass(frozen=True, slots=True)
class Moved:
    """What was decided about weights, the write that it asks for, and what to remember of it."""

    decision: TrafficDecision
    write: WeightWrite | None
    memory: TrafficMemory
    what_if: tuple[str, ...] = ()
    """What would have moved them, true as it stands."""

    def step(self, counts: Counts) -> Step | None:
        """The stage for the decision's history, after the final counts; None where all is as wanted."""
        made = self.decision
        inputs = tuple((f"weight_pct.{subset}", float(percent)) for subset, percent in made.before or ())
        if made.reason is Reason.STEADY:
            return None
        return Step("traffic", counts, counts, made.reason, made.sentence, inputs)


@dataclass(frozen=True, slots=True)
class _Lack:
    """A version that cannot carry what it would get: why, and (of a single variant) the ready replicas it takes."""

    text: str
    variant: str = ""
    needed: int = 0


def decide(question: Question, final: Counts, short: str) -> Moved | None:
    """The weights of this cycle, given its final counts; None where they are not set by hand.

    `short` says which limit keeps the replicas fewer than wanted, if one does.
    """
    memory = question.memory.traffic
    if memory is None:
        return None
    before = observed_weights(question.fleet, question.snapshot)
    if before is None:
        return _held(memory, None, Reason.UNREADABLE, f"weights could not be read: {_problem(question)}")
    rescued = _rescued(question, before, final)
    if rescued is not None and not question.fleet.spec.scaling.paused:
        return _urgent(question, memory, before, rescued)
    held = _not_now(question, memory, before)
    if held is not None:
        return _held(memory, before, *held)
    lacks = _lacks(question, memory.wanted, before, final)
    if lacks:
        return _waiting(question, memory, before, lacks, short)
    unsure = _unsure(question, before, memory.wanted)
    return _held(memory, before, Reason.NOT_FRESH, unsure) if unsure else _moved(question, memory, before)


def _problem(question: Question) -> str:
    route = question.snapshot.route
    return (route.problem if route is not None else "") or "nobody reads them here"


def _by_whom(question: Question) -> str:
    route = question.snapshot.route
    return f" by {route.foreign}" if route is not None and route.foreign else ""


def _held(memory: TrafficMemory, before: Weights | None, reason: Reason, sentence: str) -> Moved:
    return Moved(TrafficDecision(memory.wanted, before, before, reason, sentence), None, memory)


def _written(
    question: Question, memory: TrafficMemory, before: Weights, after: Weights, why: tuple[Reason, str]
) -> Moved:
    version = question.snapshot.route.resource_version if question.snapshot.route is not None else ""
    reason, sentence = why
    write = WeightWrite(
        fleet=question.fleet.key,
        route=memory.route,
        before=before,
        weights=after,
        resource_version=version,
        urgent=reason is Reason.NO_READY_REPLICA,
    )
    kept = replace(memory, intent=write, intent_at=question.snapshot.at, repairing=reason is Reason.DRIFT)
    return Moved(TrafficDecision(memory.wanted, before, after, reason, sentence), write, kept)


def _rescued(question: Question, before: Weights, final: Counts) -> Weights | None:
    """The split without versions that have no ready replica; None where none has traffic, or nobody could take it.

    Their part goes to the stable version, or (it has no ready replica either) to the one that carries most. The
    stable version's own part stays with it.
    """
    ready = {subset: _ready(question, subset, final) for subset, _ in before}
    dead = {s for s, percent in before if percent > 0 and s != question.stable and _shown_ready(question, s) == 0}
    heirs = [subset for subset, _ in before if ready[subset] > 0 and subset not in dead]
    if not dead or not heirs:
        return None
    heir = max(heirs, key=lambda s: (s == question.stable, _carried(question, s, final)))
    freed = sum(percent for subset, percent in before if subset in dead)
    return tuple((s, 0 if s in dead else percent + (freed if s == heir else 0)) for s, percent in before)


def _urgent(question: Question, memory: TrafficMemory, before: Weights, after: Weights) -> Moved:
    lost = [subset for (subset, was), (_, now) in zip(before, after, strict=True) if now < was]
    has = "has" if len(lost) == 1 else "have"
    text = f"{' and '.join(lost)} {has} no ready replica and must not keep traffic: {moved_text(before, after)}"
    return _written(question, memory, before, after, (Reason.NO_READY_REPLICA, text))


def _not_now(question: Question, memory: TrafficMemory, before: Weights) -> tuple[Reason, str] | None:
    """Why weights are held whatever capacity there is; None where nothing else stands against moving them."""
    if before == memory.wanted:
        return Reason.STEADY, f"traffic is split as wanted: {weights_text(before)}"
    blocked = question.snapshot.route.problem if question.snapshot.route is not None else ""
    if blocked:
        return Reason.BLOCKED, f"weights stay at {weights_text(before)}: {blocked}"
    if question.fleet.spec.scaling.paused:
        return Reason.PAUSED, f"scaling is paused in the Fleet: weights stay at {weights_text(before)}"
    if memory.contested:
        text = (
            f"weights were put back {len(memory.repairs)} times within {QUIET_S / 60:.0f} minutes and changed again"
            f"{_by_whom(question)}: they are left at {weights_text(before)} until the wanted ones change, or nobody "
            f"has changed them for {QUIET_S / 60:.0f} minutes"
        )
        return Reason.CONTESTED, text
    blind = question.world.evidence.blind or question.world.demand is None
    unsure = _unsure(question, before, memory.wanted) if blind else ""
    return (Reason.BLIND, unsure) if unsure else None


def _unsure(question: Question, before: Weights, wanted: Weights) -> str:
    """Why no other version than the stable one may get more: partial evidence may hide demand. Else empty."""
    evidence = question.world.evidence
    riskier = [subset for subset in _raised(before, wanted) if subset != question.stable]
    if evidence.complete or not riskier:
        return ""
    missing = "; ".join(evidence.missing[:3])
    return f"no more traffic for {' and '.join(riskier)} without complete fresh evidence: {missing}"


def _raised(before: Weights, after: Weights) -> list[str]:
    was = dict(before)
    return [subset for subset, percent in after if percent > was[subset]]


def _lacks(question: Question, wanted: Weights, before: Weights, final: Counts) -> list[_Lack]:
    """The versions that would get more than they can carry. Where demand is unknown, one ready replica has to do."""
    percent = dict(wanted)
    found = (_lack(question, subset, percent[subset], final) for subset in _raised(before, wanted))
    return [lack for lack in found if lack is not None]


def _waiting(question: Question, memory: TrafficMemory, before: Weights, lacks: list[_Lack], short: str) -> Moved:
    limit = f" (replicas are limited by {short})" if short else ""
    text = f"{'; '.join(lack.text for lack in lacks)}{limit}: weights stay at {weights_text(before)}"
    held = _held(memory, before, Reason.WAITING_FOR_CAPACITY, text)
    return replace(held, what_if=_once_ready(memory, before, lacks) if question.world.evidence.complete else ())


def _lack(question: Question, subset: str, percent: int, final: Counts) -> _Lack | None:
    demand = None if question.world.evidence.blind else question.world.demand
    total_rps = _most_rps(question, demand) if demand is not None else 0.0
    needed_rps = percent / 100 * total_rps
    ready, carried = _ready(question, subset, final), _carried(question, subset, final)
    if ready and carried >= needed_rps * (1 - _TOLERANCE):
        return None
    part = f"{percent} % of {total_rps:.1f} requests/s" if demand is not None else f"{percent} % of an unknown demand"
    names = _variants(question, subset)
    each = question.world.capacities[names[0]].sizing_rps
    if len(names) > 1 or each <= 0:
        has = f"its {ready} ready replicas carry {carried:.1f}/s"
        return _Lack(f"{subset} needs {needed_rps:.1f} requests/s for {part}, {has}")
    replicas = max(1, math.ceil(needed_rps / each * (1 - _TOLERANCE)))
    word = "replica" if replicas == 1 else "replicas"
    return _Lack(f"{subset} needs {replicas} ready {word} for {part}, has {ready}", names[0], replicas)


def _most_rps(question: Question, demand: Demand) -> float:
    """The demand that a raise is held against: the most of the last minute, for one quiet window proves nothing."""
    since = question.snapshot.at - LONG_S
    return max(demand.sized_rps, *(p.arrival_rps for p in question.memory.demand if p.at >= since), 0.0)


def _variants(question: Question, subset: str) -> list[str]:
    return [v.name for v in question.fleet.spec.variants if v.subset == subset]


def _shown_ready(question: Question, subset: str) -> int:
    states = (question.snapshot.variant(name) for name in _variants(question, subset))
    return sum(s.target.ready for s in states if s is not None and s.target is not None)


def _staying(question: Question, name: str, final: Counts) -> int:
    """Ready replicas of a variant that this cycle leaves in place."""
    state = question.snapshot.variant(name)
    ready = state.target.ready if state is not None and state.target is not None else 0
    return min(ready, dict(final)[name])


def _ready(question: Question, subset: str, final: Counts) -> int:
    return sum(_staying(question, name, final) for name in _variants(question, subset))


def _carried(question: Question, subset: str, final: Counts) -> float:
    """Requests/s that the ready replicas of a version carry inside the objectives."""
    capacities = question.world.capacities
    names = _variants(question, subset)
    return math.fsum(_staying(question, name, final) * capacities[name].sizing_rps for name in names)


def _once_ready(memory: TrafficMemory, before: Weights, lacks: list[_Lack]) -> tuple[str, ...]:
    if not all(lack.needed for lack in lacks):
        return ()
    ready = " and ".join(f"{lack.needed} of {lack.variant}" for lack in lacks)
    return (f"{moved_text(before, memory.wanted)} once {ready} are ready",)


def _moved(question: Question, memory: TrafficMemory, before: Weights) -> Moved:
    move = moved_text(before, memory.wanted)
    if drifted(memory):
        settled = weights_text(memory.settled or ())
        text = f"weights were changed{_by_whom(question)} from {settled}, and are put back: {move}"
        return _written(question, memory, before, memory.wanted, (Reason.DRIFT, text))
    raised = _raised(before, memory.wanted)
    text = f"{move}: {' and '.join(raised)} can carry it"
    return _written(question, memory, before, memory.wanted, (Reason.WEIGHTS, text))
