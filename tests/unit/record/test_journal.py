"""The journal: all that a decision was made from, bounded, whole after every crash and on every full disk."""

from __future__ import annotations

import gzip
import json
import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from controller.errors import TransientError, UsageError
from controller.model.codec import to_json
from controller.model.memory import FleetMemory
from controller.record.encoded import digest_of
from controller.record.journal import JournalFolder
from controller.record.journal_reader import Entry, journal_files, read, read_file
from tests.unit.record.cycles import T0, a_cycle, a_fleet, a_memory, a_profile, a_run, an_outcome

KEY = "llm/llama-8b"


@contextmanager
def open_journal(folder: Path, **sizes: int) -> Iterator[JournalFolder]:
    journal = JournalFolder(folder, "0.1.0", **sizes)
    try:
        yield journal
    finally:
        journal.close()


def kinds(entries: Iterator[Entry]) -> list[str]:
    return [entry.kind for entry in entries]


def bytes_in(folder: Path) -> int:
    """All files together, while one may be compressed away between listing and looking."""
    total = 0
    for path in folder.iterdir():
        with suppress(FileNotFoundError):
            total += path.stat().st_size
    return total


def written(folder: Path, cycles: int = 3) -> Path:
    """A folder with one file of `cycles` cycles."""
    memories: dict[str, FleetMemory] = {}
    with open_journal(folder) as journal:
        for record in a_run(a_fleet(), cycles):
            journal.append([record], memories)
            memories = {KEY: record.plan.memory}
    return journal_files(folder)[0]


def test_a_file_begins_with_a_checkpoint_of_versions_fleets_and_memories_before_the_first_cycle(tmp_path: Path) -> None:
    record, before = a_cycle(at=T0), a_memory(a_fleet(), T0 - 5)
    with open_journal(tmp_path) as journal:
        journal.append([record], {KEY: before})
    checkpoint = next(read(tmp_path))
    assert (checkpoint.plain["schema"], checkpoint.plain["program"]) == (1, "0.1.0")
    fleet, memory = checkpoint.parts()
    assert fleet.fleet == record.fleet
    assert fleet.profiles == {"v1": a_profile()}
    assert memory.memory == before


def test_a_cycle_line_carries_what_was_seen_decided_and_ordered_and_only_the_digest_of_the_memory(
    tmp_path: Path,
) -> None:
    record = a_cycle(before=3, after=5)
    with open_journal(tmp_path) as journal:
        journal.append([record], {})
    cycle = list(read(tmp_path))[1]
    assert (cycle.snapshot, cycle.decision, cycle.writes) == (
        record.snapshot,
        record.plan.decision,
        record.plan.writes,
    )
    assert cycle.plain["memory_digest"] == digest_of(to_json(record.plan.memory))
    assert "memory" not in cycle.plain


def test_what_became_of_a_write_is_a_line_of_its_own(tmp_path: Path) -> None:
    record = a_cycle(before=3, after=5)
    with open_journal(tmp_path) as journal:
        journal.append([record], {})
        journal.outcomes(T0 + 1, [an_outcome(record)])
    outcome = list(read(tmp_path))[-1]
    assert outcome.outcome == an_outcome(record)
    assert outcome.at == T0 + 1


def test_a_fleet_that_did_not_change_is_said_once_a_file(tmp_path: Path) -> None:
    assert kinds(read(written(tmp_path))) == ["checkpoint", "cycle", "cycle", "cycle"]


def test_a_changed_fleet_and_changed_profiles_are_said_before_the_cycle_decided_under_them(tmp_path: Path) -> None:
    first = a_cycle(at=T0)
    changed = a_cycle(a_fleet(generation=2), T0 + 5)
    reprofiled = replace(changed, profiles={"v1": replace(a_profile(), api_overhead_s=0.009)})
    after = {KEY: first.plan.memory}
    with open_journal(tmp_path) as journal:
        journal.append([first], {})
        journal.append([changed], after)
        journal.append([reprofiled], {KEY: changed.plan.memory})
    entries = list(read(tmp_path))
    assert kinds(iter(entries)) == ["checkpoint", "cycle", "fleet", "cycle", "fleet", "cycle"]
    assert entries[2].fleet.metadata.generation == 2
    assert entries[4].profiles["v1"].api_overhead_s == 0.009
    assert entries[5].hash == entries[4].hash != entries[3].hash


def test_a_memory_that_changed_between_two_cycles_is_said_so_that_replay_starts_from_it(tmp_path: Path) -> None:
    first, second = a_run(a_fleet(), 2)
    lost = FleetMemory.empty(KEY)
    with open_journal(tmp_path) as journal:
        journal.append([first], {})
        journal.append([second], {KEY: lost})
    entries = list(read(tmp_path))
    assert kinds(iter(entries)) == ["checkpoint", "cycle", "memory", "cycle"]
    assert entries[2].memory == lost


def test_a_fleet_that_appears_later_comes_with_its_configuration_and_memory(tmp_path: Path) -> None:
    one, other = a_fleet("one"), a_fleet("other")
    with open_journal(tmp_path) as journal:
        first = a_cycle(one)
        journal.append([first], {})
        journal.append([a_cycle(one, T0 + 5), a_cycle(other, T0 + 5)], {"llm/one": first.plan.memory})
    assert kinds(read(tmp_path)) == ["checkpoint", "cycle", "cycle", "memory", "fleet", "cycle"]


def test_cycles_that_waited_for_the_disk_follow_each_other_within_one_batch(tmp_path: Path) -> None:
    first, second, third = a_run(a_fleet(), 3)
    with open_journal(tmp_path) as journal:
        journal.append([first], {})
        journal.append([second, third], {KEY: first.plan.memory})
    assert kinds(read(tmp_path)) == ["checkpoint", "cycle", "cycle", "cycle"]


def test_a_file_begun_by_a_cycle_of_few_fleets_tells_the_others_too(tmp_path: Path) -> None:
    one, other = a_cycle(a_fleet("one")), a_cycle(a_fleet("other"))
    memories = {"llm/one": one.plan.memory, "llm/other": other.plan.memory}
    with open_journal(tmp_path, segment_bytes=10, total_bytes=2**30) as journal:
        journal.append([one, other], {})
        journal.append([a_cycle(a_fleet("one"), T0 + 5)], memories)
    checkpoint = next(read_file(journal_files(tmp_path)[1]))
    assert {part.memory.fleet: part.memory for part in checkpoint.parts() if part.kind == "memory"} == memories


def test_a_new_process_begins_a_new_file_and_leaves_the_torn_one_as_it_is(tmp_path: Path) -> None:
    first = written(tmp_path)
    torn = first.read_bytes()[:-100]
    first.write_bytes(torn)
    written(tmp_path, 1)
    assert first.read_bytes() == torn
    assert [path.name for path in journal_files(tmp_path)] == [
        "journal-20260101T000000Z-000001.jsonl",
        "journal-20260101T000000Z-000002.jsonl",
    ]
    assert kinds(read(tmp_path)) == ["checkpoint", "cycle", "cycle", "checkpoint", "cycle"]


def test_full_files_are_compressed_and_the_whole_stays_inside_its_bound(tmp_path: Path) -> None:
    bound, memories = 160_000, {}
    with open_journal(tmp_path, segment_bytes=24_000, total_bytes=bound) as journal:
        for record in a_run(a_fleet(), 400):
            journal.append([record], memories)
            memories = {KEY: record.plan.memory}
            assert bytes_in(tmp_path) <= bound
    names = [path.name for path in journal_files(tmp_path)]
    assert len(names) > 4
    assert all(name.endswith(".jsonl.gz") for name in names[:-1])
    assert "-000001." not in names[0]
    assert all(kinds(read_file(path))[0] == "checkpoint" for path in journal_files(tmp_path))


def test_every_file_of_a_rotated_journal_tells_the_memories_before_its_own_first_cycle(tmp_path: Path) -> None:
    memories: dict[str, FleetMemory] = {}
    befores = []
    with open_journal(tmp_path, segment_bytes=20_000, total_bytes=2**30) as journal:
        for record in a_run(a_fleet(), 40):
            befores.append(memories.get(KEY, FleetMemory.empty(KEY)))
            journal.append([record], memories)
            memories = {KEY: record.plan.memory}
    cycles = 0
    for entry in read(tmp_path):
        if entry.kind == "checkpoint":
            assert next(p for p in entry.parts() if p.kind == "memory").memory == befores[cycles]
        cycles += entry.kind == "cycle"
    assert cycles == 40


def test_files_are_in_order_even_when_the_clock_was_set_back(tmp_path: Path) -> None:
    for at in (T0 + 7200, T0, T0 + 3600):
        with open_journal(tmp_path) as journal:
            journal.append([a_cycle(at=at)], {})
    assert [entry.at for entry in read(tmp_path) if entry.kind == "checkpoint"] == [T0 + 7200, T0, T0 + 3600]


def test_two_processes_never_write_to_one_folder(tmp_path: Path) -> None:
    with open_journal(tmp_path), pytest.raises(UsageError, match="another governor writes its journal to"):
        JournalFolder(tmp_path, "0.1.0")


def test_sizes_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="allow room for four files"):
        JournalFolder(tmp_path, "0.1.0", segment_bytes=100, total_bytes=200)


def test_a_file_in_the_place_of_the_folder_is_refused_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "journal").write_text("")
    with pytest.raises(TransientError, match="cannot write the journal"):
        JournalFolder(tmp_path / "journal", "0.1.0")


@contextmanager
def disk_that_ends_at(size: int) -> Iterator[None]:
    """The kernel refuses to let any file grow beyond `size`, in the middle of a write."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)


def test_a_disk_full_in_the_middle_of_a_batch_leaves_only_whole_lines_and_loses_nothing_before(tmp_path: Path) -> None:
    first, second, third = a_run(a_fleet(), 3)
    with open_journal(tmp_path) as journal:
        journal.append([first], {})
        size = journal_files(tmp_path)[0].stat().st_size
        with disk_that_ends_at(size + 200), pytest.raises(TransientError, match="it is tried again at the next cycle"):
            journal.append([second], {KEY: first.plan.memory})
        assert "cannot write the journal" in journal.error
        assert journal_files(tmp_path)[0].stat().st_size == size
        journal.append([third], {KEY: first.plan.memory})
        assert not journal.error
    assert kinds(read(tmp_path)) == ["checkpoint", "cycle", "checkpoint", "cycle"]


def test_a_disk_full_from_the_start_leaves_no_file_behind(tmp_path: Path) -> None:
    with open_journal(tmp_path) as journal:
        with disk_that_ends_at(100), pytest.raises(TransientError):
            journal.append([a_cycle()], {})
        with pytest.raises(UsageError, match="no journal in"):
            journal_files(tmp_path)
        journal.append([a_cycle()], {})
    assert kinds(read(tmp_path)) == ["checkpoint", "cycle"]


APPEND_FOREVER = """
import sys
from pathlib import Path
from controller.record.journal import JournalFolder
from tests.unit.record.cycles import T0, a_cycle, a_fleet, a_memory
journal = JournalFolder(Path(sys.argv[1]), "0.1.0", segment_bytes=40_000, total_bytes=2**30)
fleets, memories, n = [a_fleet(f"f{i}") for i in range(4)], {}, 0
while True:
    n += 1
    records = [a_cycle(fleet, T0 + n, memory=a_memory(fleet, T0 + n)) for fleet in fleets]
    journal.append(records, memories)
    memories = {record.fleet.key: record.plan.memory for record in records}
    if n == 1: print("writing", flush=True)
"""


def test_a_process_killed_at_any_instant_leaves_a_journal_that_reads_on_from_file_to_file(tmp_path: Path) -> None:
    dice, root = random.Random(11), Path(__file__).parents[3]
    for _ in range(10):
        with subprocess.Popen(
            [sys.executable, "-c", APPEND_FOREVER, str(tmp_path)],
            stdout=subprocess.PIPE,
            cwd=root,
            env=os.environ | {"PYTHONPATH": str(root)},
        ) as child:
            assert child.stdout is not None
            assert child.stdout.readline() == b"writing\n"
            time.sleep(dice.uniform(0.0, 0.1))
            child.send_signal(signal.SIGKILL)
        left: dict[str, str] = {}
        for entry in read(tmp_path):
            if entry.kind == "checkpoint":
                left = {p.fleet_key: digest_of(to_json(p.memory)) for p in entry.parts() if p.kind == "memory"}
            elif entry.kind == "cycle":
                left[entry.fleet_key] = entry.plain["memory_digest"]
        assert len(left) == 4
    with open_journal(tmp_path):
        pass
    assert not list(tmp_path.glob(".journal-*.new"))


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        pytest.param(b"hello\n", r"j\.jsonl:1 is not a journal line", id="a text"),
        pytest.param(b"\x7fELF\x00\x00", r"j\.jsonl:1 is not a journal line", id="a program without line ends"),
        pytest.param(b'{"a": 1}\n', r"j\.jsonl:1 is not a journal line: expected an object of kind", id="other JSON"),
        pytest.param(b'{"kind":"cycle","at":1}\n', "begins with its one checkpoint", id="no checkpoint"),
        pytest.param(b'{"kind":"checkpoint","at":1,"schema":9,"program":"9.1"}\n', "version 9.1", id="newer schema"),
    ],
)
def test_a_wrong_file_is_refused_with_file_line_and_reason(tmp_path: Path, content: bytes, complaint: str) -> None:
    path = tmp_path / "j.jsonl"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=complaint):
        list(read(path))


def test_a_damaged_line_in_the_middle_is_named(tmp_path: Path) -> None:
    path = written(tmp_path)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:2], b"\xff\n", *lines[3:]]))
    with pytest.raises(UsageError, match=r"jsonl:3 is not a journal line"):
        list(read(path))


def test_a_value_that_does_not_fit_is_named_by_its_path(tmp_path: Path) -> None:
    path = written(tmp_path)
    path.write_bytes(path.read_bytes().replace(b'"window_s":30.0', b'"window_s":"long"'))
    with pytest.raises(UsageError, match=r"jsonl:2: Snapshot\.window_s does not fit"):
        _ = list(read(path))[1].snapshot


def test_a_damaged_compressed_file_is_refused_in_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "journal-20260101T000000Z-000001.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"kind":"checkpoint"')[:-9])
    with pytest.raises(UsageError, match="cannot read the journal"):
        list(read(tmp_path))


@pytest.mark.parametrize("name", ["", "nowhere"], ids=["an empty folder", "no such path"])
def test_no_journal_is_said_with_what_is_expected(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="no journal"):
        journal_files(tmp_path / name)


def test_every_line_is_one_json_object(tmp_path: Path) -> None:
    lines = written(tmp_path).read_bytes().splitlines()
    assert all(isinstance(json.loads(line), dict) for line in lines)
