"""Zero and back, under every policy: down to zero only after the idle time, up again at the first refused request."""

from __future__ import annotations

from controller.decide.proposal import Proposal, Question, always, with_count
from controller.estimate.demand import Demand
from controller.model.decision import Reason, Step

_ON_REFUSAL = always("the first request refused at the proxy starts a replica")


def asleep(question: Question) -> bool:
    """Whether no variant that may carry the fleet's traffic has a replica, or one on order."""
    now = dict(question.current)
    return not any(now[name] for name in question.serving())


def idle_or_wake(question: Question, demand: Demand) -> Proposal | None:
    """Down to zero after the idle time where every serving variant allows it, and to stay there while nobody asks.

    None where the policy decides: the fleet is in use, or shall wake.
    """
    if any(question.bounds[name].min > 0 for name in question.serving()):
        return None
    if asleep(question):
        return _asleep(question, demand)
    since = question.memory.last_demand_at
    idle_s = question.snapshot.at - since if since is not None else 0.0
    if idle_s < question.fleet.spec.scaling.idle_after:
        return None
    counts = question.current
    for name in question.serving():
        counts = with_count(counts, name, 0)
    step = Step("idle", question.current, counts, Reason.IDLE, f"no demand for {idle_s:.0f} s: down to zero")
    return Proposal(counts, (step,), what_if=_ON_REFUSAL)


def _asleep(question: Question, demand: Demand) -> Proposal | None:
    if demand.refused_rps > 0 or demand.arrival_rps > 0:
        return None
    reason, text = Reason.IDLE, "asleep at zero replicas, no request refused"
    if question.snapshot.refused_rps.usable is None:
        reason, text = Reason.BLIND, "asleep at zero replicas; whether requests are refused at the proxy is not known"
    step = Step("idle", question.current, question.current, reason, text)
    return Proposal(question.current, (step,), what_if=_ON_REFUSAL)
