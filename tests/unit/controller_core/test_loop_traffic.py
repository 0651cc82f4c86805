"""The loop moves traffic: growth first, then weights, then reductions; saved before and journalled after."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import structlog
from structlog.testing import LogCapture

from controller.errors import TransientError
from controller.loop import Adapters, Loop
from controller.model.decision import Outcome, OutcomeStatus, ScaleWrite, WeightWrite, Write
from controller.model.fleet import Fleet
from controller.model.memory import FleetMemory
from controller.model.snapshot import ScaleTarget
from controller.model.weights import WeightReading
from controller.plan import plan
from controller.ports import CycleRecord, FleetSignals, VariantKey, WeightWriter
from controller.record.explain import explanation
from controller.record.journal import JournalFolder
from controller.record.journal_reader import read
from controller.record.journal_search import find_decision
from controller.record.replaying import replay
from controller.settings import Settings
from tests.builders import T0, a_split_fleet, a_variant, priors
from tests.traffic_play import Play


@dataclass
class Mesh:
    """All ports in one, over a play: what is seen is the play's, what is done is kept and applied."""

    play: Play
    at: float = T0
    trouble: set[str] = field(default_factory=set)
    sent: list[Write] = field(default_factory=list)
    memories: Mapping[str, FleetMemory] = field(default_factory=dict)
    published: list[tuple[Sequence[CycleRecord], Sequence[Outcome]]] = field(default_factory=list)
    journal: JournalFolder | None = None
    weight_writer: WeightWriter | None = None

    def __post_init__(self) -> None:
        assert self.play.memory is not None
        self.memories = {self.play.fleet.key: self.play.memory}
        self.weight_writer = self

    def _may(self, name: str) -> None:
        if name in self.trouble:
            raise TransientError(f"{name} failed")

    def fleets(self) -> Sequence[Fleet]:
        return (self.play.fleet,)

    def problems(self) -> Mapping[str, str]:
        return {}

    def targets(self, fleets: Sequence[Fleet]) -> Mapping[VariantKey, ScaleTarget]:
        seen = self.play.snapshot().variants
        return {(f.key, v.name): v.target for f in fleets for v in seen if v.target is not None}

    def signals(
        self, fleets: Sequence[Fleet], _targets: Mapping[VariantKey, ScaleTarget]
    ) -> Mapping[str, FleetSignals]:
        seen = self.play.snapshot()
        found = {v.name: v.signals for v in seen.variants}
        whole = FleetSignals("prometheus", 10.0, found, seen.inflight, seen.inflight_before, seen.refused_rps)
        return {f.key: whole for f in fleets}

    def pressure(self, fleets: Sequence[Fleet]) -> Mapping[str, float]:
        return {}

    def weights(self, fleets: Sequence[Fleet]) -> Mapping[str, WeightReading]:
        self._may("weights")
        play = self.play
        return {f.key: WeightReading(dict(play.split or ()), str(play.version), play.foreign) for f in fleets}

    def scale(self, write: ScaleWrite) -> Outcome:
        self.sent.append(write)
        return Outcome(write, OutcomeStatus.APPLIED)

    def set_weights(self, write: WeightWrite) -> Outcome:
        self.sent.append(write)
        if write.resource_version != str(self.play.version):
            return Outcome(write, OutcomeStatus.CONFLICT, "it moved on")
        self.play.weights, self.play.version = [p for _, p in write.weights], self.play.version + 1
        return Outcome(write, OutcomeStatus.APPLIED)

    def load(self) -> Mapping[str, FleetMemory]:
        return self.memories

    def set_aside(self) -> str:
        return "nowhere"

    def save(self, memories: Mapping[str, FleetMemory]) -> None:
        self._may("save")
        self.memories = dict(memories)

    def append(self, records: Sequence[CycleRecord], memories: Mapping[str, FleetMemory]) -> None:
        if self.journal is not None:
            self.journal.append(records, memories)

    def outcomes(self, at: float, outcomes: Sequence[Outcome]) -> None:
        if self.journal is not None:
            self.journal.outcomes(at, outcomes)

    def publish(self, records: Sequence[CycleRecord], outcomes: Sequence[Outcome], tick_s: float) -> None:
        self.published.append((records, outcomes))

    def now(self) -> float:
        return self.at

    def monotonic(self) -> float:
        return self.at - T0

    def loop(self) -> Loop:
        reader = type("Reader", (), {"read": lambda _s, fleets: self.targets(fleets)})()
        parts = {
            "read": lambda _s, fleets, targets: self.signals(fleets, targets),
            "pressure": lambda _s, fleets: self.pressure(fleets),
        }
        adapters = Adapters(
            fleets=self,
            signals=type("Source", (), parts)(),
            reader=reader,
            writer=self,
            store=self,
            journal=self,
            board=self,
            profiles=priors,
            clock=self,
            weights=self,
            weight_writer=self.weight_writer,
        )
        return Loop(adapters, Settings(scrape_interval_s=2.0))


@pytest.fixture(autouse=True)
def log() -> Iterator[LogCapture]:
    capture, before = LogCapture(), structlog.get_config()
    structlog.configure(processors=[capture], wrapper_class=structlog.BoundLogger)
    yield capture
    structlog.configure(**before)


def a_mesh(*ready: int, weights: Sequence[int] = (100, 0), fleet: Fleet | None = None) -> Mesh:
    return Mesh(Play(fleet or a_split_fleet(weights={"v1": 70, "v2": 30}), list(ready), list(weights)))


def three() -> Mesh:
    """A fleet of which one version grows, one gets traffic, and one has none and shrinks."""
    variants = [a_variant("v1"), a_variant("v2", 0, subset="v2"), a_variant("v3", 0, subset="v3")]
    fleet = a_split_fleet(*variants, weights={"v1": 70, "v2": 30}, stabilization={"down": "0s"})
    return a_mesh(3, 2, 2, weights=(100, 0, 0), fleet=fleet)


def test_growth_goes_out_before_weights_and_weights_before_reductions() -> None:
    mesh = three()
    mesh.loop().tick()

    assert [getattr(w, "variant", "traffic") for w in mesh.sent] == ["v1", "traffic", "v3"]
    _, outcomes = mesh.published[0]
    assert [o.status for o in outcomes] == [OutcomeStatus.APPLIED] * 3


def test_the_order_to_move_traffic_is_saved_before_it_is_sent() -> None:
    mesh = a_mesh(4, 2)
    mesh.loop().tick()

    traffic = mesh.memories[mesh.play.fleet.key].traffic
    assert traffic is not None
    assert [traffic.intent] == mesh.sent


def test_while_the_disk_refuses_traffic_waits_but_leaves_a_version_that_nobody_answers_for() -> None:
    waiting, dead = a_mesh(4, 2), a_mesh(4, 0, weights=(70, 30))
    for mesh in (waiting, dead):
        mesh.trouble.add("save")
        mesh.loop().tick()

    assert [w for w in waiting.sent if isinstance(w, WeightWrite)] == []
    (outcome,) = waiting.published[0][1]
    assert outcome.status is OutcomeStatus.REFUSED
    assert dead.play.weights == [100, 0]


def test_traffic_taken_from_where_nobody_answers_is_told_aloud(log: LogCapture) -> None:
    a_mesh(4, 0, weights=(70, 30)).loop().tick()

    (said,) = [e for e in log.entries if e["event"] == "write" and e.get("weights")]
    assert (said["log_level"], said["weights"], said["urgent"]) == ("warning", "v1 100 %, v2 0 %", True)


def test_weights_that_cannot_be_read_are_said_and_nothing_moves() -> None:
    mesh = a_mesh(9, 2)
    mesh.trouble.add("weights")
    mesh.loop().tick()

    (record,) = mesh.published[0][0]
    said = next(c for c in record.plan.decision.conditions if c.type == "TrafficInSync")
    assert (said.reason, said.message) == ("Unreadable", "weights could not be read: weights failed")
    assert mesh.sent == []


def test_where_nobody_may_move_traffic_the_order_is_refused() -> None:
    mesh = a_mesh(4, 2)
    mesh.weight_writer = None
    mesh.loop().tick()

    (outcome,) = mesh.published[0][1]
    assert (outcome.status, outcome.detail) == (OutcomeStatus.REFUSED, "nobody may move traffic here")


def test_a_run_with_weights_conflicts_and_a_crash_replays_bit_for_bit_and_is_explained(tmp_path: Path) -> None:
    mesh = a_mesh(4, 1)
    mesh.journal = JournalFolder(tmp_path, "0.1.0")
    loop = mesh.loop()
    for cycle in range(8):
        if cycle == 2:
            mesh.play.ready = [4, 3]
        if cycle == 4:
            loop = mesh.loop()
        if cycle == 5:
            mesh.play.moved_by_another([90, 10])
        loop.tick()
        mesh.at += 5
        mesh.play.at += 5
    mesh.journal.close()

    found = replay(tmp_path, plan)
    assert (found.equal, found.different, found.first) == (8, 0, None)
    moves = [entry.weights for entry in read(tmp_path) if entry.kind == "cycle" and entry.weights is not None]
    assert [dict(move.weights) for move in moves] == [{"v1": 70, "v2": 30}] * 2
    kept = [entry.outcome.write for entry in read(tmp_path) if entry.kind == "outcome"]
    assert [write for write in kept if isinstance(write, WeightWrite)] == moves
    run = find_decision(tmp_path, mesh.play.fleet.key, T0 + 26)
    assert run is not None
    text = explanation(run)
    assert "moved: v1 90 → 70 %, v2 10 → 30 %" in text
    assert "v1 90 → 70 %, v2 10 → 30 %: Applied" in text
    assert "Drift: weights were changed by argocd-controller" in text


def test_a_planner_that_moves_traffic_otherwise_is_caught(tmp_path: Path) -> None:
    mesh = a_mesh(4, 3)
    mesh.journal = JournalFolder(tmp_path, "0.1.0")
    mesh.loop().tick()
    mesh.journal.close()

    found = replay(tmp_path, lambda *inputs: replace(plan(*inputs), weights=None))
    assert found.first is not None
    assert found.first.difference.path == "weights"
