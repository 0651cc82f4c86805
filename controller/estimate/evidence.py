"""Which readings may be trusted for which direction.

Growing needs any usable pressure. Shrinking needs complete, fresh evidence of every variant that has replicas: each
measure that demand is made of, from every ready replica.
"""

from __future__ import annotations

from dataclasses import dataclass

from controller.model.snapshot import Freshness, Reading, Snapshot, VariantState

_NEEDED = ("engines", "running", "waiting", "finished_rps", "first_token_rps", "prefill_tps", "decode_tps")


@dataclass(frozen=True, slots=True)
class Evidence:
    """`complete`: may shrink. `blind`: nothing usable at all. `missing`: what keeps it from being complete."""

    complete: bool
    blind: bool
    missing: tuple[str, ...]


def weigh(snapshot: Snapshot) -> Evidence:
    """Judge the snapshot's readings."""
    missing: list[str] = []
    usable = False
    for state in snapshot.variants:
        if state.target is None:
            missing.append(f"{state.name}: replicas could not be read")
            continue
        usable = usable or state.signals.running.usable is not None
        if state.target.ready:
            missing.extend(_gaps(state))
    if any(v.target and v.target.ready for v in snapshot.variants):
        missing.extend(_whole_fleet_gaps(snapshot))
    elif snapshot.refused_rps.fresh is None:
        missing.append(_gap("requests refused at the proxy", snapshot.refused_rps))
    missing.extend(f"warning: {text}" for text in snapshot.warnings)
    blind = not usable and snapshot.inflight.usable is None and snapshot.refused_rps.usable is None
    return Evidence(complete=not missing, blind=blind, missing=tuple(missing))


def without_weights(evidence: Evidence, snapshot: Snapshot) -> Evidence:
    """The same where it is not known how traffic is split, and should be: nobody may leave then."""
    problem = snapshot.route.problem if snapshot.route is not None else ""
    return Evidence(
        complete=False, blind=evidence.blind, missing=(*evidence.missing, f"weights: {problem or 'not read'}")
    )


def _whole_fleet_gaps(snapshot: Snapshot) -> list[str]:
    whole = (("requests in flight", snapshot.inflight), ("requests in flight before", snapshot.inflight_before))
    return [_gap(name, reading) for name, reading in whole if reading.fresh is None]


def _gaps(state: VariantState) -> list[str]:
    target = state.target
    if target is None:
        return []
    alike: dict[str, list[str]] = {}
    for name in _NEEDED:
        reading: Reading = getattr(state.signals, name)
        if reading.fresh is None:
            alike.setdefault(_fault(reading), []).append(name)
    gaps = [f"{state.name}: {', '.join(names)} {fault}" for fault, names in alike.items()]
    engines = state.signals.engines.fresh
    if engines is not None and engines < target.ready:
        gaps.append(f"{state.name}: {engines:.0f} of {target.ready} ready replicas reported")
    return gaps


def _gap(name: str, reading: Reading) -> str:
    return f"{name} {_fault(reading)}"


def _fault(reading: Reading) -> str:
    possible = reading.usable is not None or reading.freshness is not Freshness.FRESH
    word = reading.freshness.value.lower() if possible else "implausible"
    age = f", {reading.age_s:.0f} s old" if reading.age_s is not None else ""
    detail = f" ({reading.detail})" if reading.detail else ""
    return f"{word}{age}{detail}"
