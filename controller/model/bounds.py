"""How few and how many replicas a variant may have right now: its own bounds, or those of the active schedules."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from controller.model.fleet import Fleet


@dataclass(frozen=True, slots=True)
class EffectiveBounds:
    """Bounds that hold now; min <= max always. `source` says where they come from, for explanations."""

    min: int
    max: int
    source: str


def effective_bounds(fleet: Fleet, variant: str, active: Sequence[str]) -> EffectiveBounds:
    """Bounds of a variant while the schedules named in `active` hold. Raises KeyError for an unknown variant.

    A schedule replaces the variant's own bounds; what it leaves unset stays the variant's own. Where schedules
    overlap, the highest min and the highest max hold: none takes away capacity that another one grants, and
    since the schedule with the highest min has a max not below it, min <= max. Names that the fleet does not
    have, and schedules of other variants, are passed over.
    """
    own = fleet.variant(variant).replicas
    schedules = [s for s in fleet.spec.scaling.schedules if s.name in active and s.variant in (None, variant)]
    if not schedules:
        return EffectiveBounds(own.min, own.max, f"replicas of variant {variant}")
    low = max(own.min if s.min is None else s.min for s in schedules)
    high = max(own.max if s.max is None else s.max for s in schedules)
    names = " and ".join(s.name for s in schedules)
    return EffectiveBounds(low, high, f"schedule{'s' if len(schedules) > 1 else ''} {names}")
