"""Replicas set by hand until a time: the operator's word in place of the policy's."""

from __future__ import annotations

from controller.decide.proposal import Proposal, Question, always, text_of, with_count
from controller.model.decision import Reason, Step


def in_force(question: Question) -> bool:
    """Whether an override holds at the snapshot's time."""
    override = question.fleet.spec.scaling.override
    return override is not None and question.snapshot.at < override.until.timestamp()


def propose(question: Question) -> Proposal:
    """The replicas that the override names; variants it does not name keep theirs."""
    override = question.fleet.spec.scaling.override
    counts = question.current
    if override is None:
        return Proposal(counts, (Step("override", counts, counts, Reason.STEADY, "no override is set"),))
    for name, replicas in override.replicas.items():
        counts = with_count(counts, name, replicas)
    until = override.until.isoformat(timespec="seconds")
    text = f"set by hand to {text_of(counts)} until {until}: {override.reason}"
    step = Step("override", question.current, counts, Reason.OVERRIDE, text)
    return Proposal(counts, (step,), what_if=always(f"the policy decides again at {until}"))
