"""Standing facts about a fleet, kstatus style: transition times move only with a transition."""

from __future__ import annotations

from collections.abc import Iterable

from controller.model.decision import Condition, ConditionStatus


def settled(new: Iterable[Condition], old: Iterable[Condition]) -> tuple[Condition, ...]:
    """The new conditions, each with the old one's `since` where its status did not change."""
    before = {c.type: c for c in old}
    return tuple(
        Condition(c.type, c.status, c.reason, c.message, before[c.type].since)
        if c.type in before and before[c.type].status is c.status
        else c
        for c in new
    )


def condition(kind: str, *, true: bool, reason: str, message: str, at: float) -> Condition:
    """A condition that is True or False."""
    return Condition(kind, ConditionStatus.TRUE if true else ConditionStatus.FALSE, reason, message, at)
