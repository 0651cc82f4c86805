"""What a cycle has to say in Events: writes and what became of them, and standing facts that changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from controller.model.decision import Condition, Decision, Outcome, OutcomeStatus, ScaleWrite, WeightWrite
from controller.model.weights import moved_text
from controller.record.wording import as_it_should_be

Type = Literal["Normal", "Warning"]


class Note(NamedTuple):
    """One Event, but for whom and when."""

    type: Type
    reason: str
    action: str
    text: str


def outcome_notes(decision: Decision, outcomes: Sequence[Outcome]) -> list[Note]:
    """One for each write; none for a dry run, which writes nothing."""
    return [_of(decision, outcome) for outcome in outcomes if outcome.status is not OutcomeStatus.DRY_RUN]


def condition_notes(before: Sequence[Condition] | None, now: Sequence[Condition], at: float) -> list[Note]:
    """One for each condition whose status changed. With nothing known before: those that changed just now for ill."""
    was = {c.type: c.status for c in before} if before is not None else None
    return [_fact(c) for c in now if _changed(c, was, at)]


def _changed(c: Condition, was: Mapping[str, str] | None, at: float) -> bool:
    if was is None:
        return c.since == at and not as_it_should_be(c)
    if c.type not in was:
        return not as_it_should_be(c)
    return was[c.type] != c.status


def _fact(c: Condition) -> Note:
    kind: Type = "Normal" if as_it_should_be(c) else "Warning"
    return Note(kind, c.reason, "Observe", f"{c.type} is {c.status.value}: {c.message}")


def _of(decision: Decision, outcome: Outcome) -> Note:
    action = "Scale" if isinstance(outcome.write, ScaleWrite) else "MoveTraffic"
    what = _order(outcome.write)
    if outcome.status is OutcomeStatus.APPLIED:
        return Note("Normal", _applied(outcome.write), action, f"{what}. {_why(decision, outcome.write)}")
    if outcome.status is OutcomeStatus.CONFLICT:
        # Versions differ each time: without them the same conflict is the same Event.
        text = f"{what} was not written: the object had changed since it was read; it is decided anew"
        return Note("Normal", "WriteConflict", action, text)
    reason = "WriteRefused" if outcome.status is OutcomeStatus.REFUSED else "WriteFailed"
    return Note("Warning", reason, action, f"{what} was not written: {outcome.detail}")


def _order(write: ScaleWrite | WeightWrite) -> str:
    if isinstance(write, ScaleWrite):
        return f"{write.variant}: {write.current} → {write.replicas} replicas"
    return f"{write.route}: {moved_text(write.before, write.weights)}"


def _applied(write: ScaleWrite | WeightWrite) -> str:
    if isinstance(write, ScaleWrite):
        return "ScaledUp" if write.replicas > write.current else "ScaledDown"
    return "WeightsMoved"


def _why(decision: Decision, write: ScaleWrite | WeightWrite) -> str:
    if isinstance(write, WeightWrite) and decision.traffic is not None:
        return decision.traffic.sentence
    return decision.sentence
