"""The cheapest mix of variants that carries a demand: search over flavours of one version by branch and bound.

A mix pays for its replicas by the hour and for the starts it needs: a starting replica costs its cold start without
serving, spread over the time that a replica is expected to be kept. Exact for every fleet in which fewer than
`MOST_MIXES` have to be looked at (by far most); beyond, the best found.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

KEPT_S = 900.0
"""A started replica is expected to be kept this long: three default stabilisation windows."""
MOST_MIXES = 20_000
"""A few hundredths of a second."""
_TOLERANCE = 1e-9
_KEPT = 3
"""The chosen mixture and two runners-up."""


@dataclass(frozen=True, slots=True)
class Option:
    """One variant that may carry the demand: usable requests/s of a replica, price, bounds, present count."""

    name: str
    rps: float
    cost_per_hour: float
    min: int
    max: int
    current: int
    cold_start_s: float

    def score(self, replicas: int) -> float:
        """Price per hour of so many replicas, with the starts it takes."""
        starts = max(0, replicas - self.current) * self.cold_start_s / KEPT_S
        return (replicas + starts) * self.cost_per_hour

    @property
    def price(self) -> float:
        """Cost of one request/s for an hour; endless for a variant that carries nothing."""
        return self.cost_per_hour / self.rps if self.rps > _TOLERANCE else math.inf


@dataclass(frozen=True, slots=True)
class Mixture:
    """Counts by option, in the options' order."""

    counts: tuple[int, ...]
    rps: float
    cost_per_hour: float
    score: float
    """Cost per hour including the price of transitions: what is minimised."""


@dataclass(frozen=True, slots=True)
class Allocation:
    """The chosen mixture; `short` says which limit kept it from carrying the demand, if one did."""

    chosen: Mixture
    short: str
    runners_up: tuple[Mixture, ...]


def mixture(options: Sequence[Option], counts: tuple[int, ...]) -> Mixture:
    """Capacity and price of some counts."""
    pairs = list(zip(counts, options, strict=True))
    return Mixture(
        counts,
        rps=math.fsum(n * o.rps for n, o in pairs),
        cost_per_hour=math.fsum(n * o.cost_per_hour for n, o in pairs),
        score=math.fsum(o.score(n) for n, o in pairs),
    )


def allocate(options: Sequence[Option], required_rps: float, max_cost_per_hour: float | None) -> Allocation:
    """The cheapest mixture with at least `required_rps`; where none has so much, as much as bounds and budget give.

    `options` must not be empty. Bounds always hold; the minimum counts even where they cost more than the budget.
    """
    budget = math.inf if max_cost_per_hour is None else max_cost_per_hour
    affordable = _cheapest(options, required_rps, budget)
    if affordable:
        return Allocation(affordable[0], "", tuple(affordable[1:]))
    found = _cheapest(options, required_rps, math.inf) if math.isfinite(budget) else []
    ceiling = mixture(options, tuple(o.max for o in options))
    if not found and ceiling.cost_per_hour <= budget:
        return Allocation(ceiling, "max", ())
    return Allocation(_most_for(options, budget), "budget" if found else "max and budget", tuple(found[:1]))


def _cheapest(options: Sequence[Option], required_rps: float, budget: float) -> list[Mixture]:
    """The best mixtures that carry the demand inside the budget, best first; empty where there is none."""
    if len(options) == 1:
        return _only(options[0], required_rps, budget)
    order = sorted(range(len(options)), key=lambda i: (options[i].price, i))
    search = _Search(tuple(options), tuple(order), budget)
    search.visit((), required_rps, 0.0, 0.0)
    return search.found


def _only(option: Option, required_rps: float, budget: float) -> list[Mixture]:
    """The one useful count of a single variant, if bounds and budget allow it."""
    count = _enough(option, required_rps)
    if count > option.max or count * option.cost_per_hour > budget + _TOLERANCE:
        return []
    return [mixture((option,), (max(option.min, count),))]


def _enough(option: Option, rest_rps: float) -> int:
    """Replicas that carry so much, at least the minimum; beyond the maximum where that is not possible."""
    if rest_rps <= option.min * option.rps + _TOLERANCE:
        return option.min
    return math.ceil(min(rest_rps / option.rps - _TOLERANCE, option.max + 1)) if option.rps > 0 else 10**6


@dataclass
class _Search:
    """Depth first over the options, best value first, from many replicas to few: good mixtures are found early."""

    options: tuple[Option, ...]
    order: tuple[int, ...]
    budget: float
    found: list[Mixture] = field(default_factory=list)
    visited: int = 0

    def visit(self, taken: tuple[int, ...], rest_rps: float, cost: float, score: float) -> None:
        """Try every useful count of the next option; `rest_rps` is still to be carried."""
        later = [self.options[i] for i in self.order[len(taken) + 1 :]]
        option = self.options[self.order[len(taken)]]
        floor_cost = math.fsum(o.min * o.cost_per_hour for o in later)
        for count in self._useful(option, rest_rps, last=not later):
            rest = rest_rps - count * option.rps
            if self.visited >= MOST_MIXES or rest > math.fsum(o.max * o.rps for o in later) + _TOLERANCE:
                return
            self.visited += 1
            spent, paid = cost + count * option.cost_per_hour, score + option.score(count)
            if spent + floor_cost > self.budget + _TOLERANCE or paid + self._at_least(later, rest) > self._worst():
                continue
            if later:
                self.visit((*taken, count), rest, spent, paid)
            else:
                self._keep((*taken, count))

    def _useful(self, option: Option, rest_rps: float, *, last: bool) -> Sequence[int]:
        """Counts from just enough for all of the rest downwards; of the last option exactly enough, or none."""
        enough = _enough(option, rest_rps)
        if last:
            return () if enough > option.max else (max(option.min, enough),)
        return range(max(option.min, min(enough, option.max)), option.min - 1, -1)

    def _at_least(self, later: Sequence[Option], rest_rps: float) -> float:
        """A bound from below on the score of what the later options must add."""
        if not later:
            return 0.0
        beyond = rest_rps - math.fsum(o.min * o.rps for o in later)
        price = min(o.price for o in later)
        extra = beyond * price if beyond > _TOLERANCE and math.isfinite(price) else 0.0
        return math.fsum(o.min * o.cost_per_hour for o in later) + extra - _TOLERANCE * (1 + extra)

    def _worst(self) -> float:
        return self.found[-1].score if len(self.found) == _KEPT else math.inf

    def _keep(self, taken: tuple[int, ...]) -> None:
        counts = [0] * len(taken)
        for place, count in zip(self.order, taken, strict=True):
            counts[place] = count
        self.found.append(mixture(self.options, tuple(counts)))
        self.found.sort(key=lambda m: (m.score, sum(m.counts), m.counts))
        del self.found[_KEPT:]


def _most_for(options: Sequence[Option], budget: float) -> Mixture:
    """What the budget buys, best value first; never less than the minimum counts."""
    counts = [o.min for o in options]
    left = budget - math.fsum(o.min * o.cost_per_hour for o in options)
    for i in sorted(range(len(options)), key=lambda i: (options[i].price, i)):
        option = options[i]
        more = max(0, min(option.max - counts[i], int((left + _TOLERANCE) // option.cost_per_hour)))
        counts[i] += more
        left -= more * option.cost_per_hour
    return mixture(options, tuple(counts))
