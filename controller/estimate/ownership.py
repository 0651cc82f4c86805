"""Who moves the weights: what we wrote and saw in place, what somebody else changed since, and when it is a fight."""

from __future__ import annotations

from controller.estimate.split import observed_weights
from controller.model.copies import replace
from controller.model.fleet import Fleet
from controller.model.memory import TrafficMemory
from controller.model.snapshot import Snapshot
from controller.model.weights import Weights

QUIET_S = 600.0
"""Repairs are counted within this time, and contested weights are left alone until so long nobody changed them."""
MOST_REPAIRS = 3
"""After so many, the next foreign change is left as it is."""


def observe_weights(memory: TrafficMemory | None, snapshot: Snapshot, fleet: Fleet) -> TrafficMemory | None:
    """Take in what this cycle sees of the weights; None where they are not set by hand. Another wish starts afresh."""
    wanted, route = fleet.wanted_weights, fleet.route
    if wanted is None or route is None:
        return None
    seen, at = observed_weights(fleet, snapshot), snapshot.at
    if memory is None or (memory.wanted, memory.route) != (wanted, route):
        return TrafficMemory(wanted, route, settled=seen if seen == wanted else None, seen=seen)
    memory = _in_the_past(memory, at)
    if seen is None:
        return memory
    ours = None if memory.intent is None else memory.intent.weights
    if seen not in (memory.seen, ours):
        memory = replace(memory, foreign_at=at)
    memory = _confirmed(memory, seen, snapshot) if memory.intent is not None else memory
    settled = seen if seen == wanted else memory.settled
    repairs = tuple(t for t in memory.repairs if at - t <= QUIET_S)
    memory = replace(memory, seen=seen, settled=settled, repairs=repairs)
    return _judged(memory, at)


def drifted(memory: TrafficMemory) -> bool:
    """Whether somebody else changed the weights since we last saw ours in place."""
    return memory.settled is not None and memory.seen != memory.settled


def _in_the_past(memory: TrafficMemory, now: float) -> TrafficMemory:
    """After a step of the clock backwards: what happened "later" happened now at the latest."""
    return replace(
        memory,
        intent_at=None if memory.intent_at is None else min(memory.intent_at, now),
        foreign_at=None if memory.foreign_at is None else min(memory.foreign_at, now),
        repairs=tuple(min(t, now) for t in memory.repairs),
    )


def _confirmed(memory: TrafficMemory, seen: Weights, snapshot: Snapshot) -> TrafficMemory:
    """What became of the last write: in place, never sent, or changed again at once by somebody else.

    The last two differ by the object's version: where it is the one that the write was made for, nothing happened.
    """
    intent, at = memory.intent, memory.intent_at
    repairing, cleared = memory.repairing, replace(memory, intent=None, intent_at=None, repairing=False)
    if intent is None or at is None:
        return cleared
    if seen == intent.weights:
        repairs = (*cleared.repairs, at) if repairing else cleared.repairs
        return replace(cleared, settled=seen, repairs=repairs)
    version = snapshot.route.resource_version if snapshot.route is not None else ""
    if version == intent.resource_version:
        return cleared
    return replace(cleared, repairs=(*cleared.repairs, at), foreign_at=snapshot.at)


def _judged(memory: TrafficMemory, at: float) -> TrafficMemory:
    """Begin or end leaving the weights alone."""
    if memory.contested:
        quiet_s = at - (at if memory.foreign_at is None else memory.foreign_at)
        return replace(memory, contested=False, repairs=()) if quiet_s >= QUIET_S else memory
    off = memory.seen not in (memory.settled, memory.wanted)
    if off and len(memory.repairs) >= MOST_REPAIRS:
        return replace(memory, contested=True, foreign_at=at)
    return memory
