"""The conditions of a fleet after a cycle: what holds, what does not, and what is missing."""

from __future__ import annotations

from controller.decide.proposal import Proposal, Question
from controller.model.conditions import condition, settled
from controller.model.decision import Condition, Counts, Reason, Step, TrafficDecision
from controller.model.snapshot import ReplicaPhase

_SKEW_S = 30.0
_LOST_SAID_S = 3600.0


def conditions(
    question: Question,
    proposal: Proposal,
    final: Counts,
    steps: tuple[Step, ...],
    traffic: TrafficDecision | None = None,
) -> tuple[Condition, ...]:
    """All conditions, in a fixed order. `traffic`: what was decided about weights set by hand."""
    found = (
        _ready(question, final),
        _metrics(question),
        _scaling(question, proposal, steps),
        _capacity(question),
        _objective(question, proposal),
        _clock(question),
        *_accepted(question),
    )
    return settled((*found, *_traffic(question, traffic), *_memory(question)), question.memory.conditions)


def unreadable(question: Question, text: str) -> tuple[Condition, ...]:
    """Not ready, as far as one can see; of everything else stands what was last known."""
    old = question.memory.conditions
    lost = condition("Ready", true=False, reason="Unreadable", message=text, at=question.snapshot.at)
    new = (lost, *_accepted(question))
    return settled((*new, *(c for c in old if c.type not in [n.type for n in new])), old)


def _accepted(question: Question) -> tuple[Condition, ...]:
    """Whether the newest version of the Fleet is the one in force; said from the first one on that was not."""
    problem, at = question.snapshot.problem, question.snapshot.at
    if problem:
        text = f"the last good version stays in force: {problem}"
        return (condition("FleetAccepted", true=False, reason="Invalid", message=text, at=at),)
    if all(c.type != "FleetAccepted" for c in question.memory.conditions):
        return ()
    return (condition("FleetAccepted", true=True, reason="Valid", message="the newest version is in force", at=at),)


def _traffic(question: Question, made: TrafficDecision | None) -> tuple[Condition, ...]:
    if made is None:
        return ()
    true = made.reason is Reason.STEADY
    reason = "InSync" if true else made.reason.value
    return (condition("TrafficInSync", true=true, reason=reason, message=made.sentence, at=question.snapshot.at),)


def _memory(question: Question) -> tuple[Condition, ...]:
    lost_at, at = question.memory.lost_at, question.snapshot.at
    if lost_at is None or at - lost_at > _LOST_SAID_S:
        return ()
    text = "the remembered state was unreadable: what was learned is learned again, and no window is shortened"
    return (condition("MemoryLost", true=True, reason="Unreadable", message=text, at=at),)


def _ready(question: Question, final: Counts) -> Condition:
    ready = sum(v.target.ready for v in question.snapshot.variants if v.target is not None)
    wanted = sum(r for _, r in final)
    text = f"{ready} of {wanted} replicas are ready"
    reason = "ReplicasReady" if ready >= wanted else "ReplicasMissing"
    return condition("Ready", true=ready >= wanted, reason=reason, message=text, at=question.snapshot.at)


def _metrics(question: Question) -> Condition:
    evidence, at = question.world.evidence, question.snapshot.at
    if evidence.complete:
        family = f" ({question.snapshot.vllm_family})" if question.snapshot.vllm_family else ""
        text = f"complete and fresh from {question.snapshot.source}{family}"
        return condition("MetricsAvailable", true=True, reason="Fresh", message=text, at=at)
    reason = "Blind" if evidence.blind else "Incomplete"
    text = "; ".join(evidence.missing[:5])
    return condition("MetricsAvailable", true=False, reason=reason, message=text, at=at)


def _scaling(question: Question, proposal: Proposal, steps: tuple[Step, ...]) -> Condition:
    at = question.snapshot.at
    for step in steps:
        if step.reason in (Reason.PAUSED, Reason.FOREIGN_WRITER):
            return condition("Scaling", true=False, reason=step.reason.value, message=step.message, at=at)
    if question.fleet.spec.scaling.paused:
        text = "scaling is paused in the Fleet"
        return condition("Scaling", true=False, reason=Reason.PAUSED.value, message=text, at=at)
    if proposal.short:
        text = f"limited by {proposal.short}"
        return condition("Scaling", true=False, reason="Limited", message=text, at=at)
    return condition(
        "Scaling", true=True, reason="Active", message=f"policy {question.fleet.spec.scaling.policy}", at=at
    )


def _capacity(question: Question) -> Condition:
    at = question.snapshot.at
    lost = [f"{n}: {', '.join(names)}" for n, names in question.world.given_up.items() if names]
    if lost:
        deadline = question.fleet.spec.scaling.start_deadline
        text = f"not ready within {deadline:.0f} s and given up: {'; '.join(lost)}{_details(question)}"
        return condition("CapacityAvailable", true=False, reason="StartDeadlineExceeded", message=text, at=at)
    pending = sum(
        len(v.target.in_phase(ReplicaPhase.PENDING)) for v in question.snapshot.variants if v.target is not None
    )
    if pending:
        text = f"{pending} replicas wait for a machine{_details(question)}"
        return condition("CapacityAvailable", true=False, reason="Pending", message=text, at=at)
    return condition("CapacityAvailable", true=True, reason="Available", message="every replica has a machine", at=at)


def _details(question: Question) -> str:
    texts = sorted(
        {r.detail for v in question.snapshot.variants if v.target is not None for r in v.target.replicas if r.detail}
    )
    return f" ({'; '.join(texts[:3])})" if texts else ""


def _objective(question: Question, proposal: Proposal) -> Condition:
    at, why = question.snapshot.at, proposal.unattainable
    if why:
        return condition("ObjectiveAttainable", true=False, reason="Unattainable", message=why, at=at)
    text = "some replica count meets the objectives"
    return condition("ObjectiveAttainable", true=True, reason="Attainable", message=text, at=at)


def _clock(question: Question) -> Condition:
    skew, at = question.snapshot.source_skew_s, question.snapshot.at
    if skew is not None and abs(skew) > _SKEW_S:
        text = f"the metric source's clock is {skew:+.0f} s from the daemon's; ages are measured on the source's own"
        return condition("ClockInStep", true=False, reason="Skewed", message=text, at=at)
    return condition("ClockInStep", true=True, reason="InStep", message="clocks agree", at=at)
