"""The control loop in virtual time on a fleet of several versions: requests are shared out by the weights as they are.

Each version has replicas and a metric source of its own, as in `virtual.py`; the loop sees them as one fleet.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from random import Random

from controller.loop import Adapters, Loop
from controller.model.decision import Outcome, OutcomeStatus, ScaleWrite, WeightWrite
from controller.model.fleet import Fleet
from controller.model.snapshot import ABSENT, Freshness, Reading, ScaleTarget, VariantSignals
from controller.model.weights import WeightReading
from controller.ports import FleetSignals, VariantKey
from controller.settings import Settings
from engine.load.arrivals import Arrival
from engine.profile import Profile
from engine.sim.card import Card
from engine.sim.fleet import Phase, Result, SimFleet
from engine.sim.interface import Request
from tests.scenario.controller.virtual import Remembered, SimCluster, SimSignals, VirtualClock

TICK_S = 0.5


@dataclass
class SplitCluster:
    """Replicas of every version, and the weights between them. `meddle(…)` is somebody else's hand."""

    parts: Mapping[str, SimCluster]
    fleet: Fleet
    clock: VirtualClock
    split: dict[str, int]
    version: int = 1
    foreign: str = ""
    moves: list[tuple[float, WeightWrite]] = field(default_factory=list)
    conflicts: int = 0

    def read(self, fleets: Sequence[Fleet]) -> Mapping[VariantKey, ScaleTarget]:
        return {
            (self.fleet.key, name): target for name, part in self.parts.items() for target in part.read(fleets).values()
        }

    def scale(self, write: ScaleWrite) -> Outcome:
        return self.parts[write.variant].scale(write)

    def weights(self, fleets: Sequence[Fleet]) -> Mapping[str, WeightReading]:
        return {self.fleet.key: WeightReading(dict(self.split), str(self.version), self.foreign)}

    def set_weights(self, write: WeightWrite) -> Outcome:
        if self.conflicts or write.resource_version != str(self.version):
            self.conflicts = max(0, self.conflicts - 1)
            return Outcome(write, OutcomeStatus.CONFLICT, "it moved on")
        self.split, self.version = dict(write.weights), self.version + 1
        self.moves.append((self.clock.t, write))
        return Outcome(write, OutcomeStatus.APPLIED)

    def meddle(self, who: str, **weights: int) -> None:
        self.split, self.version, self.foreign = dict(weights), self.version + 1, who

    def ready(self, name: str) -> int:
        return sum(r.phase is Phase.READY for r in self.parts[name].sim.replicas())


@dataclass
class SplitSignals:
    """One fleet's signals, joined of those of its versions."""

    parts: Mapping[str, SimSignals]
    fleet: Fleet
    silent: bool = False

    def pressure(self, fleets: Sequence[Fleet]) -> Mapping[str, float]:
        found = [v for part in self.parts.values() for v in part.pressure(fleets).values()]
        return {self.fleet.key: math.fsum(found)} if found else {}

    def read(self, fleets: Sequence[Fleet], targets: Mapping[VariantKey, ScaleTarget]) -> Mapping[str, FleetSignals]:
        seen = {name: part.read(fleets, targets)[self.fleet.key] for name, part in self.parts.items()}
        first = next(iter(seen.values()))
        if self.silent:
            silence = FleetSignals(first.source, first.window_s, {}, ABSENT, ABSENT, ABSENT, first.source_skew_s)
            return {self.fleet.key: silence}
        joined = replace(
            first,
            variants={name: part.variants.get("v1", VariantSignals()) for name, part in seen.items()},
            inflight=_sum([part.inflight for part in seen.values()]),
            inflight_before=_sum([part.inflight_before for part in seen.values()]),
            refused_rps=_sum([part.refused_rps for part in seen.values()]),
        )
        return {self.fleet.key: joined}


def _sum(readings: Sequence[Reading]) -> Reading:
    """As trustworthy as the worst of them."""
    worst = max(readings, key=lambda r: list(Freshness).index(r.freshness))
    known = [r.value for r in readings if r.value is not None]
    return replace(worst, value=math.fsum(known) if worst.value is not None else None)


class SplitStack:
    """`run(seconds)` advances everything; the Fleet's wish, deaths and faults are set on the parts in between."""

    def __init__(
        self,
        fleet: Fleet,
        card: Card,
        prior: Profile,
        arrivals: Sequence[Arrival],
        start: Mapping[str, int],
        split: Mapping[str, int],
        cold_start_s: float = 15.0,
    ) -> None:
        self.fleet, self.prior = fleet, prior
        self.clock, self.settings = VirtualClock(), Settings(scrape_interval_s=2.0)
        self.sims = {name: SimFleet(card, seed=name) for name in start}
        for name, count in start.items():
            for _ in range(count):
                self.sims[name].add_replica(0.0)
        parts = {n: SimCluster(sim, fleet, self.clock, cold_start_s, start[n]) for n, sim in self.sims.items()}
        self.cluster = SplitCluster(parts, fleet, self.clock, dict(split))
        window_s = self.settings.rate_window_s
        sources = {n: SimSignals(sim, fleet, self.clock, 2.0, window_s) for n, sim in self.sims.items()}
        self.signals = SplitSignals(sources, fleet)
        self.remembered = Remembered(fleet)
        self.seen: list[tuple[float, dict[str, int], dict[str, int]]] = []
        """At every half second: the weights, and the ready replicas of each version."""
        self._waiting = deque(arrivals)
        self._dice, self._sent = Random(7), 0
        self.loop = self._new_loop()

    def _new_loop(self) -> Loop:
        r = self.remembered
        adapters = Adapters(
            fleets=r,
            signals=self.signals,
            reader=self.cluster,
            writer=self.cluster,
            store=r,
            journal=r,
            board=r,
            profiles=lambda _fleet: dict.fromkeys(self.sims, self.prior),
            clock=self.clock,
            weights=self.cluster,
            weight_writer=self.cluster,
        )
        return Loop(adapters, self.settings)

    def restart_daemon(self) -> None:
        self.loop = self._new_loop()

    def wish(self, **weights: int) -> None:
        """The operator writes other weights into the Fleet."""
        spec = self.fleet.spec
        assert spec.traffic is not None
        traffic = spec.traffic.model_copy(update={"weights": weights})
        self.fleet = self.fleet.model_copy(update={"spec": spec.model_copy(update={"traffic": traffic})})
        self.remembered.fleet = self.fleet

    def run(self, seconds: float) -> None:
        end = self.clock.t + seconds
        while self.clock.t < end - 1e-9:
            until = round(self.clock.t + TICK_S, 3)
            self._share_out(until)
            self.clock.t = until
            for name, sim in self.sims.items():
                sim.advance_to(until)
                self.signals.parts[name].scrape()
            if until % self.settings.wake_interval_s == 0:
                self.loop.watch()
            if until % self.settings.tick_interval_s == 0:
                self.loop.tick()
            self.seen.append((until, dict(self.cluster.split), {n: self.cluster.ready(n) for n in self.sims}))

    def _share_out(self, until: float) -> None:
        """Every request picks its version by the weights of now, as Envoy does."""
        names, weights = list(self.cluster.split), list(self.cluster.split.values())
        while self._waiting and self._waiting[0].at_s <= until:
            arrival = self._waiting.popleft()
            (name,) = self._dice.choices(names, weights)
            request = Request(f"r{self._sent}", arrival.prompt_tokens, arrival.output_tokens)
            self.sims[name].offer(request, max(arrival.at_s, self.sims[name].now))
            self._sent += 1

    def results(self, start_s: float, end_s: float) -> list[Result]:
        return [r for sim in self.sims.values() for r in sim.results() if start_s <= r.arrived_at < end_s]

    def errors(self) -> list[Result]:
        return [r for r in self.results(0, math.inf) if r.error]

    def attainment(self, start_s: float, end_s: float) -> float:
        o = self.fleet.spec.objectives
        found = self.results(start_s, end_s)
        good = sum(r.within(o.ttft.threshold, o.tpot.threshold) for r in found)
        return good / len(found) if found else math.nan

    def moved(self) -> list[tuple[float, dict[str, int]]]:
        """When weights were written, and which."""
        return [(at, dict(write.weights)) for at, write in self.cluster.moves]

    def reasons(self, since: float = 0.0) -> set[str]:
        """What was said of traffic."""
        made = [r for r in self.remembered.records if r.snapshot.at - 1_800_000_000.0 >= since]
        return {r.plan.decision.traffic.reason.value for r in made if r.plan.decision.traffic is not None}
