"""Look-back windows: shrink to the most that was wanted within the window, grow to the least within its own.

Restart-safe without storage: a memory younger than the window counts the replicas it found as wanted, so a fresh
process cannot shrink before a full window has passed.
"""

from __future__ import annotations

from controller.guard.base import GuardContext, grows, keep, no_higher, no_lower, shrinks
from controller.model.decision import Counts, Reason, Step


def stabilize_down(context: GuardContext, proposed: Counts) -> Step | None:
    """Never below what was wanted within the down window."""
    window_s = context.fleet.spec.scaling.stabilization.down
    if context.overridden or not shrinks(proposed, context.current) or window_s <= 0:
        return None
    floor = proposed
    for past in _since(context, window_s):
        floor = no_lower(floor, past)
    started = context.memory.started_at
    if started is None or context.snapshot.at - started < window_s:
        floor = no_lower(floor, context.current)
    after = no_lower(proposed, no_higher(floor, context.current))
    return keep("stabilise", proposed, after, Reason.STABILISED, f"more was wanted within the last {window_s:.0f} s")


def stabilize_up(context: GuardContext, proposed: Counts) -> Step | None:
    """Never above what was wanted throughout the up window; no window by default."""
    window_s = context.fleet.spec.scaling.stabilization.up
    if context.overridden or not grows(proposed, context.current) or window_s <= 0:
        return None
    ceiling = proposed
    for past in _since(context, window_s):
        ceiling = no_higher(ceiling, past)
    after = no_higher(proposed, no_lower(ceiling, context.current))
    return keep("stabilise", proposed, after, Reason.STABILISED, f"wanted for less than {window_s:.0f} s")


def _since(context: GuardContext, window_s: float) -> list[Counts]:
    oldest = context.snapshot.at - window_s
    return [r.replicas for r in context.memory.recommendations if r.at >= oldest]
