"""Cycles as a daemon would record them: defaults that are plausible, so that a test names only what matters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace

from controller.model.decision import (
    Action,
    Alternative,
    Condition,
    ConditionStatus,
    Counts,
    Decision,
    Outcome,
    OutcomeStatus,
    Reason,
    ScaleWrite,
    Step,
)
from controller.model.fleet import Fleet
from controller.model.memory import DemandPoint, FleetMemory, LearnedLaw, Recommendation, VariantMemory
from controller.model.plan import Plan
from controller.model.snapshot import (
    Freshness,
    Reading,
    Replica,
    ReplicaPhase,
    ScaleTarget,
    Snapshot,
    VariantSignals,
    VariantState,
)
from controller.ports import CycleRecord
from engine.profile import ColdStartStage, EngineLimits, Profile, Provenance, StepLaw

T0 = 1_767_225_600.0
"""2026-01-01T00:00:00Z."""


def fresh(value: float, age_s: float = 1.4) -> Reading:
    return Reading(value, Freshness.FRESH, age_s)


def a_fleet(name: str = "llama-8b", namespace: str = "llm", generation: int = 1) -> Fleet:
    return Fleet.model_validate(
        {
            "metadata": {"name": name, "namespace": namespace, "generation": generation},
            "spec": {
                "modelName": "meta-llama/Meta-Llama-3.1-8B-Instruct",
                "host": "vllm-server",
                "variants": [
                    {
                        "name": "v1",
                        "scaleTargetRef": {"name": "vllm-server-v1"},
                        "subset": "v1",
                        "accelerator": "l40s",
                        "costPerHour": 1.86,
                        "replicas": {"min": 2, "max": 20},
                    }
                ],
                "objectives": {
                    "ttft": {"threshold": "1s", "target": 0.95},
                    "tpot": {"threshold": "50ms", "target": 0.95},
                },
            },
        }
    )


def a_profile() -> Profile:
    return Profile(
        name="llama-8b-l40s",
        model="llama-8b",
        accelerator="l40s",
        gpus_per_replica=1,
        limits=EngineLimits(8192, 256, 16, 12_000, 8192),
        law=StepLaw(0.0121, 1.07e-4, 2.3e-9, 9.1e-5, 1.4e-7),
        api_overhead_s=0.004,
        cold_start=(ColdStartStage("load", 40.0, 0.2),),
        cost_per_gpu_hour=1.86,
        provenance=Provenance("database", "kernel tables", "2-7 %"),
    )


def replicas(ready: int, starting: int = 0, draining: int = 0, at: float = T0) -> tuple[Replica, ...]:
    phases = [ReplicaPhase.READY] * ready + [ReplicaPhase.STARTING] * starting + [ReplicaPhase.DRAINING] * draining
    return tuple(
        Replica(f"v1-{n}", phase, at - 600, at - 540 if phase is not ReplicaPhase.STARTING else None, 3.0)
        for n, phase in enumerate(phases)
    )


def a_snapshot(
    fleet: Fleet,
    at: float = T0,
    ready: int = 3,
    starting: int = 0,
    draining: int = 0,
    arrival_rps: float = 9.3,
    ttft: float | None = 0.991,
    tpot: float | None = 0.987,
) -> Snapshot:
    values = {
        "engines": ready,
        "running": 14.0,
        "waiting": 2.0,
        "kv_usage_ratio": 0.41,
        "kv_usage_max_ratio": 0.52,
        "kv_capacity_tokens": 192_000.0,
        "finished_rps": arrival_rps * 0.98,
        "first_token_rps": arrival_rps,
        "itl_mean_s": 0.0231,
        "prefill_tps": arrival_rps * 812.0,
        "cached_tps": 120.0,
        "decode_tps": arrival_rps * 197.3,
        "steps_per_s": 92.0,
        "preemptions_per_s": 0.0,
        "gpu_busy_ratio": 0.77,
    }
    signals = VariantSignals(**{name: fresh(float(value)) for name, value in values.items()})
    if ttft is not None:
        signals = replace(signals, ttft_within_ratio=fresh(ttft))
    if tpot is not None:
        signals = replace(signals, tpot_within_ratio=fresh(tpot))
    target = ScaleTarget(ready + starting, "8123", replicas(ready, starting, draining, at))
    return Snapshot(
        fleet=fleet.key,
        at=at,
        source="prometheus",
        window_s=30.0,
        variants=(VariantState("v1", target, signals, 100),),
        inflight=fresh(16.0),
        inflight_before=fresh(15.0),
        refused_rps=fresh(0.0),
        source_skew_s=0.2,
        vllm_family="0.32",
    )


def a_condition(kind: str = "SignalsFresh", status: str = "True", since: float = T0, message: str = "") -> Condition:
    return Condition(kind, ConditionStatus(status), "AllFresh" if status == "True" else "SourceSilent", message, since)


def a_decision(
    fleet: Fleet,
    at: float = T0,
    before: int = 3,
    after: int | None = None,
    reason: Reason = Reason.STEADY,
    conditions: Sequence[Condition] = (),
    estimates: Mapping[str, float] | None = None,
) -> Decision:
    after = before if after is None else after
    action = Action.UP if after > before else Action.DOWN if after < before else Action.HOLD
    counts_before: Counts = (("v1", before),)
    counts_after: Counts = (("v1", after),)
    numbers = {"arrival_rps": 9.3, "capacity_rps.v1": 4.4, "horizon_s": 81.0} | dict(estimates or {})
    return Decision(
        fleet=fleet.key,
        at=at,
        action=action,
        before=counts_before,
        after=counts_after,
        reason=reason,
        sentence=f"{_verb(before, after)}: {numbers['arrival_rps']:.1f} requests/s at 4.4 requests/s a replica",
        steps=(
            Step("demand", counts_before, counts_after, reason, "9.3 requests/s at 0.9 × 4.4", (("arrival_rps", 9.3),)),
            Step("stabilise", counts_after, counts_after, Reason.STABILISED, "the most wanted in 300 s was this"),
            Step("bounds", counts_after, counts_after, reason, "inside 2…20"),
        ),
        rejected=(Alternative((("v1", before + 2),), 9.3, "costs 1.86 more per hour without need"),),
        counterfactuals=(f"{after} → {after + 1} if waiting > 14 or arrival > 11.9/s",),
        conditions=tuple(conditions),
        estimates=tuple(numbers.items()),
    )


def _verb(before: int, after: int) -> str:
    return f"hold v1 {after}" if before == after else f"v1 {before} → {after}"


def a_memory(fleet: Fleet, at: float = T0, points: int = 6, cold_starts_s: Sequence[float] = (42.0,)) -> FleetMemory:
    law = LearnedLaw("llama-8b-l40s", (0.0121, 1.07e-4, 2.3e-9, 9.1e-5, 1.4e-7), (1.1e-9,) * 25, 120)
    return FleetMemory(
        fleet=fleet.key,
        started_at=at - 900,
        stable="v1",
        variants=(VariantMemory("v1", law, 0.11, 0.42, 812.0, 197.3, 12.0, None, tuple(cold_starts_s)),),
        demand=tuple(DemandPoint(at - 5 * n, 9.3 + n / 7, 7551.6, 1834.9, 16.0) for n in range(points)),
        recommendations=tuple(Recommendation(at - 5 * n, (("v1", 3),)) for n in range(points)),
    )


def a_cycle(
    fleet: Fleet | None = None,
    at: float = T0,
    before: int = 3,
    after: int | None = None,
    snapshot: Snapshot | None = None,
    decision: Decision | None = None,
    memory: FleetMemory | None = None,
) -> CycleRecord:
    fleet = fleet or a_fleet()
    decision = decision or a_decision(fleet, at, before, after)
    after = dict(decision.after)["v1"]
    writes = (ScaleWrite(fleet.key, "v1", before, after, "8123"),) if after != before else ()
    return CycleRecord(
        fleet=fleet,
        snapshot=snapshot or a_snapshot(fleet, at, ready=before),
        plan=Plan(decision, writes, memory or a_memory(fleet, at)),
        profiles={"v1": a_profile()},
    )


def an_outcome(record: CycleRecord, status: OutcomeStatus = OutcomeStatus.APPLIED, detail: str = "") -> Outcome:
    return Outcome(record.plan.writes[0], status, detail)


def a_run(fleet: Fleet, cycles: int, at: float = T0, interval_s: float = 5.0) -> list[CycleRecord]:
    """Consecutive cycles whose memories really differ from one to the next."""
    times = [at + n * interval_s for n in range(cycles)]
    return [a_cycle(fleet, time, memory=a_memory(fleet, time)) for time in times]


SIGNAL_NAMES = tuple(field.name for field in fields(VariantSignals))
