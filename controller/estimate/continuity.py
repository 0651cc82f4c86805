"""What a memory still means at a later cycle: after a crash, a pause of the daemon or a step of its clock."""

from __future__ import annotations

from dataclasses import replace

from controller.model.memory import FleetMemory
from controller.model.snapshot import Snapshot

_PAUSE_S = 30.0
_PAUSE_CYCLES = 4.0
"""Longer than the greater of these without a cycle, and nobody looked: the look-back windows begin again."""


def resumed(memory: FleetMemory, snapshot: Snapshot) -> FleetMemory:
    """The memory, fit for deciding on this snapshot: nothing in it lies in the future, its windows have no holes."""
    return _unbroken(_confirmed(_in_the_past(memory, snapshot.at), snapshot), snapshot)


def _in_the_past(memory: FleetMemory, now: float) -> FleetMemory:
    """After a step of the clock backwards: what happened "later" happened now at the latest.

    A look-back or cool-down then lasts its own length at most, however far the clock was off.
    """

    def at_most(instant: float | None) -> float | None:
        return None if instant is None else min(instant, now)

    return replace(
        memory,
        started_at=at_most(memory.started_at),
        demand=tuple(p for p in memory.demand if p.at <= now),
        recommendations=tuple(r if r.at <= now else replace(r, at=now) for r in memory.recommendations),
        last_up_at=at_most(memory.last_up_at),
        last_down_at=at_most(memory.last_down_at),
        last_demand_at=at_most(memory.last_demand_at),
        lost_at=at_most(memory.lost_at),
        conditions=tuple(c if c.since <= now else replace(c, since=now) for c in memory.conditions),
        intent_at=at_most(memory.intent_at),
    )


def _confirmed(memory: FleetMemory, snapshot: Snapshot) -> FleetMemory:
    """Turn the last intent into history if the live objects show it, else forget it: live state is the truth.

    What cannot be read now is neither; it is looked at again.
    """
    if not memory.intent or memory.intent_at is None:
        return memory
    up = down = False
    unread = []
    for write in memory.intent:
        state = snapshot.variant(write.variant)
        if state is not None and state.target is None:
            unread.append(write)
        elif state is not None and state.target is not None and state.target.desired == write.replicas:
            up, down = up or write.replicas > write.current, down or write.replicas < write.current
    return replace(
        memory,
        last_up_at=memory.intent_at if up else memory.last_up_at,
        last_down_at=memory.intent_at if down else memory.last_down_at,
        intent=tuple(unread),
        intent_at=memory.intent_at if unread else None,
    )


def _unbroken(memory: FleetMemory, snapshot: Snapshot) -> FleetMemory:
    """Begin the look-back windows again where no cycle looked for a while: unseen demand cannot be ruled out."""
    at, last = snapshot.at, memory.recommendations[-1].at if memory.recommendations else None
    if memory.started_at is None:
        return replace(memory, started_at=at)
    if last is not None and at - last <= max(_PAUSE_S, _PAUSE_CYCLES * snapshot.interval_s):
        return memory
    return replace(memory, started_at=at, last_demand_at=at)
