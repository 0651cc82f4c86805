"""The cheapest mix of variants that carries a demand: exact search over flavours of one version.

A mix pays for its replicas by the hour and for the starts it needs: a starting replica costs its cold start without
serving, spread over the time that a replica is expected to be kept.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

KEPT_S = 900.0
"""A started replica is expected to be kept this long: three default stabilisation windows."""
_TOLERANCE = 1e-9


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
    cost = sum(n * o.cost_per_hour for n, o in zip(counts, options, strict=True))
    starts = sum(
        max(0, n - o.current) * o.cost_per_hour * o.cold_start_s / KEPT_S for n, o in zip(counts, options, strict=True)
    )
    rps = sum(n * o.rps for n, o in zip(counts, options, strict=True))
    return Mixture(counts, rps, cost, cost + starts)


def allocate(options: Sequence[Option], required_rps: float, max_cost_per_hour: float | None) -> Allocation:
    """The cheapest mixture with at least `required_rps`; the one with most capacity where none has so much.

    `options` must not be empty. Bounds always hold; the minimum counts even where they cost more than the budget.
    """
    budget = math.inf if max_cost_per_hour is None else max_cost_per_hour
    floor = mixture(options, tuple(o.min for o in options))
    ceiling = mixture(options, tuple(o.max for o in options))
    found = sorted(
        (mixture(options, counts) for counts in _enough(options, required_rps)),
        key=lambda m: (m.score, sum(m.counts), m.counts),
    )
    affordable = [m for m in found if m.cost_per_hour <= budget + _TOLERANCE]
    if affordable:
        return Allocation(affordable[0], "", tuple(affordable[1:3]))
    if not found and ceiling.cost_per_hour <= budget:
        return Allocation(ceiling, "max", ())
    return Allocation(_most_for(options, budget, floor), "budget" if found else "max and budget", tuple(found[:1]))


def _enough(options: Sequence[Option], required_rps: float) -> Iterator[tuple[int, ...]]:
    """Every minimal way to have `required_rps`: free choice of all counts but the last, which follows."""
    head, *tail = options
    if not tail:
        need = _needed(required_rps, head)
        if need is not None:
            yield (need,)
        return
    for count in range(head.min, head.max + 1):
        rest = required_rps - count * head.rps
        for others in _enough(tail, rest):
            yield (count, *others)
        if rest <= sum(o.min * o.rps for o in tail):
            return


def _needed(required_rps: float, option: Option) -> int | None:
    if required_rps <= option.min * option.rps + _TOLERANCE:
        return option.min
    if option.rps <= 0:
        return None
    need = max(option.min, math.ceil(required_rps / option.rps - _TOLERANCE))
    return need if need <= option.max else None


def _most_for(options: Sequence[Option], budget: float, floor: Mixture) -> Mixture:
    """As much capacity as the budget buys, best value first; never less than the minimum counts."""
    counts = list(floor.counts)
    left = budget - floor.cost_per_hour
    for i in sorted(range(len(options)), key=lambda i: (options[i].cost_per_hour / max(options[i].rps, _TOLERANCE), i)):
        option = options[i]
        more = max(0, min(option.max - counts[i], int((left + _TOLERANCE) // option.cost_per_hour)))
        counts[i] += more
        left -= more * option.cost_per_hour
    return mixture(options, tuple(counts))
