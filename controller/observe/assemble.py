"""Tables sorted into fleets: one `FleetSignals` for each, the same whichever source filled the tables."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from controller.model.fleet import Fleet
from controller.model.snapshot import ABSENT, Freshness, Reading, ScaleTarget, VariantSignals
from controller.observe.observation import Key, Leg, Observation, Row
from controller.observe.readings import FINITE, VariantReadings, absent, implausible
from controller.ports import FleetSignals, VariantKey

ProxyClusters = Callable[[Fleet], Iterable[str]]
"""Names of the proxy's clusters that belong to a fleet."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What is needed besides the tables: the age limit and how the proxy names its clusters."""

    stale_after_s: float
    proxy_clusters: ProxyClusters
    variant_label: str = "variant"


def assemble(
    fleets: Sequence[Fleet], targets: Mapping[VariantKey, ScaleTarget], seen: Observation, rules: Rules
) -> dict[str, FleetSignals]:
    """Signals of every fleet out of one observation."""
    stray = _unlabelled(seen, rules.variant_label)
    return {fleet.key: _fleet(fleet, targets, seen, rules, stray) for fleet in fleets}


def _fleet(
    fleet: Fleet,
    targets: Mapping[VariantKey, ScaleTarget],
    seen: Observation,
    rules: Rules,
    stray: Mapping[tuple[str, str], str],
) -> FleetSignals:
    where = (fleet.metadata.namespace, fleet.spec.model_name)
    variants: dict[str, VariantSignals] = {}
    parts: list[tuple[Reading, Reading]] = []
    keys: list[Key] = []
    impossible = ""
    for variant in fleet.spec.variants:
        target = targets.get((fleet.key, variant.name))
        keys.append((*where, variant.name))
        one = VariantReadings(seen, rules.stale_after_s, keys[-1], target)
        variants[variant.name] = signals = one.signals(fleet)
        impossible = impossible or one.impossible
        if one.counts:
            parts.append((signals.running, signals.waiting))
    return FleetSignals(
        source=seen.source,
        window_s=seen.window_s,
        variants=variants,
        inflight=_sum(parts),
        inflight_before=_before(keys, impossible, seen, rules.stale_after_s),
        refused_rps=_refused(fleet, seen, rules),
        source_skew_s=seen.source_skew_s,
        warnings=(*seen.warnings, stray[where]) if where in stray else seen.warnings,
        vllm_family=_family(keys, seen),
    )


def _sum(parts: Iterable[tuple[Reading, Reading]]) -> Reading:
    """Requests in flight over the variants that have any: as trustworthy as the worst of them."""
    readings = [reading for pair in parts for reading in pair]
    bad = next((r for r in readings if r.freshness is Freshness.IMPLAUSIBLE), None)
    if bad:
        return bad
    values = [r.value for r in readings if r.value is not None]
    if not values:
        return next((r for r in readings if r.detail), ABSENT)
    age_s = max((r.age_s for r in readings if r.age_s is not None), default=None)
    missing = len(values) < len(readings)
    detail = next((r.detail for r in readings if r.detail), "one variant reports nothing" if missing else "")
    stale = missing or any(r.freshness is Freshness.STALE for r in readings)
    return Reading(sum(values), Freshness.STALE if stale else Freshness.FRESH, age_s, detail if stale else "")


def _before(keys: Sequence[Key], impossible: str, seen: Observation, stale_after_s: float) -> Reading:
    """Requests in flight one window ago; the age is counted from then. A variant without series then had none."""
    leg, ages = seen.legs["before"], seen.legs["before_age"].rows
    there = [key for key in keys if key in leg.rows]
    if not there:
        return absent(leg.failed)
    age_s = max(ages.get(key, 0.0) for key in there)
    total = sum(leg.rows[key] for key in there)
    impossible = impossible or _impossible(leg, there, total)
    if impossible:
        return implausible(impossible, age_s)
    stale = leg.stale or (f"the newest sample was {age_s:.1f} s old then" if age_s > stale_after_s else "")
    return Reading(total, Freshness.STALE if stale else Freshness.FRESH, age_s, stale)


def _impossible(leg: Leg, rows: Iterable[Row], total: float) -> str:
    if not 0.0 <= total <= FINITE:
        return f"reported as {total}"
    return next((leg.impossible[row] for row in rows if row in leg.impossible), "")


def _refused(fleet: Fleet, seen: Observation, rules: Rules) -> Reading:
    """Requests refused per second over the proxy's clusters of one fleet."""
    leg, ages = seen.legs["refused"], seen.legs["refused_age"].rows
    there = [(name,) for name in rules.proxy_clusters(fleet) if (name,) in leg.rows]
    if not there:
        return absent(leg.failed)
    age_s = max(ages.get(key, 0.0) for key in there)
    total = sum(leg.rows[key] for key in there)
    impossible = _impossible(leg, there, total)
    if impossible:
        return implausible(impossible, age_s)
    stale = leg.stale or (f"the oldest sample is {age_s:.1f} s old" if age_s > rules.stale_after_s else "")
    return Reading(total, Freshness.STALE if stale else Freshness.FRESH, age_s, stale)


def _family(keys: Sequence[Key], seen: Observation) -> str:
    """Version family of the fleet's engines; by variant where they differ."""
    named = {key[2]: seen.families[key] for key in keys if seen.families.get(key)}
    if len(set(named.values())) <= 1:
        return next(iter(named.values()), "")
    return "; ".join(f"{variant}: {family}" for variant, family in named.items())


def _unlabelled(seen: Observation, variant_label: str) -> Mapping[tuple[str, str], str]:
    """Fleets whose engines report without saying which variant they are: a gap in the scrape configuration."""
    return {
        (key[0], key[1]): f"series of model {key[1]!r} in namespace {key[0]!r} carry no label {variant_label!r}: "
        "add it by relabelling where vLLM is scraped"
        for key in seen.legs["age"].rows
        if not key[2]
    }
