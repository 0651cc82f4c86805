"""A Fleet file that changes under the daemon, composed as the command line composes it: nothing is silent."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from controller.cli.compose import Daemon, compose
from controller.cli.place_local import local_place
from controller.record.api import overview
from controller.settings import Settings
from engine.load.scenario_file import load_scenario

NOBODY = "http://127.0.0.1:9"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "fleet.yaml"
    path.write_text(yaml.safe_dump(load_scenario("calm").fleet_document()))
    return path


@pytest.fixture
def daemon(file: Path, tmp_path: Path) -> Iterator[Daemon]:
    """The daemon, after its first cycle, whose cycles the test runs."""
    settings = Settings(supervisor_url=NOBODY, prometheus_url=NOBODY, state_dir=tmp_path / "state")
    composed = compose(settings, partial(local_place, file, settings))
    composed.loop.tick()
    yield composed
    composed.close()


def shown(daemon: Daemon) -> tuple[list[str], dict[str, Any]]:
    """The daemon's errors, and the condition of its one fleet, after another cycle."""
    daemon.loop.tick()
    seen = overview(daemon.board, daemon.facts())
    (fleet,) = seen["fleets"]
    assert fleet["figures"]["at"] == daemon.board.records()[0].snapshot.at
    accepted = [c for c in daemon.board.records()[0].plan.decision.conditions if c.type == "FleetAccepted"]
    return seen["errors"], {c.status.value: c.message for c in accepted}


def test_a_bad_version_is_an_error_and_a_condition_until_it_is_mended(daemon: Daemon, file: Path) -> None:
    good = file.read_text()
    assert shown(daemon) == ([], {})
    file.write_text(good + "\nspec: [")
    (error,), condition = shown(daemon)
    assert error.startswith(f"{file}:")
    assert condition == {"False": f"the last good version stays in force: {error}"}
    file.write_text(good)
    assert shown(daemon) == ([], {"True": "the newest version is in force"})


def test_a_version_without_a_capacity_profile_is_a_bad_one(daemon: Daemon, file: Path) -> None:
    document = yaml.safe_load(file.read_text())
    document["spec"]["variants"][0]["accelerator"] = "b200"
    file.write_text(yaml.safe_dump(document))
    (error,), condition = shown(daemon)
    assert "on accelerator 'b200'" in error
    assert "Set the variant's `profile`" in error
    assert condition == {"False": f"the last good version stays in force: {error}"}
    assert daemon.board.records()[0].fleet.spec.variants[0].accelerator != "b200"


def test_a_new_fleet_that_never_was_good_is_told_beside_the_one_that_is(daemon: Daemon, file: Path) -> None:
    document = yaml.safe_load(file.read_text())
    document["metadata"]["name"] = "new"
    document["spec"]["variants"][0] |= {"accelerator": "b200", "scaleTargetRef": {"name": "new"}, "name": "new"}
    file.write_text(file.read_text() + "\n---\n" + yaml.safe_dump(document))
    (error,), condition = shown(daemon)
    assert "fleet " in error
    assert "/new, variant new: " in error
    assert condition == {}
