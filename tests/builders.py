"""Worlds for the pure core, with defaults: a test names only what matters.

    plan(a_snapshot(variants=[a_state(ready=3, arrival_rps=9)]), a_memory(), a_fleet(), T0, priors())

The default world is healthy: an L40S fleet of one variant, readings fresh and complete, a memory older than every
look-back window.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

from controller.guard.base import Guard
from controller.guard.chain import GUARDS
from controller.model.fleet import Fleet
from controller.model.memory import DemandPoint, FleetMemory, Recommendation, StartingReplica, VariantMemory
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
from controller.model.weights import RouteState
from controller.plan import plan
from engine import perf
from engine.perf import Mix
from engine.profile import Profile
from engine.profile_files import load_profile

T0 = 1_800_000_000.0
WINDOW_S = 10.0
PROMPT_TOKENS, OUTPUT_TOKENS = 1150.0, 210.0
"""About the means of the Azure conversation trace."""


def fresh(value: float, age_s: float = 1.0) -> Reading:
    return Reading(value, Freshness.FRESH, age_s)


def stale(value: float, age_s: float = 45.0) -> Reading:
    return Reading(value, Freshness.STALE, age_s, "old")


IMPLAUSIBLE = Reading(None, Freshness.IMPLAUSIBLE, None, "NaN")


@cache
def a_profile(name: str = "l40s-8b") -> Profile:
    return load_profile(name)


def priors(fleet: Fleet | None = None, **by_variant: Profile) -> Mapping[str, Profile]:
    """A profile for every variant of the fleet: the L40S one unless named."""
    names = [v.name for v in fleet.spec.variants] if fleet is not None else ["v1"]
    return {name: by_variant.get(name, a_profile()) for name in names}


def a_variant(
    name: str = "v1", low: int = 1, high: int = 10, cost: float = 1.86, subset: str = "v1", **more: Any
) -> dict[str, Any]:
    return {
        "name": name,
        "scaleTargetRef": {"name": f"vllm-server-{name}"},
        "subset": subset,
        "accelerator": "l40s",
        "costPerHour": cost,
        "replicas": {"min": low, "max": high},
        **more,
    }


def a_fleet(
    *variants: Mapping[str, Any],
    low: int = 1,
    high: int = 10,
    objectives: Mapping[str, Any] | None = None,
    **scaling: Any,
) -> Fleet:
    """One variant v1 of `low` to `high` replicas unless variants are given; `scaling` in Python's or YAML's names."""
    return Fleet.model_validate(
        {
            "metadata": {"name": "llama-8b", "namespace": "llm"},
            "spec": {
                "modelName": "meta-llama/Meta-Llama-3.1-8B-Instruct",
                "host": "vllm-server",
                "variants": list(variants) or [a_variant(low=low, high=high)],
                "objectives": dict(objectives or {}),
                "scaling": {"cold_start": 15.0, "stabilization": {"down": 60.0}, **scaling},
            },
        }
    )


def a_split_fleet(*variants: Mapping[str, Any], weights: Mapping[str, int], **more: Any) -> Fleet:
    """A fleet whose weights are set by hand: variants v1 and v2 of subsets of the same name unless others are given."""
    given = variants or (a_variant("v1", 1, 10), a_variant("v2", 0, 10, subset="v2"))
    plain = a_fleet(*given, **more).model_dump(by_alias=True, mode="json")
    plain["spec"]["traffic"] = {
        "virtualService": {"name": "vllm-routing", "route": "primary"},
        "weights": dict(weights),
    }
    return Fleet.model_validate_json(json.dumps(plain))


def a_split_snapshot(
    *ready: int, weights: Sequence[int], arrival_rps: float = 9.0, at: float = T0, version: str = "5", **more: Any
) -> Snapshot:
    """Variants v1, v2, … with so many ready replicas each, and the requests shared out by weight."""
    states = (
        replace(
            a_state(f"v{i}", target=a_target(count), arrival_rps=arrival_rps * percent / 100 if count else 0.0),
            weight_pct=percent,
        )
        for i, (count, percent) in enumerate(zip(ready, weights, strict=True), start=1)
    )
    return a_snapshot(*states, at=at, route=RouteState(version), **more)


def a_replica(name: str, phase: ReplicaPhase = ReplicaPhase.READY, age_s: float = 600.0, **more: Any) -> Replica:
    """A replica created `age_s` ago, ready (where it is) after 15 s."""
    created = T0 - age_s
    ready_at = created + 15.0 if phase in (ReplicaPhase.READY, ReplicaPhase.DRAINING) else None
    return replace(Replica(name, phase, created, ready_at), **more)


def a_target(
    ready: int = 2, starting: int = 0, pending: int = 0, failed: int = 0, draining: int = 0, **more: Any
) -> ScaleTarget:
    """As many replicas in each phase; `desired` counts all but the draining ones unless it is given."""
    phases = (
        [(ReplicaPhase.READY, 600.0)] * ready
        + [(ReplicaPhase.STARTING, 5.0)] * starting
        + [(ReplicaPhase.PENDING, 5.0)] * pending
        + [(ReplicaPhase.FAILED, 100.0)] * failed
        + [(ReplicaPhase.DRAINING, 600.0)] * draining
    )
    replicas = tuple(a_replica(f"r{n}", phase, age_s) for n, (phase, age_s) in enumerate(phases))
    return replace(ScaleTarget(len(replicas) - draining, "7", replicas), **more)


def signals(ready: int = 2, arrival_rps: float = 4.0, waiting: float = 0.0, **more: Any) -> VariantSignals:
    """What `ready` replicas say of themselves while they answer `arrival_rps` in steady state, inside objectives."""
    profile, mix = a_profile(), Mix(PROMPT_TOKENS, 0.0, OUTPUT_TOKENS)
    step_s = min(perf.step_time_s(profile.law, mix, arrival_rps / max(ready, 1)), 0.045)
    busy = min(1.0, arrival_rps / max(ready, 1) * perf.work_s(profile.law, mix) + 0.1)
    return replace(
        VariantSignals(
            engines=fresh(ready),
            running=fresh(round(arrival_rps * OUTPUT_TOKENS * step_s)),
            waiting=fresh(waiting),
            kv_usage_ratio=fresh(0.1),
            kv_usage_max_ratio=fresh(0.2),
            finished_rps=fresh(arrival_rps),
            first_token_rps=fresh(arrival_rps),
            ttft_within_ratio=fresh(1.0),
            tpot_within_ratio=fresh(1.0),
            itl_mean_s=fresh(step_s),
            prefill_tps=fresh(arrival_rps * PROMPT_TOKENS),
            cached_tps=fresh(0.0),
            decode_tps=fresh(arrival_rps * OUTPUT_TOKENS),
            steps_per_s=fresh(ready / step_s),
            preemptions_per_s=fresh(0.0),
            gpu_busy_ratio=fresh(busy),
        ),
        **more,
    )


def a_state(
    name: str = "v1",
    ready: int = 2,
    arrival_rps: float = 4.0,
    waiting: float = 0.0,
    target: ScaleTarget | None = None,
    **more: Any,
) -> VariantState:
    """One variant with `ready` replicas (or `target`'s) that answer `arrival_rps`; `more` replaces signals."""
    target = a_target(ready) if target is None else target
    return VariantState(name, target, signals(target.ready, arrival_rps, waiting, **more))


def a_snapshot(*variants: VariantState, at: float = T0, **more: Any) -> Snapshot:
    """A fleet in steady state: nothing refused, as many requests in flight now as a window ago."""
    variants = variants or (a_state(),)
    inflight = sum((v.signals.running.value or 0.0) + (v.signals.waiting.value or 0.0) for v in variants)
    return replace(
        Snapshot(
            fleet="llm/llama-8b",
            at=at,
            source="prometheus",
            window_s=WINDOW_S,
            variants=tuple(variants),
            inflight=fresh(inflight),
            inflight_before=fresh(inflight),
            refused_rps=fresh(0.0),
            source_skew_s=0.0,
            vllm_family="0.32",
        ),
        **more,
    )


def a_memory(
    arrival_rps: float = 4.0,
    wanted: Sequence[Mapping[str, int]] = (),
    at: float = T0,
    names: Sequence[str] = ("v1",),
    starting: Sequence[Replica] = (),
    **more: Any,
) -> FleetMemory:
    """An hour old, with a last minute of `arrival_rps` and a known mix; `wanted`: what the last cycles proposed.

    `starting`: replicas that were seen starting since their creation.

    Without it, one cycle is remembered, which wanted nothing: no look-back holds anything.
    """
    wanted = wanted or [dict.fromkeys(names, 0)]
    demand = tuple(
        DemandPoint(at - ago, arrival_rps, arrival_rps * PROMPT_TOKENS, arrival_rps * OUTPUT_TOKENS, 10.0)
        for ago in range(55, 0, -5)
    )
    begun = tuple(StartingReplica(r.name, r.created_at) for r in starting)
    learned = tuple(
        VariantMemory(n, prompt_tokens=PROMPT_TOKENS, output_tokens=OUTPUT_TOKENS, starting=begun) for n in names
    )
    past = tuple(Recommendation(at - 5.0 * (len(wanted) - i), tuple(counts.items())) for i, counts in enumerate(wanted))
    return replace(
        FleetMemory(
            "llm/llama-8b",
            started_at=at - 3600,
            variants=learned,
            demand=demand,
            recommendations=past,
            last_demand_at=at - 5,
        ),
        **more,
    )


def seen_starting(memory: FleetMemory, *replicas: Replica) -> FleetMemory:
    """The memory of a daemon that has seen these replicas start from their creation on."""
    since = tuple(StartingReplica(r.name, r.created_at) for r in replicas)
    return replace(memory, variants=tuple(replace(v, starting=since) for v in memory.variants))


def planned(
    snapshot: Snapshot | None = None,
    memory: FleetMemory | None = None,
    fleet: Fleet | None = None,
    guards: tuple[Guard, ...] = GUARDS,
    profiles: Mapping[str, Profile] | None = None,
) -> Plan:
    """One cycle of the default world, or of what is given."""
    fleet = a_fleet() if fleet is None else fleet
    snapshot = a_snapshot() if snapshot is None else snapshot
    memory = a_memory() if memory is None else memory
    return plan(snapshot, memory, fleet, snapshot.at, priors(fleet) if profiles is None else profiles, guards)
