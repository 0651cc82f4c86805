"""Step limits: how many replicas one decision may add or remove."""

from __future__ import annotations

from controller.guard.base import GuardContext, governed, keep
from controller.model.decision import Counts, Reason, Step


def step_limit(context: GuardContext, proposed: Counts) -> Step | None:
    """At most `steps.up` more, and `steps.down` fewer (unset: half of the variant's replicas, at least one)."""
    steps = context.fleet.spec.scaling.steps
    now = dict(governed(context, proposed))
    after = tuple((name, _limited(now[name], replicas, steps.up, steps.down)) for name, replicas in proposed)
    return keep("step", proposed, after, Reason.STEP_LIMIT, "limited to the largest step of one decision")


def _limited(now: int, wanted: int, up: int | None, down: int | None) -> int:
    if wanted > now:
        return wanted if up is None else min(wanted, now + up)
    return max(wanted, now - (max(1, now // 2) if down is None else down))
