"""The memory file: whole at every instant, refused when it may not be trusted, said when it was lost."""

from __future__ import annotations

import json
import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from controller.errors import PermanentError, TransientError
from controller.record.memory import MemoryFile
from tests.unit.record.cycles import T0, a_fleet, a_memory

KEY = "llm/llama-8b"


def a_saved_file(folder: Path) -> MemoryFile:
    store = MemoryFile(folder / "memory.json")
    store.save({KEY: a_memory(a_fleet(), T0)})
    store.save({KEY: a_memory(a_fleet(), T0 + 5)})
    return store


def test_without_a_file_there_are_no_memories(tmp_path: Path) -> None:
    assert MemoryFile(tmp_path / "memory.json").load() == {}


def test_what_was_saved_is_loaded_bit_for_bit(tmp_path: Path) -> None:
    saved = {f"llm/f{n}": a_memory(a_fleet(f"f{n}"), T0 + n / 7) for n in range(5)}
    MemoryFile(tmp_path / "new" / "memory.json").save(saved)
    assert MemoryFile(tmp_path / "new" / "memory.json").load() == saved


def test_the_file_is_json_that_names_its_version(tmp_path: Path) -> None:
    store = a_saved_file(tmp_path)
    plain = json.loads(store.path.read_text())
    assert plain["version"] == 1
    assert plain["fleets"][KEY]["fleet"] == KEY


def test_a_fleet_that_is_gone_is_not_saved_again(tmp_path: Path) -> None:
    store = a_saved_file(tmp_path)
    store.save({})
    assert MemoryFile(store.path).load() == {}


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda text: text[: len(text) // 2], id="cut in the middle"),
        pytest.param(lambda _: b"", id="empty"),
        pytest.param(lambda text: text.replace(b"197.3", b"197.4"), id="one digit flipped"),
        pytest.param(lambda _: b"\0" * 512, id="zeros after a power loss"),
        pytest.param(lambda _: b"[1, 2]", id="another JSON file"),
    ],
)
def test_a_damaged_file_is_replaced_by_the_copy_of_the_save_before_and_says_so(
    tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    store = a_saved_file(tmp_path)
    store.path.write_bytes(damage(store.path.read_bytes()))
    assert store.load() == {KEY: a_memory(a_fleet(), T0)}
    assert "the copy from the save before it" in store.note
    assert str(store.path) in store.note


def test_two_damaged_files_are_refused_with_the_remedy_and_can_be_set_aside(tmp_path: Path) -> None:
    store = a_saved_file(tmp_path)
    store.path.write_text("{")
    store.previous.write_text("{")
    with pytest.raises(PermanentError, match="restore it from a backup, or move it away to start with empty memory"):
        store.load()
    aside = store.set_aside()
    assert Path(aside).read_text() == "{"
    assert store.load() == {}


def test_a_file_of_a_newer_version_is_refused_even_though_an_older_copy_exists(tmp_path: Path) -> None:
    store = a_saved_file(tmp_path)
    store.path.write_bytes(store.path.read_bytes().replace(b'"version":1', b'"version":2', 1))
    with pytest.raises(PermanentError, match="version 2, this program knows up to 1: run the newer program again"):
        store.load()


def test_a_folder_in_the_place_of_the_file_is_refused_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "memory.json").mkdir()
    with pytest.raises(PermanentError, match="cannot read the memory file"):
        MemoryFile(tmp_path / "memory.json").load()


def test_a_file_in_the_place_of_the_folder_is_a_transient_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("")
    with pytest.raises(TransientError, match=r"state/memory\.json"):
        MemoryFile(tmp_path / "state" / "memory.json").save({})


def test_a_disk_that_takes_no_more_leaves_the_last_save_standing_and_mends_itself(tmp_path: Path) -> None:
    store = a_saved_file(tmp_path)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before, handler = store.path.read_bytes(), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (256, hard))
        with pytest.raises(TransientError, match=r"cannot write the memory .*memory\.json: "):
            store.save({KEY: a_memory(a_fleet(), T0 + 10)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    assert store.error
    assert store.path.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["memory.json", "memory.json.1"]
    store.save({KEY: a_memory(a_fleet(), T0 + 10)})
    assert not store.error


SAVE_FOREVER = """
import sys
from pathlib import Path
from controller.record.memory import MemoryFile
from tests.unit.record.cycles import T0, a_fleet, a_memory
store, fleets, n = MemoryFile(Path(sys.argv[1])), [a_fleet(f"f{i}") for i in range(20)], 0
while True:
    n += 1
    store.save({fleet.key: a_memory(fleet, T0 + n) for fleet in fleets})
    if n == 1: print("saving", flush=True)
"""


def test_a_process_killed_at_any_instant_leaves_a_file_that_loads_whole(tmp_path: Path) -> None:
    """Every file found was saved in one piece: all fleets are of the same cycle, and never an older one."""
    path, dice, last = tmp_path / "memory.json", random.Random(7), 0.0
    for _ in range(12):
        with subprocess.Popen(
            [sys.executable, "-c", SAVE_FOREVER, str(path)],
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parents[3],
            env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])},
        ) as child:
            assert child.stdout is not None
            assert child.stdout.readline() == b"saving\n"
            time.sleep(dice.uniform(0.0, 0.05))
            child.send_signal(signal.SIGKILL)
        store = MemoryFile(path)
        started = {memory.started_at for memory in store.load().values()}
        assert not store.note
        assert len(started) == 1
        assert len(store.load()) == 20
        last = max(last, started.pop() or 0.0)
    assert last > T0 - 900
