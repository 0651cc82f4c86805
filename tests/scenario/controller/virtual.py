"""The whole control loop in virtual time: real loop, core and guards; a simulated fleet; metrics with scrape lag.

What the daemon sees is what a Prometheus with the given scrape interval would tell it: stored samples, rates over a
window, never the simulator's constants or its present state.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

from controller.loop import Adapters, Loop
from controller.model.decision import Decision, Outcome, OutcomeStatus, ScaleWrite
from controller.model.fleet import Fleet
from controller.model.memory import FleetMemory
from controller.model.snapshot import ABSENT, Freshness, Reading, Replica, ReplicaPhase, ScaleTarget, VariantSignals
from controller.ports import CycleRecord, FleetSignals, ReplicaWriter, VariantKey
from controller.settings import Settings
from engine.load.arrivals import Arrival as LoadArrival
from engine.profile import Profile
from engine.sim.card import Card
from engine.sim.fleet import Arrival, Phase, Result, SimFleet
from engine.sim.interface import EngineSnapshot, Request

PHASES = {
    Phase.STARTING: ReplicaPhase.STARTING,
    Phase.READY: ReplicaPhase.READY,
    Phase.DRAINING: ReplicaPhase.DRAINING,
}


EPOCH = 1_800_000_000.0
"""The simulation's zero: 2027-01-15T08:00:00Z."""


class VirtualClock:
    """Wall and monotonic time are the simulation's; `offset_s` makes the daemon's wall clock wrong, and no other."""

    def __init__(self) -> None:
        self.t = 0.0
        self.offset_s = 0.0

    def now(self) -> float:
        return EPOCH + self.t + self.offset_s

    def monotonic(self) -> float:
        return self.t


@dataclass
class SimCluster:
    """Reader and writer of replicas over a `SimFleet` with one variant; births take the cold start."""

    sim: SimFleet
    fleet: Fleet
    clock: VirtualClock
    cold_start_s: float
    desired: int
    version: int = 0
    writes: list[tuple[float, ScaleWrite]] = field(default_factory=list)
    never_ready: bool = False
    readable: bool = True

    def read(self, fleets: Sequence[Fleet]) -> Mapping[VariantKey, ScaleTarget]:
        if not self.readable:
            return {}
        pages = self.sim.pages()
        replicas = tuple(
            Replica(
                name=r.name,
                phase=PHASES[r.phase],
                created_at=EPOCH + r.created_at,
                ready_at=EPOCH + r.ready_at if r.phase is not Phase.STARTING else None,
                load=float(pages[r.name].inflight) if r.name in pages else None,
            )
            for r in self.sim.replicas()
        )
        return {(self.fleet.key, "v1"): ScaleTarget(self.desired, str(self.version), replicas)}

    def scale(self, write: ScaleWrite) -> Outcome:
        if write.resource_version != str(self.version):
            return Outcome(write, OutcomeStatus.CONFLICT, "moved on")
        self.version += 1
        self.desired = write.replicas
        self.writes.append((self.clock.t, write))
        self._settle(write.victims)
        return Outcome(write, OutcomeStatus.APPLIED)

    def _settle(self, victims: Sequence[str] = ()) -> None:
        alive = [r for r in self.sim.replicas() if r.phase is not Phase.DRAINING]
        for _ in range(self.desired - len(alive)):
            late = math.inf if self.never_ready else self.clock.t + self.cold_start_s
            self.sim.add_replica(late)
        leaving = [r.name for r in alive if r.name in victims][: max(0, len(alive) - self.desired)]
        for name in leaving:
            self.sim.drain(name)

    def kill(self, name: str) -> None:
        """A replica dies; as a Deployment would, another one is started in its place."""
        self.sim.kill(name)
        self._settle()


@dataclass
class SimSignals:
    """A signal source over stored samples. `fault` may change every reading on its way out."""

    sim: SimFleet
    fleet: Fleet
    clock: VirtualClock
    scrape_s: float
    window_s: float
    samples: list[tuple[float, Mapping[str, EngineSnapshot], int]] = field(default_factory=list)
    """At every instant at which something was stored: the newest stored page of each replica, requests refused."""
    fault: Callable[[FleetSignals], FleetSignals] | None = None
    silent: bool = False
    _phases_s: dict[str, float] = field(default_factory=dict)
    inflight_history: list[tuple[float, float]] = field(default_factory=list)
    """Running + waiting of every stored sample."""

    def scrape(self) -> None:
        """Store the pages of those whose turn it is: each replica has a phase of its own, the proxy's is zero."""
        there = self.sim.pages()
        pages = {name: page for name, page in there.items() if self._due(name)}
        if (pages or self.clock.t % self.scrape_s == 0) and not self.silent:
            known = self.samples[-1][1] if self.samples else {}
            kept = {name: page for name, page in known.items() if name in there}
            self.samples.append((self.clock.t, kept | pages, self.sim.refused))
            self.inflight_history.append((self.clock.t, float(sum(p.inflight for p in self.samples[-1][1].values()))))
        self.samples = [s for s in self.samples if s[0] >= self.clock.t - 3 * self.window_s]

    def _due(self, name: str) -> bool:
        phase_s = self._phases_s.setdefault(name, len(self._phases_s) * 1.5 % self.scrape_s)
        return (self.clock.t - phase_s) % self.scrape_s == 0

    def pressure(self, fleets: Sequence[Fleet]) -> Mapping[str, float]:
        if not self.samples or self.clock.t - self.samples[-1][0] > 10:
            return {}
        return {self.fleet.key: float(sum(p.inflight for p in self.samples[-1][1].values()))}

    def read(self, fleets: Sequence[Fleet], targets: Mapping[VariantKey, ScaleTarget]) -> Mapping[str, FleetSignals]:
        signals = self._signals()
        return {self.fleet.key: self.fault(signals) if self.fault else signals}

    def _signals(self) -> FleetSignals:
        window = [s for s in self.samples if s[0] > self.clock.t - self.window_s - 1e-9]
        if len(window) < 2:
            return FleetSignals("prometheus", self.window_s, {}, ABSENT, ABSENT, ABSENT, -self.clock.offset_s)
        age = self.clock.t - window[-1][0]
        full = window[0][0] <= self.clock.t - self.window_s + self.scrape_s
        fresh = Freshness.FRESH if full and age <= 10 else Freshness.STALE
        span = window[-1][0] - window[0][0] if full else self.window_s

        def reading(value: float | None) -> Reading:
            return ABSENT if value is None else Reading(value, fresh, age)

        def inflight(sample: tuple[float, Mapping[str, EngineSnapshot], int]) -> float:
            return float(sum(p.inflight for p in sample[1].values()))

        refused = (window[-1][2] - window[0][2]) / span
        return FleetSignals(
            source="prometheus",
            window_s=span,
            variants={"v1": self._variant([s[1] for s in window], span, reading)},
            inflight=reading(inflight(window[-1])),
            inflight_before=reading(inflight(window[0])),
            refused_rps=reading(refused),
            source_skew_s=-self.clock.offset_s,
        )

    def _variant(
        self,
        pages: list[Mapping[str, EngineSnapshot]],
        span: float,
        reading: Callable[[float | None], Reading],
    ) -> VariantSignals:
        last = list(pages[-1].values())
        if not last:
            return VariantSignals()

        def rate(get: Callable[[EngineSnapshot], float]) -> float:
            total = 0.0
            for name in {n for page in pages for n in page}:
                values = [get(page[name]) for page in pages if name in page]
                total += sum(max(0.0, b - a) for a, b in pairwise(values))
            return total / span

        def hist(name: str) -> Callable[[EngineSnapshot], float]:
            return lambda p: p.histograms[name].count

        def within(name: str, threshold: float) -> float | None:
            every = rate(hist(name))
            good = rate(lambda p: p.histograms[name].within(threshold))
            return good / every if every > 0 else None

        itl, objectives = "vllm:inter_token_latency_seconds", self.fleet.spec.objectives
        tokens = rate(hist(itl))
        busy = rate(lambda p: p.busy_s) / len(last)
        return VariantSignals(
            engines=reading(len(last)),
            running=reading(sum(p.running for p in last)),
            waiting=reading(sum(p.waiting for p in last)),
            kv_usage_ratio=reading(sum(p.kv_usage_ratio for p in last) / len(last)),
            kv_usage_max_ratio=reading(max(p.kv_usage_ratio for p in last)),
            finished_rps=reading(rate(lambda p: sum(p.finished.values()))),
            first_token_rps=reading(rate(hist("vllm:time_to_first_token_seconds"))),
            ttft_within_ratio=reading(within("vllm:time_to_first_token_seconds", objectives.ttft.threshold)),
            tpot_within_ratio=reading(within("vllm:request_time_per_output_token_seconds", objectives.tpot.threshold)),
            itl_mean_s=reading(rate(lambda p: p.histograms[itl].sum) / tokens if tokens else None),
            prefill_tps=reading(rate(lambda p: p.prompt_tokens - p.cached_tokens)),
            cached_tps=reading(rate(lambda p: p.cached_tokens)),
            decode_tps=reading(rate(lambda p: p.generation_tokens)),
            steps_per_s=reading(rate(hist("vllm:iteration_tokens_total"))),
            preemptions_per_s=reading(rate(lambda p: p.preemptions)),
            gpu_busy_ratio=reading(min(1.0, busy)),
        )


class Remembered:
    """Memory store, journal and board in one: everything kept in lists."""

    def __init__(self, fleet: Fleet) -> None:
        self.memories: dict[str, FleetMemory] = {}
        self.records: list[CycleRecord] = []
        self.fleet = fleet

    def fleets(self) -> Sequence[Fleet]:
        return (self.fleet,)

    def problems(self) -> Mapping[str, str]:
        return {}

    def load(self) -> Mapping[str, FleetMemory]:
        return dict(self.memories)

    def set_aside(self) -> str:
        return "nowhere"

    def save(self, memories: Mapping[str, FleetMemory]) -> None:
        self.memories = dict(memories)

    def append(self, records: Sequence[CycleRecord], memories: Mapping[str, FleetMemory]) -> None:
        self.records.extend(records)

    def outcomes(self, at: float, outcomes: Sequence[Outcome]) -> None:
        pass

    def publish(self, records: Sequence[CycleRecord], outcomes: Sequence[Outcome], tick_s: float) -> None:
        pass

    @property
    def decisions(self) -> list[Decision]:
        return [r.plan.decision for r in self.records]


class VirtualStack:
    """`run(seconds)` advances everything; faults are set on the parts in between."""

    def __init__(
        self,
        fleet: Fleet,
        card: Card,
        prior: Profile,
        arrivals: Sequence[LoadArrival],
        start: int,
        cold_start_s: float = 15.0,
        scrape_s: float = 2.0,
    ) -> None:
        self.fleet, self.prior = fleet, prior
        self.clock = VirtualClock()
        self.sim = SimFleet(card, seed=1)
        for _ in range(start):
            self.sim.add_replica(0.0)
        self.sim.follow(
            Arrival(a.at_s, Request(f"r{i}", a.prompt_tokens, a.output_tokens)) for i, a in enumerate(arrivals)
        )
        self.settings = Settings(scrape_interval_s=scrape_s)
        self.cluster = SimCluster(self.sim, fleet, self.clock, cold_start_s, start)
        self.signals = SimSignals(self.sim, fleet, self.clock, scrape_s, self.settings.rate_window_s)
        self.remembered = Remembered(fleet)
        self.writer: ReplicaWriter = self.cluster
        self.loop = self._new_loop()
        self.woken_at: list[float] = []

    def _new_loop(self) -> Loop:
        r = self.remembered
        adapters = Adapters(
            fleets=r,
            signals=self.signals,
            reader=self.cluster,
            writer=self.writer,
            store=r,
            journal=r,
            board=r,
            profiles=lambda _fleet: {"v1": self.prior},
            clock=self.clock,
        )
        return Loop(adapters, self.settings)

    def restart_daemon(self) -> None:
        self.loop = self._new_loop()

    def change_fleet(self, **scaling: object) -> None:
        spec = self.fleet.spec
        self.fleet = self.fleet.model_copy(
            update={"spec": spec.model_copy(update={"scaling": spec.scaling.model_copy(update=scaling)})}
        )
        self.remembered.fleet = self.fleet

    def run(self, seconds: float) -> None:
        end = self.clock.t + seconds
        while self.clock.t < end - 1e-9:
            self.clock.t = round(self.clock.t + 0.5, 3)
            self.sim.advance_to(self.clock.t)
            self.signals.scrape()
            if self.clock.t % self.settings.wake_interval_s == 0 and self.loop.watch():
                self.woken_at.append(self.clock.t)
            if self.clock.t % self.settings.tick_interval_s == 0:
                self.loop.tick()

    def results(self, start_s: float, end_s: float) -> list[Result]:
        return [r for r in self.sim.results() if start_s <= r.arrived_at < end_s]

    def attainment(self, start_s: float, end_s: float) -> float:
        o = self.fleet.spec.objectives
        found = self.results(start_s, end_s)
        good = sum(r.within(o.ttft.threshold, o.tpot.threshold) for r in found)
        return good / len(found) if found else math.nan

    def recovery_s(self, step_at: float, load_end: float) -> float:
        """End of the last 10-s arrival window below 95 % while the load lasts, from the step."""
        windows = [step_at + 10 * i for i in range(int((load_end - step_at) // 10))]
        bad = [w + 10 for w in windows if self.attainment(w, w + 10) < 0.95]
        return max(bad, default=step_at) - step_at

    def counts(self) -> list[tuple[float, int]]:
        return [(t, w.replicas) for t, w in self.cluster.writes]


def stretched(profile: Profile, factors: Sequence[float], name: str = "stretched") -> Profile:
    """The profile with each term of its step law multiplied."""
    law = profile.law
    a, b, e, c, d = factors
    return replace(
        profile,
        name=name,
        law=replace(
            law,
            base_s=law.base_s * a,
            prefill_s_per_token=law.prefill_s_per_token * b,
            attention_s_per_token2=law.attention_s_per_token2 * e,
            batch_s_per_seq=law.batch_s_per_seq * c,
            kv_s_per_token=law.kv_s_per_token * d,
        ),
    )
