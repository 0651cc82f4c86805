"""What would have changed the outcome, in the numbers that the operator can watch.

Each sentence is true as it stands: planning again with the number just beyond its edge gives the counts that it
names, and just before it does not.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

from controller.decide.pressure import WAITING_PER_REPLICA, under_pressure
from controller.decide.proposal import Question, Restrained, text_of
from controller.decide.sizing import drain_s, left_over, required_rps, usable_rps
from controller.estimate.demand import LONG_S, Demand
from controller.model.decision import Counts
from controller.model.snapshot import Freshness, Reading

Wanted = Callable[[float], tuple[Counts, float]]
"""What the policy wants for so many requests/s (before pressure), and how many requests/s that carries at most."""

_TRIES = 4
_BEYOND = 1e-6
_SPARE_RATIO = 0.95
"""The margin of the headroom guard against growing back at once."""


def of_demand(
    question: Question, demand: Demand, wanted: Wanted, final: Counts, restrained: Restrained
) -> tuple[str, ...]:
    """More for more demand, less for less; nothing where the guards or the bounds allow no change."""
    more = _for_more_demand(question, wanted, required_rps(question, demand), final, restrained)
    texts: list[str] = []
    if more is not None:
        edge_rps, after = more
        arrival = _arrival_at(question, demand, edge_rps)
        waiting, later = _waiting_at(question, demand, wanted, edge_rps, after, final, restrained)
        if later == after:
            texts.append(f"{change(final, after)} if waiting > {waiting:.0f} or arrival > {arrival:.1f}/s")
        else:
            texts.append(f"{change(final, later)} if waiting > {waiting:.0f}")
            texts.append(f"{change(final, after)} if arrival > {arrival:.1f}/s")
    texts.extend(_at_most(question, final))
    texts.extend(_for_less(question, demand, final))
    return tuple(texts)


def change(before: Counts, after: Counts) -> str:
    """From what to what: 5 → 6 for a fleet of one variant, with names for more."""
    if len(before) == 1:
        return f"{before[0][1]} → {after[0][1]}"
    return f"{text_of(before)} → {text_of(after)}"


def _for_more_demand(
    question: Question, wanted: Wanted, required: float, final: Counts, restrained: Restrained
) -> tuple[float, Counts] | None:
    """The requests/s beyond which the outcome is another, and which."""
    floor = dict(final)
    kept = sum(max(0, floor[n] - 1) * usable_rps(question, n) for n in question.serving())
    edge = max(wanted(required)[1], kept if len(question.serving()) == 1 else 0.0)
    for _ in range(_TRIES):
        counts, carried = wanted(edge * (1 + _BEYOND) + _BEYOND)
        pressed = under_pressure(question, counts)
        after = restrained(counts if pressed is None else pressed.after)
        if after != final:
            return edge, after
        if carried <= edge:
            return None
        edge = carried
    return None


def _arrival_at(question: Question, demand: Demand, edge_rps: float) -> float:
    """The arrivals, to the next tenth, from which on more than `edge_rps` are required."""
    sized = edge_rps - left_over(question, demand) / drain_s(question)
    low, high = demand.arrival_rps, max(1.0, 2 * demand.arrival_rps, edge_rps)
    while demand.past.sized(high).rps <= sized:
        high *= 2
    while high - low > 1e-3:
        middle = (low + high) / 2
        low, high = (middle, high) if demand.past.sized(middle).rps <= sized else (low, middle)
    return math.ceil(high * 10 - 1e-2) / 10


def _waiting_at(
    question: Question,
    demand: Demand,
    wanted: Wanted,
    edge_rps: float,
    after: Counts,
    final: Counts,
    restrained: Restrained,
) -> tuple[float, Counts]:
    """The waiting requests beyond which the outcome is another, and which: by the work left over, or by pressure."""
    spare = edge_rps - required_rps(question, demand)
    by_work = math.floor(demand.waiting + spare * drain_s(question))
    state = next((s for s in question.snapshot.variants if s.name == question.serving()[0]), None)
    if len(question.serving()) > 1 or state is None or state.target is None:
        return by_work, after
    by_pressure = WAITING_PER_REPLICA * state.target.ready
    own = state.signals.waiting.usable or 0.0
    pressing = demand.waiting - own + by_pressure
    if not own <= by_pressure or pressing >= by_work:
        return by_work, after
    crowd = replace(state, signals=replace(state.signals, waiting=Reading(by_pressure + 1, Freshness.STALE)))
    seen = tuple(crowd if s.name == state.name else s for s in question.snapshot.variants)
    crowded = replace(question, snapshot=replace(question.snapshot, variants=seen))
    more = replace(demand, waiting=pressing + 1)
    counts, _ = wanted(required_rps(crowded, more))
    pressed = under_pressure(crowded, counts)
    later = restrained(counts if pressed is None else pressed.after)
    return (by_work, after) if later == final else (pressing, later)


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
    arrival = math.floor(demand.past.steady_rps(_SPARE_RATIO * fewer * usable_rps(question, name)) * 10) / 10
    after_s = scaling.stabilization.down + LONG_S + demand.past.window_s + question.snapshot.interval_s
    if arrival <= 0:
        return []
    less = tuple((n, r - (n == name)) for n, r in final)
    return [f"{change(final, less)} after {after_s:.0f} s with arrivals below {arrival:.1f}/s and nobody waiting"]
