"""A cycle as the status of its Fleet: pure, from the record and the conditions that were published before."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from controller.model.conditions import settled
from controller.model.decision import Condition, ConditionStatus, Decision, Reason
from controller.model.status import (
    Attainment,
    FleetStatus,
    LastDecision,
    StatusCondition,
    Summary,
    VariantReplicas,
)
from controller.ports import CycleRecord
from controller.record.figures import Figures, VariantFigures, figures

_STABLE = "Stable"
_LONGEST = 32_768
_NEEDS_A_HUMAN = (Reason.FOREIGN_WRITER.value, Reason.CONTESTED.value)
"""Nothing moves before somebody takes the other writer away."""
Standing = tuple[object, ...]


def status_of(record: CycleRecord, before: FleetStatus | None = None) -> FleetStatus:
    """The status after this cycle. Transition times of `before` are kept where a condition's status is the same."""
    f = figures(record)
    weights = _weights(record)
    known = all(v.desired is not None for v in f.variants)
    return FleetStatus(
        phase=_STABLE,
        stable=record.plan.memory.stable or record.fleet.spec.variants[0].subset,
        weights=weights,
        replicas=tuple(_replicas(v) for v in f.variants),
        ready_replicas=f.ready if known else None,
        desired_replicas=f.desired if known else None,
        attainment=Attainment(ttft=_cut(f.ttft_within_ratio), tpot=_cut(f.tpot_within_ratio)),
        summary=Summary(
            replicas=f"{f.ready}/{f.desired}" if known else None,
            weight=", ".join(f"{subset} {percent}" for subset, percent in weights.items()) or None,
            attainment=_least(f),
        ),
        last_decision=_last(record.plan.decision),
        conditions=_conditions(record, f, before),
        observed_generation=record.fleet.metadata.generation or None,
    )


def standing(record: CycleRecord) -> Standing:
    """What is published at once when it differs: roles, weights, replicas, conditions, changes. Cheap."""
    decision, snapshot = record.plan.decision, record.snapshot
    return (
        record.fleet.metadata.generation,
        record.plan.memory.stable,
        tuple((c.type, c.status, c.reason) for c in decision.conditions),
        decision.action,
        decision.after,
        tuple(
            (
                v.name,
                v.weight_pct,
                None if v.target is None else (v.target.desired, *(r.phase for r in v.target.replicas)),
            )
            for v in snapshot.variants
        ),
    )


def condition_of(found: StatusCondition) -> Condition:
    """A published condition as the core has it."""
    since = found.last_transition_time.timestamp()
    return Condition(found.type, ConditionStatus(found.status), found.reason, found.message, since)


def _weights(record: CycleRecord) -> dict[str, int]:
    """Percent by subset, as observed."""
    by_variant = {v.name: v.weight_pct for v in record.snapshot.variants}
    found = {v.subset: by_variant.get(v.name) for v in record.fleet.spec.variants}
    return {subset: percent for subset, percent in found.items() if percent is not None}


def _replicas(v: VariantFigures) -> VariantReplicas:
    loading = None if v.starting is None or v.pending is None else v.starting - v.pending
    return VariantReplicas(
        name=v.name, desired=v.desired, ready=v.ready, starting=loading, draining=v.draining, pending=v.pending
    )


def _cut(share: float | None) -> float | None:
    """Four decimals, never rounded up: what is just missed is not shown as kept."""
    return int(share * 10_000 + 1e-6) / 10_000 if share is not None else None


def _least(f: Figures) -> str | None:
    """The objective that is kept least, with one decimal, cut and never rounded up."""
    shares = [share for share in (f.ttft_within_ratio, f.tpot_within_ratio) if share is not None]
    return f"{int(min(shares) * 1000 + 1e-9) / 10:.1f}%" if shares else None


def _last(decision: Decision) -> LastDecision:
    return LastDecision(
        at=_instant(decision.at),
        action=decision.action.value,
        reason=decision.reason.value,
        sentence=decision.sentence[:_LONGEST],
        before=dict(decision.before),
        after=dict(decision.after),
    )


def _conditions(record: CycleRecord, f: Figures, before: FleetStatus | None) -> tuple[StatusCondition, ...]:
    """The core's own conditions, then what follows from them for others to read."""
    decision = record.plan.decision
    old = [condition_of(c) for c in before.conditions] if before is not None else []
    derived = settled(_derived(record, f, {c.type: c for c in decision.conditions}), old)
    generation = record.fleet.metadata.generation or None
    return tuple(_published(c, generation) for c in (*decision.conditions, *derived))


def _derived(record: CycleRecord, f: Figures, own: dict[str, Condition]) -> Iterator[Condition]:
    """Degraded always; Reconciling and Stalled, as kstatus has them, only where they are so."""
    at = record.snapshot.at
    troubles = list(_troubles(record, f, own))
    if troubles:
        yield Condition("Degraded", ConditionStatus.TRUE, troubles[0][0], "; ".join(t for _, t in troubles), at)
    else:
        text = "objectives are kept as far as anything was measured"
        yield Condition("Degraded", ConditionStatus.FALSE, "AsPromised", text, at)
    false = [own[kind] for kind in ("Scaling", "Ready", "TrafficInSync") if kind in own]
    false = [c for c in false if c.status is ConditionStatus.FALSE]
    stalled = next((c for c in false if c.reason in _NEEDS_A_HUMAN), None)
    moving = next((c for c in false if c.type != "Scaling" and c.reason != Reason.UNREADABLE.value), None)
    if stalled is not None:
        yield Condition("Stalled", ConditionStatus.TRUE, stalled.reason, stalled.message, at)
    elif moving is not None:
        yield Condition("Reconciling", ConditionStatus.TRUE, moving.reason, moving.message, at)


def _troubles(record: CycleRecord, f: Figures, own: dict[str, Condition]) -> Iterator[tuple[str, str]]:
    """What the users of the model feel, or may feel unseen."""
    objectives = record.fleet.spec.objectives
    for reason, share, target in (
        ("FirstTokensLate", f.ttft_within_ratio, objectives.ttft.target),
        ("TokensLate", f.tpot_within_ratio, objectives.tpot.target),
    ):
        if share is not None and share < target:
            name = "TTFT" if reason == "FirstTokensLate" else "TPOT"
            yield reason, f"{share:.3f} of the requests keep the {name} objective, {target:g} were promised"
    for kind, cause in (("MetricsAvailable", "Blind"), ("CapacityAvailable", "StartDeadlineExceeded")):
        found = own.get(kind)
        if found is not None and found.status is ConditionStatus.FALSE and found.reason == cause:
            yield cause, found.message


def _published(c: Condition, generation: int | None) -> StatusCondition:
    return StatusCondition(
        type=c.type,
        status=c.status.value,
        reason=c.reason,
        message=c.message[:_LONGEST],
        last_transition_time=_instant(c.since),
        observed_generation=generation,
    )


def _instant(at: float) -> datetime:
    """To the second, as Kubernetes writes instants."""
    return datetime.fromtimestamp(int(at), UTC)
