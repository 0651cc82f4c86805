"""Random valid worlds: fleets, what is seen of them and what is remembered, from healthy to absurd."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from hypothesis import strategies as st

from controller.guard.base import Guard
from controller.guard.chain import GUARDS
from controller.model.decision import ScaleWrite
from controller.model.fleet import Fleet
from controller.model.memory import DemandPoint, FleetMemory, Recommendation, VariantMemory
from controller.model.plan import Plan
from controller.model.snapshot import (
    ABSENT,
    Freshness,
    Reading,
    Replica,
    ReplicaPhase,
    ScaleTarget,
    Snapshot,
    VariantSignals,
    VariantState,
)
from engine.profile import Profile
from tests.builders import OUTPUT_TOKENS, PROMPT_TOKENS, T0, a_fleet, a_variant, fresh, planned, priors, signals


@dataclass(frozen=True)
class World:
    """One question for the core. `healthy`: every reading is fresh, complete and consistent."""

    snapshot: Snapshot
    memory: FleetMemory
    fleet: Fleet

    def plan(self, guards: tuple[Guard, ...] = GUARDS, profiles: Mapping[str, Profile] | None = None) -> Plan:
        return planned(self.snapshot, self.memory, self.fleet, guards, profiles or priors(self.fleet))

    def __repr__(self) -> str:
        """What the core was asked, in short."""
        made, scaling = self.plan(()), self.fleet.spec.scaling
        states = [
            (v.name, v.target and (v.target.desired, [r.phase.value for r in v.target.replicas]))
            for v in self.snapshot.variants
        ]
        given = scaling.model_dump(exclude_defaults=True)
        return f"World({states}, {given}, {made.decision.sentence}, {dict(made.decision.estimates)}, {self.memory})"

    def but(self, **snapshot: Any) -> World:
        return replace(self, snapshot=replace(self.snapshot, **snapshot))


rates = st.floats(0, 60, allow_nan=False).map(lambda x: round(x, 2))
wild_numbers = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([0.0, -1.0, 1e-300, 5e-324, 1e12, 1.7e308]),
    st.floats(0, 1e4),
)


@st.composite
def wild_readings(draw: st.DrawFn) -> Reading:
    freshness = draw(st.sampled_from(Freshness))
    if freshness in (Freshness.ABSENT, Freshness.IMPLAUSIBLE):
        return Reading(None, freshness, None, "")
    return Reading(draw(wild_numbers), freshness, draw(st.none() | st.floats(0, 1e6)))


@st.composite
def fleets(draw: st.DrawFn, *, most_variants: int = 3, plain: bool = False) -> Fleet:
    """`plain`: one variant, policy slo, nothing that stands in the way of growth."""
    count = 1 if plain else draw(st.integers(1, most_variants))
    variants = []
    for i in range(count):
        low = draw(st.integers(0 if not plain else 1, 3))
        cost, subset = draw(st.sampled_from([1.0, 1.86, 4.0])), draw(st.sampled_from(["v1", "v1", "v1", "v2"]))
        variants.append(a_variant(f"v{i + 1}", low, low + draw(st.integers(1, 9)), cost, "v1" if i == 0 else subset))
    floor = sum(v["costPerHour"] * v["replicas"]["min"] for v in variants)
    scaling: dict[str, Any] = {
        "headroom": draw(st.sampled_from([0.0, 0.1, 0.3])),
        "stabilization": {"down": draw(st.sampled_from([0.0, 60.0, 300.0]))},
    }
    if plain:
        return a_fleet(*variants, **scaling)
    scaling["stabilization"]["up"] = draw(st.sampled_from([0.0, 0.0, 30.0]))
    scaling["policy"] = draw(st.sampled_from(["slo", "slo", "thresholds"]))
    scaling["paused"] = draw(st.sampled_from([False, False, False, True]))
    scaling["steps"] = {"up": draw(st.sampled_from([None, 1, 3])), "down": draw(st.sampled_from([None, 1, 2]))}
    scaling["thresholds"] = {"step_up": draw(st.integers(1, 3)), "step_down": draw(st.integers(1, 3))}
    if draw(st.booleans()):
        scaling["max_cost_per_hour"] = max(floor, 0.5) + draw(st.floats(0, 20))
    if draw(st.integers(0, 4)) == 0:
        named = draw(st.sets(st.sampled_from(range(count)), min_size=1))
        wanted = {
            variants[i]["name"]: draw(st.integers(variants[i]["replicas"]["min"], variants[i]["replicas"]["max"]))
            for i in sorted(named)
        }
        until = draw(st.sampled_from(["2026-01-01T00:00:00Z", "2033-01-01T00:00:00Z"]))
        scaling["override"] = {"replicas": wanted, "until": until, "reason": "because"}
    if draw(st.integers(0, 3)) == 0:
        most = draw(st.integers(0, 12))
        scaling["schedules"] = [{"name": "night", "from": "00:00", "to": "24:00", "min": 0, "max": most}]
    return a_fleet(*variants, **scaling)


@st.composite
def targets(draw: st.DrawFn, *, wild: bool = False) -> ScaleTarget:
    phases = draw(st.lists(st.sampled_from([*[ReplicaPhase.READY] * 5, *ReplicaPhase]), max_size=9))
    replicas = []
    for n, phase in enumerate(phases):
        age_s = draw(st.sampled_from([5.0, 40.0, 600.0, 4000.0]))
        ready_at = T0 - age_s + 4 if phase in (ReplicaPhase.READY, ReplicaPhase.DRAINING) else None
        load = draw(st.none() | st.integers(0, 40).map(float)) if phase is ReplicaPhase.READY else None
        replicas.append(Replica(f"r{n}", phase, T0 - age_s, ready_at, load))
    shown = len([p for p in phases if p is not ReplicaPhase.DRAINING])
    desired = max(0, shown + draw(st.integers(-2, 3))) if wild else shown
    foreign = draw(st.sampled_from(["", "", "", "hpa/llama"])) if wild else ""
    return ScaleTarget(desired, "7", tuple(replicas), foreign, draw(st.booleans()))


@st.composite
def states(draw: st.DrawFn, name: str, *, wild: bool) -> VariantState:
    target = draw(targets(wild=wild))
    if wild and draw(st.integers(0, 9)) == 0:
        return VariantState(name, None, VariantSignals())
    seen = signals(target.ready, draw(rates), draw(st.sampled_from([0.0, 0.0, 0.0, 6.0, 200.0])))
    seen = replace(seen, gpu_busy_ratio=fresh(draw(st.floats(0, 1))))
    if draw(st.booleans()):
        seen = replace(seen, ttft_within_ratio=fresh(draw(st.floats(0, 1))))
    if wild:
        names = draw(st.sets(st.sampled_from(VariantSignals.__slots__), max_size=4))
        seen = replace(seen, **{field: draw(wild_readings()) for field in names})
    return VariantState(name, target, seen)


@st.composite
def memories(draw: st.DrawFn, fleet: Fleet) -> FleetMemory:
    if draw(st.integers(0, 7)) == 0:
        return FleetMemory.empty(fleet.key)
    names = [v.name for v in fleet.spec.variants]
    usual = draw(rates)
    ages = draw(st.sampled_from([(), (5.0,), tuple(range(60, 0, -5))]))
    past = [
        Recommendation(T0 - age_s, tuple((n, draw(st.integers(0, 8))) for n in names))
        for age_s in sorted(draw(st.sets(st.sampled_from([5.0, 20.0, 50.0, 200.0, 299.0]), min_size=1)), reverse=True)
    ]
    given_up = draw(st.sets(st.sampled_from([f"r{n}" for n in range(9)]), max_size=1))
    return FleetMemory(
        fleet.key,
        started_at=draw(st.sampled_from([T0 - 5, T0 - 120, T0 - 7200])),
        variants=tuple(
            VariantMemory(n, prompt_tokens=PROMPT_TOKENS, output_tokens=OUTPUT_TOKENS, given_up=tuple(given_up))
            for n in names
        ),
        demand=tuple(
            DemandPoint(T0 - a, max(0.0, usual + draw(st.sampled_from([-1.0, 0.0, 1.0]))), 0.0, 0.0, 0.0) for a in ages
        ),
        recommendations=tuple(past),
        last_up_at=draw(st.none() | st.sampled_from([T0 - 20, T0 - 400])),
        last_down_at=draw(st.none() | st.sampled_from([T0 - 20, T0 - 400, T0 + 1e5])),
        last_demand_at=draw(st.none() | st.sampled_from([T0 - 5, T0 - 9000])),
    )


@st.composite
def worlds(draw: st.DrawFn, *, wild: bool = False, plain: bool = False) -> World:
    """`wild`: readings absent, stale, impossible; foreign writers; unreadable variants; intents."""
    fleet = draw(fleets(plain=plain))
    seen = tuple(draw(states(v.name, wild=wild)) for v in fleet.spec.variants)
    memory = draw(memories(fleet))
    inflight = sum((s.signals.running.usable or 0.0) + (s.signals.waiting.usable or 0.0) for s in seen)
    snapshot = Snapshot(
        fleet=fleet.key,
        at=T0,
        source="prometheus",
        window_s=draw(st.sampled_from([10.0, 75.0])),
        variants=seen,
        inflight=fresh(inflight),
        inflight_before=fresh(inflight),
        refused_rps=fresh(draw(st.sampled_from([0.0, 0.0, 0.0, 3.0]))),
        source_skew_s=0.0,
        active_schedules=tuple(s.name for s in fleet.spec.scaling.schedules),
    )
    world = World(snapshot, memory, fleet)
    return draw(_spoilt(world)) if wild else world


@st.composite
def _spoilt(draw: st.DrawFn, world: World) -> World:
    names = draw(st.sets(st.sampled_from(["inflight", "inflight_before", "refused_rps"]), max_size=2))
    changed: dict[str, Any] = {n: draw(wild_readings()) for n in names}
    snapshot = replace(world.snapshot, **changed)
    if draw(st.integers(0, 4)) == 0:
        snapshot = replace(snapshot, warnings=("partial answer",))
    if draw(st.integers(0, 4)) == 0:
        snapshot = replace(snapshot, source_skew_s=draw(st.sampled_from([None, -600.0, 600.0, 1e9])))
    if draw(st.integers(0, 4)) == 0:
        snapshot = replace(snapshot, pressure=((6.0, 3.0), (2.0, draw(wild_numbers)), (0.0, draw(wild_numbers))))
    intent = tuple(
        ScaleWrite(world.fleet.key, s.name, s.target.desired + draw(st.sampled_from([-1, 1])), s.target.desired, "6")
        for s in snapshot.variants
        if s.target is not None and draw(st.integers(0, 3)) == 0
    )
    memory = replace(world.memory, intent=intent, intent_at=T0 - 5 if intent else None)
    if draw(st.integers(0, 4)) == 0:
        memory = replace(memory, stable=draw(st.sampled_from(["v1", "v2", "gone"])))
    return replace(world, snapshot=snapshot, memory=memory)


def blind(snapshot: Snapshot) -> Snapshot:
    """The same with no reading at all."""
    seen = tuple(replace(v, signals=VariantSignals()) for v in snapshot.variants)
    return replace(snapshot, variants=seen, inflight=ABSENT, inflight_before=ABSENT, refused_rps=ABSENT)
