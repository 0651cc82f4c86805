"""How traffic is split, as far as one can see, and which part of the demand each version has to have capacity for."""

from __future__ import annotations

from collections.abc import Mapping

from controller.model.fleet import Fleet
from controller.model.memory import TrafficMemory
from controller.model.snapshot import Snapshot
from controller.model.weights import Weights


def observed_weights(fleet: Fleet, snapshot: Snapshot) -> Weights | None:
    """The split over all subsets as read; None where a weight is missing or they do not make up a whole."""
    found: dict[str, int | None] = {}
    for variant in fleet.spec.variants:
        state = snapshot.variant(variant.name)
        found.setdefault(variant.subset, state.weight_pct if state is not None else None)
    weights = tuple((subset, percent) for subset, percent in found.items() if percent is not None)
    whole = len(weights) == len(found) and sum(percent for _, percent in weights) == 100
    return weights if whole and min(percent for _, percent in weights) >= 0 else None


def shares(fleet: Fleet, snapshot: Snapshot, memory: TrafficMemory | None) -> Mapping[str, float] | None:
    """Part of the demand by subset that capacity is ordered for; None where weights are not set by hand.

    The greater of the present and the wanted share: capacity comes before traffic and leaves after it. Where weights
    cannot be read now, the present share is what was seen last.
    """
    wanted = fleet.wanted_weights
    if wanted is None:
        return None
    seen = observed_weights(fleet, snapshot) or (memory.seen if memory is not None else None) or ()
    now = dict(seen)
    return {subset: max(percent, now.get(subset, 0)) / 100 for subset, percent in wanted}
