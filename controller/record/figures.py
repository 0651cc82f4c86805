"""The numbers of one cycle that people look at, taken from it once for page, API, metrics and command line."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from controller.model.fleet import Fleet
from controller.model.snapshot import Reading, ReplicaPhase, Snapshot, VariantSignals, VariantState
from controller.ports import CycleRecord

_PAID = (ReplicaPhase.STARTING, ReplicaPhase.READY, ReplicaPhase.DRAINING)
"""Phases in which a replica holds a machine."""


@dataclass(frozen=True, slots=True)
class VariantFigures:
    """One variant. Counts are replicas; `None` is what could not be read, never zero."""

    name: str
    subset: str
    role: str
    """stable: carries production traffic; canary: another version."""
    accelerator: str
    weight_pct: int | None
    desired: int | None
    ready: int | None
    starting: int | None
    draining: int | None
    pending: int | None
    failed: int | None
    capacity_rps: float | None
    """Requests per second that one ready replica carries inside the objectives, as learned."""
    capacity_uncertainty_ratio: float | None
    cold_start_p90_s: float | None
    cost_per_hour: float | None


@dataclass(frozen=True, slots=True)
class Figures:
    """One fleet at one cycle. Sums are over the variants that could be read, `None` where none could."""

    at: float
    arrival_rps: float | None
    sized_rps: float | None
    """What the fleet is sized for: arrivals at the horizon."""
    capacity_rps: float | None
    """Of all ready replicas together."""
    ttft_within_ratio: float | None
    tpot_within_ratio: float | None
    running: float | None
    waiting: float | None
    desired: int | None
    ready: int | None
    starting: int | None
    draining: int | None
    cost_per_hour: float | None
    oldest_sample_s: float | None
    """Age of the oldest reading that was used, on the source's clock."""
    variants: tuple[VariantFigures, ...]


def figures(record: CycleRecord) -> Figures:
    """The figures of a cycle."""
    estimates = dict(record.plan.decision.estimates)
    stable = record.plan.memory.stable or record.fleet.spec.variants[0].subset
    variants = tuple(
        _variant(record.fleet, record.snapshot.variant(v.name), v.name, stable, estimates)
        for v in record.fleet.spec.variants
    )
    carried = [_times(v.ready, v.capacity_rps) for v in variants]
    snapshot = record.snapshot
    return Figures(
        at=snapshot.at,
        arrival_rps=estimates.get("arrival_rps"),
        sized_rps=estimates.get("sized_rps"),
        capacity_rps=_total(carried),
        ttft_within_ratio=_attainment(snapshot, lambda s: s.ttft_within_ratio, lambda s: s.first_token_rps),
        tpot_within_ratio=_attainment(snapshot, lambda s: s.tpot_within_ratio, lambda s: s.finished_rps),
        running=_total(v.signals.running.usable for v in snapshot.variants),
        waiting=_total(v.signals.waiting.usable for v in snapshot.variants),
        desired=_count(v.desired for v in variants),
        ready=_count(v.ready for v in variants),
        starting=_count(v.starting for v in variants),
        draining=_count(v.draining for v in variants),
        cost_per_hour=_total(v.cost_per_hour for v in variants),
        oldest_sample_s=_oldest(snapshot),
        variants=variants,
    )


def _variant(
    fleet: Fleet, state: VariantState | None, name: str, stable: str, estimates: dict[str, float | None]
) -> VariantFigures:
    wanted = fleet.variant(name)
    target = state.target if state is not None else None

    def count(*phases: ReplicaPhase) -> int | None:
        return len(target.in_phase(*phases)) if target is not None else None

    return VariantFigures(
        name=name,
        subset=wanted.subset,
        role="stable" if wanted.subset == stable else "canary",
        accelerator=wanted.accelerator,
        weight_pct=state.weight_pct if state is not None else None,
        desired=target.desired if target is not None else None,
        ready=count(ReplicaPhase.READY),
        starting=count(ReplicaPhase.STARTING, ReplicaPhase.PENDING),
        draining=count(ReplicaPhase.DRAINING),
        pending=count(ReplicaPhase.PENDING),
        failed=count(ReplicaPhase.FAILED),
        capacity_rps=estimates.get(f"capacity_rps.{name}"),
        capacity_uncertainty_ratio=estimates.get(f"capacity_uncertainty_ratio.{name}"),
        cold_start_p90_s=estimates.get(f"cold_start_p90_s.{name}"),
        cost_per_hour=_times(count(*_PAID), wanted.cost_per_hour),
    )


def _attainment(
    snapshot: Snapshot, ratio: Callable[[VariantSignals], Reading], rate: Callable[[VariantSignals], Reading]
) -> float | None:
    """The share over all variants: each one's, weighted with how much it served."""
    pairs = [(ratio(v.signals).usable, rate(v.signals).usable or 0.0) for v in snapshot.variants]
    known = [(share, weight) for share, weight in pairs if share is not None]
    weights = sum(weight for _, weight in known)
    if weights > 0:
        return sum(share * weight for share, weight in known) / weights
    return sum(share for share, _ in known) / len(known) if known else None


def _oldest(snapshot: Snapshot) -> float | None:
    readings = [v.signals.running for v in snapshot.variants] + [v.signals.first_token_rps for v in snapshot.variants]
    ages = [r.age_s for r in readings if r.usable is not None and r.age_s is not None]
    return max(ages, default=None)


def _times(count: int | None, each: float | None) -> float | None:
    if count == 0:
        return 0.0
    return count * each if count is not None and each is not None else None


def _total(parts: Iterable[float | None]) -> float | None:
    known = [part for part in parts if part is not None]
    return sum(known) if known else None


def _count(parts: Iterable[int | None]) -> int | None:
    known = [part for part in parts if part is not None]
    return sum(known) if known else None
