"""Policy `thresholds`: up when GPU utilisation or the queue is above its limit, down when both are below theirs.

No model: the rule that operators know, on the same guards. The cool-down is a guard.
"""

from __future__ import annotations

from controller.decide.proposal import Proposal, Question, with_count
from controller.estimate.demand import total
from controller.model.decision import Counts, Reason, Step

_Inputs = tuple[tuple[str, float | None], ...]


def propose(question: Question) -> Proposal:
    """One step up, one step down, or nothing, for the first serving variant with room."""
    rule = question.fleet.spec.scaling.thresholds
    states = [s for s in question.snapshot.variants if s.name in question.serving()]
    queue = total([s.signals.waiting for s in states])
    busy = [b for s in states if (b := s.signals.gpu_busy_ratio.usable) is not None]
    gpu = max(busy) if busy else None
    inputs: _Inputs = (("gpu_busy_ratio", gpu), ("waiting", queue))
    if queue is None and gpu is None:
        return _blind(question, inputs)
    seen = f"GPU {_percent(gpu)}, queue {_number(queue)}"
    if (gpu is not None and gpu > rule.gpu_up) or (queue is not None and queue > rule.queue_up):
        which = "GPU above" if gpu is not None and gpu > rule.gpu_up else "queue above"
        limit = f"{rule.gpu_up:.0%}" if which.startswith("GPU") else f"{rule.queue_up:g}"
        counts = _moved(question, rule.step_up)
        return _answer(question, counts, Reason.THRESHOLD_UP, f"{seen}: {which} {limit}", inputs)
    if gpu is not None and queue is not None and gpu < rule.gpu_down and queue < rule.queue_down:
        counts = _moved(question, -rule.step_down)
        text = f"{seen}: below {rule.gpu_down:.0%} and {rule.queue_down:g}"
        return _answer(question, counts, Reason.THRESHOLD_DOWN, text, inputs)
    limits = f"up above {rule.gpu_up:.0%} or {rule.queue_up:g}, down below {rule.gpu_down:.0%} and {rule.queue_down:g}"
    return _answer(question, question.current, Reason.STEADY, f"{seen}: between the limits ({limits})", inputs)


def _moved(question: Question, step: int) -> Counts:
    """The counts with the first variant moved that has room; growing also lifts a version at zero."""
    current = dict(question.current)
    for name in question.serving():
        bounds = question.bounds[name]
        replicas = min(bounds.max, max(bounds.min, current[name] + step))
        if (replicas - current[name]) * step > 0:
            return with_count(question.current, name, replicas)
    return question.current


def _answer(question: Question, counts: Counts, reason: Reason, text: str, inputs: _Inputs) -> Proposal:
    step = Step("thresholds", question.current, counts, reason, text, inputs)
    short = "max" if reason is Reason.THRESHOLD_UP and counts == question.current else ""
    return Proposal(counts, reason, (step,), counterfactuals=_counterfactuals(question), short=short)


def _counterfactuals(question: Question) -> tuple[str, ...]:
    rule, present = question.fleet.spec.scaling.thresholds, sum(r for _, r in question.current)
    return (
        f"{present} → {present + rule.step_up} if GPU > {rule.gpu_up:.0%} or queue > {rule.queue_up:g}",
        f"{present} → {present - rule.step_down} if GPU < {rule.gpu_down:.0%} and queue < {rule.queue_down:g}",
    )


def _blind(question: Question, inputs: _Inputs) -> Proposal:
    missing = "; ".join(question.world.evidence.missing[:3]) or "neither GPU utilisation nor queue length is known"
    step = Step("thresholds", question.current, question.current, Reason.BLIND, f"holding still: {missing}", inputs)
    return Proposal(question.current, Reason.BLIND, (step,))


def _percent(ratio: float | None) -> str:
    return "unknown" if ratio is None else f"{ratio:.0%}"


def _number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.0f}"
