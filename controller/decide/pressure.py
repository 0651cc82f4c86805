"""The corrective: objectives are missed although the model sees enough capacity. One more replica, one at a time.

The model can be wrong (a prior far off, a mix it has not seen). What users feel decides then, as soon as the last
change has had time to show, and only while nothing is on its way.
"""

from __future__ import annotations

from collections.abc import Mapping

from controller.decide.proposal import Question, text_of, with_count
from controller.estimate.coldstart import arriving, unseen
from controller.model.decision import Counts, Reason, Step
from controller.model.snapshot import VariantState

_MIN_REQUESTS = 10.0
"""Fewer first tokens than this in a window say nothing about a ratio."""
WAITING_PER_REPLICA = 4.0
"""More requests than this waiting at each ready replica are pressure whatever the model says."""


def under_pressure(question: Question, counts: Counts) -> Step | None:
    """A step to one more replica than now, or a step that says why not yet; None where nothing presses."""
    if sum(r for _, r in counts) > sum(r for _, r in question.current):
        return None
    for name in question.serving():
        state = question.snapshot.variant(name)
        why = _missed(question, state) if state is not None else ""
        if why and state is not None:
            return _answer(question, counts, state, why)
    return None


def _answer(question: Question, counts: Counts, state: VariantState, why: str) -> Step:
    """Nothing shrinks meanwhile; one more as soon as nothing is on its way: of that variant, or else of the next."""
    now = dict(question.current)
    kept = tuple((name, max(replicas, now[name])) for name, replicas in counts)
    chosen = _with_room(question, state, dict(kept))
    if _on_the_way(question, state) or (chosen is not None and _on_the_way(question, chosen)):
        text = f"{why}, but capacity is on its way or has just come: {text_of(kept)}"
        return Step("pressure", counts, kept, Reason.IN_FLIGHT, text)
    most = question.bounds[state.name]
    full = f"at most {most.max} of {state.name} are allowed ({most.source})"
    if chosen is None:
        return Step("pressure", counts, kept, Reason.PRESSURE, f"{why}, but {full}")
    grown = with_count(kept, chosen.name, max(dict(kept)[chosen.name], now[chosen.name] + 1))
    text = f"{why}: one more than the model asks for"
    if chosen is not state:
        text = f"{why}; {full}: one more of {chosen.name} than the model asks for"
    return Step("pressure", counts, grown, Reason.PRESSURE, text)


def _with_room(question: Question, pressed: VariantState, counts: Mapping[str, int]) -> VariantState | None:
    """The pressed variant, or where it has its most the next one that may carry its traffic; None: all are full."""
    others = [s for n in question.serving() if (s := question.snapshot.variant(n)) is not None and s is not pressed]
    found = (s for s in (pressed, *others) if counts[s.name] < question.bounds[s.name].max)
    return next(found, None)


def _on_the_way(question: Question, state: VariantState) -> bool:
    target = state.target
    if target is None:
        return True
    if unseen(target) or arriving(target, question.world.given_up.get(state.name, ())):
        return True
    settle_s = 1.5 * question.snapshot.window_s
    return any(r.ready_at is not None and question.snapshot.cluster_at - r.ready_at < settle_s for r in target.replicas)


def _missed(question: Question, state: VariantState) -> str:
    """What is missed, as a phrase; empty where nothing is, and where no replica count would help."""
    signals, objectives = state.signals, question.fleet.spec.objectives
    ready = state.target.ready if state.target is not None else 0
    waiting = signals.waiting.usable
    if waiting is not None and ready and waiting > WAITING_PER_REPLICA * ready:
        return f"{waiting:.0f} requests wait at {ready} ready replicas of {state.name}"
    if not question.world.capacities[state.name].attainable:
        return ""
    first = (signals.first_token_rps.usable or 0.0) * question.snapshot.window_s
    ttft = signals.ttft_within_ratio.usable
    promise = objectives.ttft
    if ttft is not None and first >= _MIN_REQUESTS and ttft < promise.target - 1 / first:
        return f"only {ttft:.1%} of first tokens within {promise.threshold:g} s (target {promise.target:.1%})"
    return _slow_tokens(question, state)


def _slow_tokens(question: Question, state: VariantState) -> str:
    """Finished requests speak of the past, so the mean step of now must be slow too."""
    signals, promise = state.signals, question.fleet.spec.objectives.tpot
    tpot, itl = signals.tpot_within_ratio.usable, signals.itl_mean_s.usable
    done = (signals.finished_rps.usable or 0.0) * question.snapshot.window_s
    if tpot is None or itl is None or done < _MIN_REQUESTS or itl <= promise.threshold:
        return ""
    if tpot >= promise.target - 1 / done:
        return ""
    return f"only {tpot:.1%} of requests within {promise.threshold * 1000:g} ms a token (target {promise.target:.1%})"
