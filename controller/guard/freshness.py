"""Silence is not idleness: no replica leaves without complete, fresh evidence."""

from __future__ import annotations

from controller.guard.base import GuardContext, keep, no_lower, shrinks
from controller.model.decision import Counts, Reason, Step


def freshness(context: GuardContext, proposed: Counts) -> Step | None:
    """Refuse every reduction while any needed reading is stale, partial, implausible or missing."""
    evidence = context.world.evidence
    if evidence.complete or not shrinks(proposed, context.current):
        return None
    after = no_lower(proposed, context.current)
    missing = "; ".join(evidence.missing[:3])
    return keep("freshness", proposed, after, Reason.NOT_FRESH, f"no reduction without fresh evidence: {missing}")
