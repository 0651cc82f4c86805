"""A paused fleet keeps its replicas, and its minimum."""

from __future__ import annotations

from controller.guard.base import GuardContext, keep
from controller.model.decision import Counts, Reason, Step


def pause(context: GuardContext, proposed: Counts) -> Step | None:
    """Hold everything while `spec.scaling.paused`."""
    if not context.fleet.spec.scaling.paused:
        return None
    return keep("pause", proposed, context.current, Reason.PAUSED, "scaling is paused in the Fleet")
