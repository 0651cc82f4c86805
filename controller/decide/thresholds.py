"""Policy `thresholds`: up when GPU utilisation or the queue is above its limit, down when both are below theirs.

No model: the rule that operators know, on the same guards. The cool-down is a guard. The last replica leaves, and the
first one comes back, by the idle rule.
"""

from __future__ import annotations

from functools import partial

from controller.decide.counterfactual import change
from controller.decide.idle import asleep, idle_or_wake
from controller.decide.proposal import Proposal, Question, Restrained, with_count
from controller.decide.split import followed
from controller.estimate.demand import Demand, total
from controller.model.decision import Counts, Reason, Step
from controller.model.snapshot import VariantState

_Inputs = tuple[tuple[str, float | None], ...]


def propose(question: Question) -> Proposal:
    """One step up, one step down, or nothing, for the first serving variant with room; to zero and back when idle."""
    demand = question.world.demand
    if demand is not None and not question.world.evidence.blind:
        idle = idle_or_wake(question, demand)
        if idle is not None:
            return idle
        if asleep(question) and demand.arrival_rps > 0:
            return _wake(question, demand)
    return _by_rule(question)


def _wake(question: Question, demand: Demand) -> Proposal:
    """One step up: nothing runs that could have a GPU or a queue. Refused requests are part of the arrivals."""
    refused = f"requests are refused at the proxy ({demand.refused_rps:.1f}/s)" if demand.refused_rps > 0 else ""
    text = f"{refused or f'{demand.arrival_rps:.1f} requests/s arrive'} and there is no replica"
    inputs = (("refused_rps", demand.refused_rps), ("arrival_rps", demand.arrival_rps))
    woken = _answer(question, question.fleet.spec.scaling.thresholds.step_up, Reason.WAKE, text, inputs)
    return Proposal(woken.counts, woken.steps, short=woken.short)


def _by_rule(question: Question) -> Proposal:
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
        return _answer(question, rule.step_up, Reason.THRESHOLD_UP, f"{seen}: {which} {limit}", inputs)
    if gpu is not None and queue is not None and gpu < rule.gpu_down and queue < rule.queue_down:
        text = f"{seen}: below {rule.gpu_down:.0%} and {rule.queue_down:g}"
        unsure = _unsure(states)
        if not unsure:
            return _answer(question, -rule.step_down, Reason.THRESHOLD_DOWN, text, inputs)
        return _answer(question, 0, Reason.NOT_FRESH, f"{text}, but {unsure}: no reduction on that", inputs)
    limits = f"up above {rule.gpu_up:.0%} or {rule.queue_up:g}, down below {rule.gpu_down:.0%} and {rule.queue_down:g}"
    return _answer(question, 0, Reason.STEADY, f"{seen}: between the limits ({limits})", inputs)


def _unsure(states: list[VariantState]) -> str:
    """Which reading of a variant with ready replicas is not fresh, of those that a reduction rests on."""
    for state in states:
        if state.target is not None and state.target.ready:
            for name, reading in (("GPU", state.signals.gpu_busy_ratio), ("queue", state.signals.waiting)):
                if reading.fresh is None:
                    return f"the {name} reading of {state.name} is {reading.freshness.value.lower()}"
    return ""


def _moved(question: Question, step: int) -> Counts:
    """The counts with the first variant moved that has room; the last replica of all stays."""
    current = dict(question.current)
    present = sum(current[name] for name in question.serving())
    for name in question.serving():
        bounds, last = question.bounds[name], 1 - (present - current[name])
        replicas = min(bounds.max, max(bounds.min, last, current[name] + step))
        if (replicas - current[name]) * step > 0:
            return with_count(question.current, name, replicas)
    return question.current


def _answer(question: Question, moved: int, reason: Reason, text: str, inputs: _Inputs) -> Proposal:
    counts, short = _moved(question, moved), ""
    if moved > 0 and counts == question.current:
        reason, text, short = Reason.BOUND_MAX, f"{text}, at the most replicas that are allowed", "max"
    elif moved < 0 and counts == question.current:
        reason, text = _fewest(question, text)
    counts = followed(question, counts)
    step = Step("thresholds", question.current, counts, reason, text, inputs)
    return Proposal(counts, (step,), what_if=partial(_what_if, question, moved), short=short)


def _fewest(question: Question, text: str) -> tuple[Reason, str]:
    if any(question.bounds[name].min > 0 for name in question.serving()):
        return Reason.BOUND_MIN, f"{text}, at the fewest replicas that are allowed"
    idle_s = question.fleet.spec.scaling.idle_after
    return Reason.STEADY, f"{text}, but the last replica leaves after {idle_s:.0f} s without demand"


def _what_if(question: Question, moved: int, final: Counts, restrained: Restrained) -> tuple[str, ...]:
    """What the rule would do on the other sides of its limits, as far as bounds and guards would let it."""
    rule = question.fleet.spec.scaling.thresholds
    over = f"GPU > {rule.gpu_up:.0%} or queue > {rule.queue_up:g}"
    under = f"GPU < {rule.gpu_down:.0%} and queue < {rule.queue_down:g}"
    between = f"neither {over} nor {under}"
    sides = [(rule.step_up, over), (-rule.step_down, under), (0, between)]
    outcomes = [
        (restrained(followed(question, _moved(question, step)), question.world.demand), when)
        for step, when in sides
        if step != moved
    ]
    return tuple(f"{change(final, after)} if {when}" for after, when in outcomes if after != final)


def _blind(question: Question, inputs: _Inputs) -> Proposal:
    missing = "; ".join(question.world.evidence.missing[:3]) or "neither GPU utilisation nor queue length is known"
    step = Step("thresholds", question.current, question.current, Reason.BLIND, f"holding still: {missing}", inputs)
    return Proposal(question.current, (step,))


def _percent(ratio: float | None) -> str:
    return "unknown" if ratio is None else f"{ratio:.0%}"


def _number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.0f}"
