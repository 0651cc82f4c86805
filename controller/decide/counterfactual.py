"""What would have changed the outcome, in the numbers that the operator can watch.

Each sentence is true as it stands: planning again with the number just beyond its edge gives the counts that it
names, and just before it does not. Arrivals are told to the next tenth.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from controller.decide.pressure import WAITING_PER_REPLICA, under_pressure
from controller.decide.proposal import Question, Restrained, text_of
from controller.decide.sizing import drain_s, left_over, required_rps, usable_rps
from controller.estimate.capacity import SPARE_RATIO
from controller.estimate.demand import LONG_S, Demand
from controller.model.copies import replace
from controller.model.decision import Counts
from controller.model.snapshot import Freshness, Reading

Wanted = Callable[[float], tuple[Counts, float]]
"""What the policy wants for so many requests/s (before pressure), and how many requests/s that carries at most."""

_TRIES = 4
_BEYOND = 1e-6
_JUST = 0.01
"""Requests/s just beyond an edge."""
_MOST = 100_000
"""Tenths of requests/s, and requests, beyond the present number: what takes more is not told."""


@dataclass(frozen=True, slots=True)
class _Edge:
    """Beyond `at`, the outcome is `after`."""

    at: float
    after: Counts


@dataclass(frozen=True, slots=True)
class _Case:
    """One decision, to be tried again with other numbers."""

    question: Question
    demand: Demand
    wanted: Wanted
    final: Counts
    restrained: Restrained

    @property
    def shrinks(self) -> bool:
        """Whether some variant loses replicas: guards that look at demand then have a say."""
        return any(r < now for (_, r), (_, now) in zip(self.final, self.question.current, strict=True))

    def outcome(self, question: Question, demand: Demand, wanted: Counts | None = None) -> Counts:
        """What would be decided."""
        counts = self.wanted(required_rps(question, demand))[0] if wanted is None else wanted
        pressed = under_pressure(question, counts)
        return self.restrained(counts if pressed is None else pressed.after, demand)

    def arriving(self, arrival_rps: float) -> Demand:
        """The demand, were there so many arrivals."""
        return replace(self.demand, arrival_rps=arrival_rps, sized_rps=self.demand.past.sized_rps(arrival_rps))

    def crowded(self, waiting: float) -> Counts:
        """What would be decided if so many requests waited, all the others being of other versions."""
        name = self.question.serving()[0]
        seen = self.question.snapshot.variants
        others = math.fsum(s.signals.waiting.usable or 0.0 for s in seen if s.name != name)
        own = Reading(max(0.0, waiting - others), Freshness.STALE)
        changed = tuple(replace(s, signals=replace(s.signals, waiting=own)) if s.name == name else s for s in seen)
        snapshot = replace(self.question.snapshot, variants=changed)
        return self.outcome(replace(self.question, snapshot=snapshot), replace(self.demand, waiting=waiting))


def of_demand(
    question: Question, demand: Demand, wanted: Wanted, final: Counts, restrained: Restrained
) -> tuple[str, ...]:
    """More for more demand, less for less; nothing where the guards or the bounds allow no change."""
    case = _Case(question, demand, wanted, final, restrained)
    arrival, waiting = _by_trial(case) if case.shrinks else _by_model(case)
    texts = []
    if arrival is not None and waiting is not None and arrival.after == waiting.after:
        texts = [f"{change(final, arrival.after)} if waiting > {waiting.at:.0f} or arrival > {arrival.at:.1f}/s"]
    else:
        texts += [f"{change(final, waiting.after)} if waiting > {waiting.at:.0f}"] if waiting is not None else []
        texts += [f"{change(final, arrival.after)} if arrival > {arrival.at:.1f}/s"] if arrival is not None else []
    return (*texts, *_at_most(question, final), *_for_less(question, demand, final))


def change(before: Counts, after: Counts) -> str:
    """From what to what: 5 → 6 for a fleet of one variant, with names for more."""
    if len(before) == 1:
        return f"{before[0][1]} → {after[0][1]}"
    return f"{text_of(before)} → {text_of(after)}"


def _by_model(case: _Case) -> tuple[_Edge | None, _Edge | None]:
    """The edges for arrivals and for waiting requests, from the requests/s at which another mix is needed."""
    more = _for_more_demand(case)
    if more is None:
        return None, None
    sized = more.at - left_over(case.question, case.demand) / drain_s(case.question)
    low, high = case.demand.arrival_rps, max(1.0, 2 * case.demand.arrival_rps, more.at)
    while case.demand.past.sized_rps(high) <= sized:
        high *= 2
    while high - low > 1e-3:
        middle = (low + high) / 2
        low, high = (middle, high) if case.demand.past.sized_rps(middle) <= sized else (low, middle)
    spare = more.at - required_rps(case.question, case.demand)
    arrival = math.ceil(high * 10 - 1e-2) / 10
    waiting = math.floor(case.demand.waiting + spare * drain_s(case.question))
    if len(case.question.serving()) > 1:  # mixes may follow each other so closely that one step is two edges
        grown = case.outcome(case.question, case.arriving(arrival + _JUST))
        return _Edge(arrival, grown), _Edge(waiting, case.crowded(waiting + 1))
    by_work = _Edge(waiting, more.after)
    return _Edge(arrival, more.after), _by_pressure(case, by_work) or by_work


def _for_more_demand(case: _Case) -> _Edge | None:
    """The requests/s beyond which the outcome is another, and which."""
    question, floor, serving = case.question, dict(case.final), case.question.serving()
    kept = math.fsum(max(0, floor[n] - 1) * usable_rps(question, n) for n in serving)
    edge = max(case.wanted(required_rps(question, case.demand))[1], kept if len(serving) == 1 else 0.0)
    for _ in range(_TRIES):
        counts, carried = case.wanted(edge * (1 + _BEYOND) + _BEYOND)
        after = case.outcome(question, case.demand, counts)
        if after != case.final:
            return _Edge(edge, after)
        if carried <= edge:
            return None
        edge = carried
    return None


def _by_pressure(case: _Case, by_work: _Edge) -> _Edge | None:
    """The edge at which a queue presses, whatever the model says; None where work left over weighs sooner."""
    name, *others = case.question.serving()
    state = case.question.snapshot.variant(name)
    if others or state is None or state.target is None:
        return None
    own = state.signals.waiting.usable or 0.0
    limit = WAITING_PER_REPLICA * state.target.ready
    pressing = math.floor(case.demand.waiting - own + limit)
    if own > limit or pressing >= by_work.at:
        return None
    after = case.crowded(pressing + 1)
    return _Edge(pressing, after) if after != case.final else None


def _by_trial(case: _Case) -> tuple[_Edge | None, _Edge | None]:
    """The same two edges by deciding again and again: a reduction depends on demand through the guards as well."""

    def arriving(tenths: int) -> Counts:
        return case.outcome(case.question, case.arriving(tenths / 10 + _JUST))

    def waiting(requests: int) -> Counts:
        return case.crowded(requests)

    arrival = _first(case.final, arriving, math.floor(case.demand.arrival_rps * 10))
    crowd = _first(case.final, waiting, math.floor(case.demand.waiting)) if len(case.question.serving()) == 1 else None
    return (
        None if arrival is None else _Edge(arrival.at / 10, arrival.after),
        None if crowd is None else _Edge(crowd.at - 1, crowd.after),
    )


def _first(final: Counts, outcome: Callable[[int], Counts], low: int) -> _Edge | None:
    """The first whole number above `low` with another outcome, and which; None where there is none at all."""
    if outcome(low + _MOST) == final:
        return None
    high, step = low + 1, 1
    while outcome(high) == final:
        low, high, step = high, high + step, 2 * step
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if outcome(middle) == final else (low, middle)
    return _Edge(high, outcome(high))


def _at_most(question: Question, final: Counts) -> list[str]:
    """Where the fleet is at its most, the limit that would have to move."""
    full = [name for name in question.serving() if dict(final)[name] >= question.bounds[name].max]
    return [f"{question.bounds[n].max} is the most allowed of {n} ({question.bounds[n].source})" for n in full]


def _for_less(question: Question, demand: Demand, final: Counts) -> list[str]:
    """When one replica less would do: after so long with fewer arrivals than so many."""
    scaling, serving = question.fleet.spec.scaling, question.serving()
    name = serving[0]
    fewer = dict(final)[name] - 1
    held = scaling.paused or any(s.target is not None and s.target.foreign_writer for s in question.snapshot.variants)
    if len(serving) > 1 or held or question.world.given_up.get(name) or fewer < max(1, question.bounds[name].min):
        return []
    arrival = math.floor(demand.past.steady_rps(SPARE_RATIO * fewer * usable_rps(question, name)) * 10) / 10
    after_s = scaling.stabilization.down + LONG_S + demand.past.window_s + question.snapshot.interval_s
    if arrival <= 0:
        return []
    less = tuple((n, r - (n == name)) for n, r in final)
    return [f"{change(final, less)} after {after_s:.0f} s with arrivals below {arrival:.1f}/s and nobody waiting"]
