"""Cold starts as observed: from a replica's creation to its readiness, and which replicas to give up."""

from __future__ import annotations

import math
from dataclasses import dataclass

from controller.model.copies import replace
from controller.model.memory import StartingReplica, VariantMemory
from controller.model.snapshot import Replica, ReplicaPhase, ScaleTarget

_KEPT = 16


@dataclass(frozen=True, slots=True)
class ColdStart:
    """What to expect of a start: the 90th percentile, and how many starts that rests on (0: the fleet's guess)."""

    p90_s: float
    measured: int


def observe_starts(
    memory: VariantMemory, target: ScaleTarget | None, now: float, deadline_s: float, unseen_s: float
) -> VariantMemory:
    """Remember starting replicas, measure those that became ready, give up those past their deadline.

    A replica older than the time since the last look (`unseen_s`) that was not starting then had been ready: it is on
    its way again from now on, and its return is no cold start.
    """
    if target is None:
        return memory
    present = {r.name: r for r in target.replicas}
    waiting = {s.name: s for s in memory.starting}
    measured = [
        replica.ready_at - replica.created_at
        for name, start in waiting.items()
        if (replica := present.get(name)) is not None and replica.phase is ReplicaPhase.READY and replica.ready_at
        if start.since == replica.created_at
    ]
    starting = tuple(
        waiting.get(r.name, StartingReplica(r.name, r.created_at if now - r.created_at <= unseen_s else now))
        for r in target.in_phase(ReplicaPhase.PENDING, ReplicaPhase.STARTING, ReplicaPhase.FAILED)
    )
    given_up = tuple(s.name for s in starting if now - s.since > deadline_s)
    if (starting, given_up) == (memory.starting, memory.given_up) and not measured:
        return memory
    kept = (*memory.cold_starts_s, *(round(m, 3) for m in measured if m > 0))[-_KEPT:]
    return replace(memory, starting=starting, given_up=given_up, cold_starts_s=kept)


def cold_start(memory: VariantMemory, expected_s: float) -> ColdStart:
    """The 90th percentile of measured starts (nearest rank), or the expected one while nothing was measured."""
    if not memory.cold_starts_s:
        return ColdStart(expected_s, 0)
    ordered = sorted(memory.cold_starts_s)
    return ColdStart(ordered[math.ceil(0.9 * len(ordered)) - 1], len(ordered))


def unseen(target: ScaleTarget) -> int:
    """Replicas that were ordered and that the cluster does not show yet."""
    return max(0, target.desired - len(target.replicas) + len(target.in_phase(ReplicaPhase.DRAINING)))


def arriving(target: ScaleTarget, given_up: tuple[str, ...]) -> tuple[Replica, ...]:
    """Replicas on their way that are still expected to become ready."""
    on_the_way = target.in_phase(ReplicaPhase.PENDING, ReplicaPhase.STARTING)
    return tuple(r for r in on_the_way if r.name not in given_up)
