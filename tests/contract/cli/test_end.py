"""The daemon's end on a disk that refused for a while, with the real journal."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pytest
import yaml

from controller.cli.compose import Daemon, compose
from controller.cli.place_local import local_place
from controller.record import journal
from controller.settings import Settings
from engine.load.scenario_file import load_scenario

NOBODY = "http://127.0.0.1:9"


@pytest.fixture
def daemon(tmp_path: Path) -> Daemon:
    file = tmp_path / "fleet.yaml"
    file.write_text(yaml.safe_dump(load_scenario("calm").fleet_document()))
    settings = Settings(supervisor_url=NOBODY, prometheus_url=NOBODY, state_dir=tmp_path / "state")
    return compose(settings, partial(local_place, file, settings))


def journalled(folder: Path) -> Sequence[str]:
    """The kinds of lines that are on the disk."""
    files = sorted((folder / "state" / "journal").glob("journal-*.jsonl"))
    return [json.loads(line)["kind"] for file in files for line in file.read_text().splitlines()]


def full(*_arguments: object) -> None:
    raise OSError(28, "No space left on device")


def test_decisions_that_waited_for_the_disk_are_written_at_the_end(
    daemon: Daemon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as disk:
        disk.setattr(journal, "write_all", full)
        daemon.loop.tick()
        daemon.loop.tick()
    assert daemon.facts().unjournaled_records == 2
    daemon.close()
    assert list(journalled(tmp_path)).count("cycle") == 2


def test_decisions_that_the_disk_never_took_are_counted_and_the_daemon_ends(
    daemon: Daemon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "write_all", full)
    daemon.loop.tick()
    daemon.close()
    assert daemon.facts().lost_records == 1
    assert list(journalled(tmp_path)).count("cycle") == 0
