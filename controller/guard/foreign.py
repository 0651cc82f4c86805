"""One writer: a target that another controller drives is left to it, and named."""

from __future__ import annotations

from controller.guard.base import GuardContext, keep
from controller.model.decision import Counts, Reason, Step


def foreign_writers(context: GuardContext) -> dict[str, str]:
    """Who else drives which variant."""
    return {
        state.name: state.target.foreign_writer
        for state in context.snapshot.variants
        if state.target is not None and state.target.foreign_writer
    }


def foreign_writer(context: GuardContext, proposed: Counts) -> Step | None:
    """Keep the replicas of every target that is also driven by somebody else."""
    writers = foreign_writers(context)
    if not writers:
        return None
    now = dict(context.current)
    after = tuple((name, now[name] if name in writers else replicas) for name, replicas in proposed)
    named = ", ".join(f"{name} is driven by {writer}" for name, writer in sorted(writers.items()))
    return keep("writer", proposed, after, Reason.FOREIGN_WRITER, f"{named}: not fought")
