"""One supervisor for all tests of the contract; every test has a fleet of its own in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.local.config import FleetConfig
from tests.contract.local.rigs import FakeRig, LocalRig, Rig, fleet_names, supervisor, tiny_config, tiny_fleet

FLEETS = 40


@pytest.fixture(scope="session")
def shared_supervisor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path, Iterator[str]]]:
    """URL, run folder and the names of fleets that nobody has used."""
    run_dir = tmp_path_factory.mktemp("supervisor")
    fleets = [FleetConfig.of(tiny_fleet(f"fleet-{number}")) for number in range(1, FLEETS + 1)]
    with supervisor(tiny_config(*fleets, arguments=("--ready-after", "0.3")), run_dir) as (url, _):
        yield url, run_dir, fleet_names()


@pytest.fixture(params=["in memory", "supervisor"])
def rig(request: pytest.FixtureRequest) -> Iterator[Rig]:
    """A cluster with one fleet at zero replicas."""
    if request.param == "in memory":
        yield FakeRig(tiny_fleet())
        return
    url, run_dir, unused = request.getfixturevalue("shared_supervisor")
    local = LocalRig(tiny_fleet(next(unused)), url, run_dir)
    yield local
    local.close()
