"""The loop: one look, one plan for each fleet, durable before anything is written, and nobody takes others down."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import pytest
import structlog
from structlog.testing import LogCapture

from controller.errors import PermanentError, TransientError, UsageError
from controller.loop import Adapters, Loop
from controller.model.decision import Outcome, OutcomeStatus, Reason, ScaleWrite
from controller.model.fleet import Fleet
from controller.model.memory import FleetMemory, VariantMemory
from controller.model.snapshot import ScaleTarget
from controller.ports import CycleRecord, FleetSignals, VariantKey
from controller.settings import Settings
from engine.profile import Profile
from tests.builders import T0, a_fleet, a_memory, a_snapshot, a_target, priors, signals


@dataclass
class World:
    """All ports in one: what is seen is set, what is done is kept. `trouble` names the calls that fail."""

    found: list[Fleet]
    ready: int = 2
    arrival_rps: float = 4.0
    trouble: set[str] = field(default_factory=set)
    memories: Mapping[str, FleetMemory] = field(default_factory=dict)
    journal: list[tuple[CycleRecord, Mapping[str, FleetMemory]]] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    writes: list[ScaleWrite] = field(default_factory=list)
    published: list[tuple[Sequence[CycleRecord], Sequence[Outcome]]] = field(default_factory=list)
    at: float = T0
    inflight: float = 10.0
    profiles: Callable[[Fleet], Mapping[str, Profile]] = priors
    refused: Mapping[str, str] = field(default_factory=dict)

    def _may(self, name: str) -> None:
        self.calls.append(name)
        if name in self.trouble:
            raise TransientError(f"{name} failed")

    def fleets(self) -> Sequence[Fleet]:
        return self.found

    def problems(self) -> Mapping[str, str]:
        return self.refused

    def read_replicas(self, fleets: Sequence[Fleet]) -> Mapping[VariantKey, ScaleTarget]:
        self._may("replicas")
        return {(f.key, "v1"): a_target(self.ready) for f in fleets}

    def read_signals(
        self, fleets: Sequence[Fleet], _targets: Mapping[VariantKey, ScaleTarget]
    ) -> Mapping[str, FleetSignals]:
        self._may("signals")
        seen = signals(self.ready, self.arrival_rps)
        whole = a_snapshot()
        return {
            f.key: FleetSignals(
                "prometheus", 10.0, {"v1": seen}, whole.inflight, whole.inflight_before, whole.refused_rps
            )
            for f in fleets
        }

    def pressure(self, fleets: Sequence[Fleet]) -> Mapping[str, float]:
        return {f.key: self.inflight for f in fleets}

    def scale(self, write: ScaleWrite) -> Outcome:
        self._may("scale")
        self.writes.append(write)
        return Outcome(write, OutcomeStatus.APPLIED)

    def load(self) -> Mapping[str, FleetMemory]:
        if "load" in self.trouble:
            raise PermanentError("memory.json: not readable as JSON")
        return self.memories

    def set_aside(self) -> str:
        return "memory.json.broken"

    def save(self, memories: Mapping[str, FleetMemory]) -> None:
        self._may("save")
        self.memories = dict(memories)

    def append(self, records: Sequence[CycleRecord], memories: Mapping[str, FleetMemory]) -> None:
        self._may("append")
        self.journal.extend((r, memories) for r in records)

    def outcomes(self, at: float, outcomes: Sequence[Outcome]) -> None:
        self._may("outcomes")

    def publish(self, records: Sequence[CycleRecord], outcomes: Sequence[Outcome], tick_s: float) -> None:
        self.published.append((records, outcomes))

    def now(self) -> float:
        return self.at

    def monotonic(self) -> float:
        return self.at - T0

    def loop(self) -> Loop:
        reader = type("Reader", (), {"read": lambda _s, fleets: self.read_replicas(fleets)})()
        source = type(
            "Source",
            (),
            {
                "read": lambda _s, fleets, targets: self.read_signals(fleets, targets),
                "pressure": lambda _s, fleets: self.pressure(fleets),
            },
        )()
        adapters = Adapters(
            fleets=self,
            signals=source,
            reader=reader,
            writer=self,
            store=self,
            journal=self,
            board=self,
            profiles=self.profiles,
            clock=self,
        )
        return Loop(adapters, Settings(scrape_interval_s=2.0))


def named(name: str) -> Fleet:
    fleet = a_fleet()
    return fleet.model_copy(update={"metadata": fleet.metadata.model_copy(update={"name": name})})


@pytest.fixture(autouse=True)
def log() -> Iterator[LogCapture]:
    capture, before = LogCapture(), structlog.get_config()
    structlog.configure(processors=[capture], wrapper_class=structlog.BoundLogger, cache_logger_on_first_use=False)
    yield capture
    structlog.configure(**before)


def shrinking(**more: object) -> World:
    """A world whose memory is old enough to shrink: five replicas for the demand of two."""
    fleet = a_fleet()
    memory = replace(a_memory(4.0), fleet=fleet.key)
    return World([fleet], ready=5, memories={fleet.key: memory}, **more)  # type: ignore[arg-type]


def test_memory_and_journal_are_durable_before_anything_is_written() -> None:
    world = World([a_fleet()], arrival_rps=14.0)
    world.loop().tick()
    assert world.calls == ["replicas", "signals", "save", "append", "scale", "outcomes"]
    assert world.memories[a_fleet().key].intent == tuple(world.writes)


def test_a_defect_in_one_fleet_does_not_stop_the_others(log: LogCapture) -> None:
    def profiles(fleet: Fleet) -> Mapping[str, Profile]:
        return {} if fleet.metadata.name == "broken" else priors(fleet)

    world = World([named("broken"), named("whole")], arrival_rps=14.0, profiles=profiles)
    world.loop().tick()
    assert [w.fleet for w in world.writes] == ["llm/whole"]
    assert any(e["event"] == "fleet skipped: defect" and e["fleet"] == "llm/broken" for e in log.entries)


def test_a_users_mistake_in_one_fleet_is_said_without_a_traceback(log: LogCapture) -> None:
    def profiles(fleet: Fleet) -> Mapping[str, Profile]:
        if fleet.metadata.name == "broken":
            raise UsageError("profile x is neither shipped nor a file; name one of l40s-8b")
        return priors(fleet)

    world = World([named("broken"), named("whole")], profiles=profiles)
    world.loop().tick()
    said = next(e for e in log.entries if e["event"] == "fleet skipped")
    assert "profile x" in said["error"]
    assert "exc_info" not in said
    assert [r.fleet.metadata.name for r in world.published[0][0]] == ["whole"]


def test_a_refused_version_of_a_fleet_is_a_condition_of_that_fleet_alone() -> None:
    world = World([named("kept"), named("whole")], refused={"llm/kept": "f.yaml:3: is no YAML", "g.yaml": "empty"})
    world.loop().tick()
    found = {
        r.fleet.metadata.name: [c.message for c in r.plan.decision.conditions if c.type == "FleetAccepted"]
        for r in world.published[0][0]
    }
    assert found == {"kept": ["the last good version stays in force: f.yaml:3: is no YAML"], "whole": []}


def test_decisions_wait_for_a_journal_that_refuses_and_are_written_later_in_order() -> None:
    world = World([a_fleet()], trouble={"append"})
    loop = world.loop()
    for _ in range(3):
        loop.tick()
        world.at += 5
    assert loop.unjournaled == 3
    assert world.journal == []
    world.trouble.clear()
    loop.tick()
    times = [record.plan.decision.at for record, _ in world.journal]
    assert times == [T0, T0 + 5, T0 + 10, T0 + 15]
    assert loop.unjournaled == 0
    assert {id(base) for _, base in world.journal} == {id(world.journal[0][1])}
    assert world.journal[0][1] == {}


def test_at_the_end_the_waiting_decisions_are_tried_once_more() -> None:
    world = World([a_fleet()], trouble={"append"})
    loop = world.loop()
    for _ in range(3):
        loop.tick()
        world.at += 5
    world.trouble.clear()
    loop.close()
    assert [record.plan.decision.at for record, _ in world.journal] == [T0, T0 + 5, T0 + 10]
    assert (loop.unjournaled, loop.lost_records) == (0, 0)


def test_decisions_that_are_lost_at_the_end_are_counted_and_said(log: LogCapture) -> None:
    world = World([a_fleet()], trouble={"append"})
    loop = world.loop()
    for _ in range(3):
        loop.tick()
    loop.close()
    assert (loop.unjournaled, loop.lost_records) == (0, 3)
    said = [e for e in log.entries if e["event"] == "decisions lost"]
    assert [(e["lost"], e["error"]) for e in said] == [(3, "append failed")]


def test_at_the_end_nothing_is_said_or_written_where_nothing_waits(log: LogCapture) -> None:
    world = World([a_fleet()])
    loop = world.loop()
    loop.tick()
    calls = list(world.calls)
    loop.close()
    assert world.calls == calls
    assert not [e for e in log.entries if e["event"] == "decisions lost"]


DAY_S = 86_400.0


def test_what_is_known_of_a_removed_fleet_is_kept_for_a_day_and_then_forgotten() -> None:
    world = World([named("stays"), named("removed")])
    loop = world.loop()
    loop.tick()
    world.found = [named("stays")]
    for waited_s, known in ((5.0, 2), (DAY_S - 1, 2), (DAY_S + 1, 1), (DAY_S + 6, 1)):
        world.at = T0 + waited_s
        loop.tick()
        loop.tick()
        assert len(world.memories) == known
    assert set(world.memories) == {"llm/stays"}


def test_a_fleet_that_comes_back_within_a_day_is_known_as_it_was() -> None:
    learned = replace(VariantMemory("v1"), cold_starts_s=(42.0,))
    memory = replace(a_memory(), fleet="llm/mistaken", variants=(learned,))
    world = World([named("mistaken")], memories={"llm/mistaken": memory})
    loop = world.loop()
    loop.tick()
    gone, world.found = world.found, []
    world.at += DAY_S - 10
    loop.tick()
    world.found = gone
    loop.tick()
    assert world.memories["llm/mistaken"].variants[0].cold_starts_s == (42.0,)


def test_a_woken_cycle_of_one_fleet_forgets_no_other() -> None:
    world = World([named("calm"), named("jumping")])
    loop, jumps = world.loop(), False
    world.pressure = lambda fleets: {f.key: 90.0 if jumps and "jumping" in f.key else 10.0 for f in fleets}  # type: ignore[method-assign]
    loop.tick()
    world.at += DAY_S * 2
    for _ in range(20):
        loop.watch()
        world.at += 1
    jumps = True
    assert loop.watch()
    assert set(world.memories) == {"llm/calm", "llm/jumping"}


@pytest.mark.parametrize("broken", ["save", "append"])
def test_reductions_wait_while_the_disk_refuses_and_are_said_to(broken: str) -> None:
    world = shrinking(trouble={broken})
    loop = world.loop()
    loop.tick()
    assert world.writes == []
    (outcome,) = world.published[0][1]
    assert outcome.status is OutcomeStatus.REFUSED
    assert "disk" in outcome.detail
    world.trouble.clear()
    loop.tick()
    assert [w.replicas < w.current for w in world.writes] == [True]


@pytest.mark.parametrize("broken", ["save", "append"])
def test_growth_goes_out_while_the_disk_refuses(broken: str) -> None:
    world = World([a_fleet()], arrival_rps=14.0, trouble={broken})
    world.loop().tick()
    assert [w.replicas > w.current for w in world.writes] == [True]


def test_an_unreadable_memory_is_begun_anew_and_said() -> None:
    world = shrinking(trouble={"load"})
    world.loop().tick()
    (record,) = world.published[0][0]
    lost = next(c for c in record.plan.decision.conditions if c.type == "MemoryLost")
    assert (lost.status, lost.reason) == ("True", "Unreadable")
    assert world.writes == []


def test_unreadable_replicas_are_held_and_said() -> None:
    world = World([a_fleet()], arrival_rps=14.0, trouble={"replicas"})
    world.loop().tick()
    (record,) = world.published[0][0]
    assert record.plan.decision.reason is Reason.UNREADABLE
    assert record.plan.decision.sentence == "hold: replicas of v1 could not be read: replicas failed"
    ready = next(c for c in record.plan.decision.conditions if c.type == "Ready")
    assert ready.message == "replicas of v1 could not be read: replicas failed"
    assert world.writes == []


def test_outcomes_that_cannot_be_journalled_are_said_and_stop_nothing(log: LogCapture) -> None:
    world = World([a_fleet()], arrival_rps=14.0, trouble={"outcomes"})
    world.loop().tick()
    assert len(world.writes) == 1
    assert any(e["event"] == "outcomes not journalled" for e in log.entries)
    assert world.published


def test_a_jump_of_load_wakes_the_cycle_of_that_fleet_alone() -> None:
    world = World([named("calm"), named("jumping")])
    world.pressure = lambda fleets: {f.key: 90.0 if f.key == jumping else 10.0 for f in fleets}  # type: ignore[method-assign]
    jumping, loop = "", world.loop()
    for _ in range(20):
        assert not loop.watch()
        world.at += 1
    jumping = "llm/jumping"
    assert loop.watch()
    assert [r.fleet.key for r in world.published[-1][0]] == ["llm/jumping"]
    assert world.published[-1][0][0].snapshot.pressure[-1] == (0.0, 90.0)
