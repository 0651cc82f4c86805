"""Replay: the same comes out bit for bit, and a difference is named by its field."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from controller.errors import UsageError
from controller.model.decision import Counts
from controller.model.fleet import Fleet
from controller.model.memory import FleetMemory, Recommendation
from controller.model.plan import Plan
from controller.model.snapshot import Snapshot
from controller.plan import plan
from controller.ports import CycleRecord
from controller.record.difference import first_difference
from controller.record.journal import JournalFolder
from controller.record.replaying import Planner, replay
from engine.profile import Profile
from tests.unit.record.cycles import T0, a_decision, a_fleet, a_profile
from tests.unit.record.story import told

KEY = "llm/llama-8b"


def tiny(
    snapshot: Snapshot, memory: FleetMemory, fleet: Fleet, now: float, priors: Mapping[str, Profile], bias: int = 0
) -> Plan:
    """A planner small enough to see through: it adds up what it remembers, the fleet and the profile included."""
    after = 1 + (len(memory.recommendations) + fleet.metadata.generation + bias) % 5
    counts: Counts = (("v1", after),)
    decision = a_decision(fleet, now, 3, after, estimates={"base_s": priors["v1"].law.base_s})
    return Plan(decision, (), replace(memory, recommendations=(*memory.recommendations, Recommendation(now, counts))))


def recorded(folder: Path, planner: Planner, cycles: int = 40, segment_bytes: int = 50_000) -> None:
    """A journal of two fleets over several files, one of which changes on the way, with a restart in the middle."""
    memories: dict[str, FleetMemory] = {}
    fleets = [a_fleet("one"), a_fleet("two")]
    stories = [list(told(fleet, cycles)) for fleet in fleets]
    for half in (range(cycles // 2), range(cycles // 2, cycles)):
        journal = JournalFolder(folder, "0.1.0", segment_bytes=segment_bytes)
        for n in half:
            records = []
            for story in stories:
                snapshot = story[n][0].snapshot
                generation = 1 if n < cycles // 3 else 2
                fleet = a_fleet(snapshot.fleet.partition("/")[2], generation=generation)
                profiles = {"v1": a_profile()}
                memory = memories.get(fleet.key, FleetMemory.empty(fleet.key))
                made = planner(snapshot, memory, fleet, snapshot.at, profiles)
                records.append(CycleRecord(fleet, snapshot, made, profiles))
            journal.append(records, memories)
            memories = {record.fleet.key: record.plan.memory for record in records}
        journal.close()


@pytest.mark.parametrize("planner", [tiny, plan], ids=["a tiny planner", "the real one"])
def test_every_decision_over_files_fleets_changes_and_restarts_comes_out_bit_for_bit(
    tmp_path: Path, planner: Planner
) -> None:
    recorded(tmp_path, planner)
    found = replay(tmp_path, planner)
    assert (found.equal, found.different, found.first) == (80, 0, None)
    assert found.files > 4


def test_a_journal_from_before_refused_versions_were_recorded_replays(tmp_path: Path) -> None:
    recorded(tmp_path, plan, 20, segment_bytes=10_000_000)
    for file in tmp_path.glob("journal-*.jsonl"):
        assert '"problem":"",' in file.read_text()
        file.write_text(file.read_text().replace('"problem":"",', ""))
    found = replay(tmp_path, plan)
    assert (found.equal, found.different) == (40, 0)


def test_one_file_of_a_rotated_journal_replays_by_itself(tmp_path: Path) -> None:
    recorded(tmp_path, tiny)
    for file in sorted(tmp_path.glob("journal-*")):
        found = replay(file, tiny)
        assert found.equal
        assert not found.different


def test_a_changed_planner_is_caught_at_its_first_decision_with_the_field(tmp_path: Path) -> None:
    recorded(tmp_path, tiny)
    found = replay(tmp_path, lambda *inputs: tiny(*inputs, bias=1))
    assert found.first is not None
    assert (found.equal, found.different) == (0, 80)
    assert (found.first.at, found.first.fleet) == (T0, "llm/one")
    assert found.first.where.endswith("jsonl:2") or found.first.where.endswith("jsonl.gz:2")
    assert found.first.difference == ("decision.action", '"Down"', '"Hold"')


def test_a_planner_that_only_remembers_differently_is_caught(tmp_path: Path) -> None:
    recorded(tmp_path, tiny, 4)

    def forgetful(*inputs: object) -> Plan:
        made = tiny(*inputs)
        return replace(made, memory=replace(made.memory, last_up_at=1.0))

    found = replay(tmp_path, forgetful)
    assert found.first is not None
    assert found.first.difference.path == "memory_digest"


def test_a_planner_that_fails_is_a_difference_not_a_crash(tmp_path: Path) -> None:
    recorded(tmp_path, tiny, 4)

    def failing(*inputs: object) -> Plan:
        raise KeyError("v9")

    found = replay(tmp_path, failing)
    assert found.first is not None
    assert found.first.difference == ("plan", "a decision", "KeyError: 'v9'")


def test_fleet_and_time_bound_what_is_compared(tmp_path: Path) -> None:
    recorded(tmp_path, tiny)
    assert replay(tmp_path, tiny, fleet="llm/two").equal == 40
    assert replay(tmp_path, tiny, begin=T0 + 5 * 10, end=T0 + 5 * 19).equal == 20
    assert replay(tmp_path, tiny, fleet="llm/one", begin=T0 + 5 * 39).equal == 1


def test_a_cycle_whose_fleet_was_cut_away_is_refused_with_its_line(tmp_path: Path) -> None:
    recorded(tmp_path, tiny, 2)
    path = min(tmp_path.glob("journal-*"))
    path.write_bytes(path.read_bytes().replace(b'"fleets":[{"hash":"', b'"fleets":[{"hash":"0'))
    with pytest.raises(UsageError, match=r"jsonl:[23]: the fleet it was decided under is not told before"):
        replay(path, tiny)


@pytest.mark.parametrize(
    ("recorded_value", "replayed_value", "path", "one", "other"),
    [
        pytest.param({"a": 1}, {"a": 2}, "d.a", "1", "2", id="a number"),
        pytest.param({"a": 5}, {"a": 5.0}, "d.a", "5", "5.0", id="an integer that became a float"),
        pytest.param({"a": 0.1}, {"a": 0.10000000000000002}, "d.a", "0.1", "0.10000000000000002", id="one bit"),
        pytest.param({"s": [{"x": 1}, {"x": 2}]}, {"s": [{"x": 1}, {"x": 3}]}, "d.s[1].x", "2", "3", id="in a list"),
        pytest.param(
            {"after": [["v1", 5], ["v2", 0]]}, {"after": [["v1", 6], ["v2", 0]]}, "d.after.v1", "5", "6", id="replicas"
        ),
        pytest.param({"s": [1]}, {"s": [1, 2]}, "d.s[1]", "nothing", "2", id="one more"),
        pytest.param({"a": 1, "b": 2}, {"a": 1}, "d.b", "2", "nothing", id="one less"),
        pytest.param({"a": None}, {"a": 0}, "d.a", "null", "0", id="unknown is not zero"),
        pytest.param(
            [["a", 1], ["b", 2]], [["b", 2], ["a", 1]], "d", 'order ["a", "b"]', 'order ["b", "a"]', id="the order"
        ),
    ],
)
def test_the_first_difference_is_named_by_its_path(
    recorded_value: object, replayed_value: object, path: str, one: str, other: str
) -> None:
    assert first_difference("d", recorded_value, replayed_value) == (path, one, other)
    assert first_difference("d", recorded_value, recorded_value) is None
