"""Replicas set by hand until a time: the operator's word for the variants named, the policy's for all others."""

from __future__ import annotations

from collections.abc import Callable

from controller.decide.proposal import Proposal, Question, always, text_of, with_count
from controller.model.bounds import EffectiveBounds
from controller.model.copies import replace
from controller.model.decision import Reason, Step
from controller.model.scaling import Override


def in_force(question: Question) -> Override | None:
    """The override that holds at the snapshot's time, if one does."""
    override = question.fleet.spec.scaling.override
    return override if override is not None and question.snapshot.at < override.until.timestamp() else None


def text_by_hand(override: Override) -> str:
    """What was set, until when and why, as every decision repeats it."""
    counts = text_of(tuple(override.replicas.items()))
    return f"set by hand to {counts} until {override.until.isoformat(timespec='seconds')}: {override.reason}"


def _bounded(question: Question, name: str, replicas: int) -> int:
    bounds = question.bounds[name]
    return max(bounds.min, min(bounds.max, replicas))


def propose(question: Question, override: Override, policy: Callable[[Question], Proposal]) -> Proposal:
    """The replicas that the override names; the policy decides for the rest, counting those as given."""
    given = {name: _bounded(question, name, replicas) for name, replicas in override.replicas.items()}
    counts = question.current
    for name, replicas in given.items():
        counts = with_count(counts, name, replicas)
    limits = [
        f"the bounds leave {n} {r} ({question.bounds[n].source})" for n, r in given.items() if r != override.replicas[n]
    ]
    text = "; ".join([text_by_hand(override), *limits])
    step = Step("override", question.current, counts, Reason.OVERRIDE, text)
    until = override.until.isoformat(timespec="seconds")
    if all(name in override.replicas for name in question.serving()):
        return Proposal(counts, (step,), what_if=always(f"the policy decides again at {until}"))
    fixed = {n: EffectiveBounds(r, r, "override") for n, r in given.items()}
    rest = policy(replace(question, current=counts, bounds={**question.bounds, **fixed}))
    named = ", ".join(override.replicas)
    what_if = always(f"the policy decides again about {named} at {until}")
    return replace(rest, steps=(step, *rest.steps), what_if=what_if)
