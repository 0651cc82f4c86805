"""Replicas for traffic that is split over versions: each has capacity for its own part of the demand.

A version's part is the greater of its present and its wanted share, so that capacity comes before traffic and leaves
after it. A version without either keeps its minimum, and one replica while requests still run on it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from controller.decide.allocation import Allocation, Mixture, Option, allocate, mixture
from controller.decide.proposal import Question, with_count
from controller.decide.sizing import options_of, required_rps
from controller.estimate.split import observed_weights
from controller.model.decision import Counts


def allocate_split(question: Question, options: Sequence[Option], required_rps: float, least_rps: float) -> Allocation:
    """The cheapest replicas with which every version carries its part of `required_rps`, at least `least_rps`.

    Where the budget is short, versions with the most traffic come first.
    """
    budget = question.fleet.spec.scaling.max_cost_per_hour
    counts: dict[str, int] = {}
    short: list[str] = []
    order = _by_traffic(question, options)
    for i, subset in enumerate(order):
        own = _of(question, options, subset)
        later = math.fsum(o.min * o.cost_per_hour for s in order[i + 1 :] for o in _of(question, options, s))
        least = least_rps if any(o.max for o in own) else 0.0
        spent = math.fsum(o.cost_per_hour * counts.get(o.name, 0) for o in options)
        room = None if budget is None else budget - spent - later
        part = allocate(own, max(question.share(subset) * required_rps, least), room)
        counts |= dict(zip((o.name for o in own), part.chosen.counts, strict=True))
        short += [part.short] if part.short else []
    chosen = mixture(options, tuple(counts[o.name] for o in options))
    return Allocation(chosen, short[0] if short else "", ())


def carried_rps(question: Question, options: Sequence[Option], chosen: Mixture) -> float:
    """Requests/s of the whole fleet that so many replicas carry, split as they are."""
    if question.split is None:
        return chosen.rps
    return min((rps / share for share, rps in _parts(question, options, chosen)), default=0.0)


def uncovered_rps(question: Question, options: Sequence[Option], chosen: Mixture, required_rps: float) -> float:
    """Requests/s of `required_rps` that the replicas cannot carry."""
    if question.split is None:
        return required_rps - chosen.rps
    missing = (max(0.0, share * required_rps - rps) for share, rps in _parts(question, options, chosen))
    return math.fsum(missing)


def shares_text(question: Question) -> str:
    """The parts for messages; empty where all of it goes to one version."""
    if question.split is None:
        return ""
    parts = ", ".join(f"{subset} {share:.0%}" for subset, share in question.split.items() if share > 0)
    return f" ({parts})"


def present(question: Question) -> Counts:
    """Today's replicas; where traffic is split, versions that have none of it at their minimum once they are idle."""
    counts = question.current
    if question.split is None:
        return counts
    for name, replicas in counts:
        if question.share(question.fleet.variant(name).subset) <= 0:
            least = max(question.bounds[name].min, 0 if _idle(question, name) else 1)
            counts = with_count(counts, name, min(replicas, least))
    return counts


def followed(question: Question, counts: Counts) -> Counts:
    """Counts of a policy that knows nothing of versions, with what the split asks for: never less for any of them."""
    demand = question.world.demand
    if question.split is None or demand is None or question.world.evidence.blind or not question.serving():
        return counts
    options = options_of(question)
    needed = allocate_split(question, options, required_rps(question, demand), 0.0).chosen.counts
    least = dict(present(question)) | dict(zip((o.name for o in options), needed, strict=True))
    serving = question.serving()
    return tuple((name, max(replicas, least[name]) if name in serving else least[name]) for name, replicas in counts)


def _parts(question: Question, options: Sequence[Option], chosen: Mixture) -> list[tuple[float, float]]:
    """Share of the demand and requests/s carried, by version with traffic."""
    counts = dict(zip((o.name for o in options), chosen.counts, strict=True))
    return [
        (question.share(subset), math.fsum(counts[o.name] * o.rps for o in _of(question, options, subset)))
        for subset in _by_traffic(question, options)
    ]


def _by_traffic(question: Question, options: Sequence[Option]) -> list[str]:
    """Versions of the options, those with the most traffic now first."""
    now = dict(observed_weights(question.fleet, question.snapshot) or ())
    subsets = dict.fromkeys(question.fleet.variant(o.name).subset for o in options)
    return sorted(subsets, key=lambda subset: -now.get(subset, 0))


def _of(question: Question, options: Sequence[Option], subset: str) -> list[Option]:
    return [o for o in options if question.fleet.variant(o.name).subset == subset]


def _idle(question: Question, name: str) -> bool:
    """Whether nothing runs or waits on a variant; not known is not idle."""
    state = question.snapshot.variant(name)
    if state is None or state.target is None:
        return False
    readings = (state.signals.running.fresh, state.signals.waiting.fresh)
    return not state.target.ready or all(value is not None and value <= 0 for value in readings)
