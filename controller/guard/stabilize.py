"""Look-back windows: shrink to the most that was wanted within the window, grow to the least within its own.

Restart-safe without storage: a memory younger than the window counts the replicas it found as wanted, so a fresh
process cannot shrink before a full window has passed.
"""

from __future__ import annotations

import math

from controller.guard.base import GuardContext, asleep, governed, grows, keep, no_higher, no_lower, shrinks
from controller.model.decision import ConditionStatus, Counts, Reason, Step
from controller.model.memory import Recommendation


def stabilize_down(context: GuardContext, proposed: Counts) -> Step | None:
    """Never below what was wanted within the down window."""
    window_s = context.fleet.spec.scaling.stabilization.down
    current = governed(context, proposed)
    if not shrinks(proposed, current) or window_s <= 0:
        return None

    def held(past: list[Recommendation]) -> Counts:
        floor = proposed
        for recommendation in past:
            floor = no_lower(floor, recommendation.replicas)
        return no_lower(proposed, no_higher(floor, current))

    lately = _since(context, window_s)
    age_s = context.snapshot.at - (context.snapshot.at if (began := context.memory.started_at) is None else began)
    after = no_lower(proposed, current) if age_s < window_s else held(lately)
    known_since = _known_since(context)
    if after == held([r for r in lately if r.at >= known_since]):
        text = f"more was wanted within the last {window_s:.0f} s"
    elif age_s < window_s:
        text = f"watched for {age_s:.0f} s of the window of {window_s:.0f} s: what was wanted before is not known"
    else:
        gone_s = max(0.0, context.snapshot.at - known_since)
        text = f"within the last {window_s:.0f} s, more was wanted or could not be ruled out"
        text += f": evidence was incomplete until {gone_s:.0f} s ago"
    return keep("stabilise", proposed, after, Reason.STABILISED, text)


def stabilize_up(context: GuardContext, proposed: Counts) -> Step | None:
    """Never above what was wanted throughout the up window; no window by default, and none for waking from zero."""
    window_s = context.fleet.spec.scaling.stabilization.up
    current = governed(context, proposed)
    if not grows(proposed, current) or window_s <= 0 or asleep(context):
        return None
    ceiling = proposed
    for past in _since(context, window_s):
        ceiling = no_higher(ceiling, past.replicas)
    after = no_higher(proposed, no_lower(ceiling, current))
    return keep("stabilise", proposed, after, Reason.STABILISED, f"wanted for less than {window_s:.0f} s")


def _since(context: GuardContext, window_s: float) -> list[Recommendation]:
    oldest = context.snapshot.at - window_s
    return [r for r in context.memory.recommendations if r.at >= oldest]


def _known_since(context: GuardContext) -> float:
    """Since when every cycle had complete evidence: what was remembered before may be replicas, not a wish."""
    metrics = next((c for c in context.memory.conditions if c.type == "MetricsAvailable"), None)
    if metrics is None:
        return -math.inf
    return metrics.since if metrics.status is ConditionStatus.TRUE else context.snapshot.at
