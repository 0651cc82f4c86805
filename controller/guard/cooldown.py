"""Policy `thresholds`: the shortest time between two changes, as its operators expect it."""

from __future__ import annotations

from controller.guard.base import GuardContext, asleep, governed, grows, keep
from controller.model.decision import Counts, Reason, Step


def cool_down(context: GuardContext, proposed: Counts) -> Step | None:
    """Hold until the cool-down since the last change has passed; a fleet asleep wakes at once."""
    scaling = context.fleet.spec.scaling
    changes = [t for t in (context.memory.last_up_at, context.memory.last_down_at) if t is not None]
    if scaling.policy != "thresholds" or not changes or (asleep(context) and grows(proposed, context.current)):
        return None
    left_s = max(changes) + scaling.thresholds.cooldown - context.snapshot.at
    if left_s <= 0:
        return None
    text = f"cool-down of {scaling.thresholds.cooldown:.0f} s: {left_s:.0f} s left since the last change"
    return keep("cool-down", proposed, governed(context, proposed), Reason.COOL_DOWN, text)
