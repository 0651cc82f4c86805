"""One real and one simulated server for all tests of this folder, asked the same things."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.local.launch import SimulatedLauncher
from engine.real.environment import vllm_home
from engine.real.launcher import RealLauncher
from tests.vllm.servers import PROFILE, Server, ask_everything, served


@pytest.fixture(scope="session")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where servers log."""
    return tmp_path_factory.mktemp("servers")


@pytest.fixture(scope="session")
def real(logs: Path) -> Iterator[Server]:
    """A real vLLM server that has answered everything once."""
    vllm_home().require_installed()
    with served(RealLauncher().command, logs / "real.log") as server:
        ask_everything(server)
        yield server


@pytest.fixture(scope="session")
def simulated(logs: Path) -> Iterator[Server]:
    """A simulated server of the same limits that has answered the same."""
    launcher = SimulatedLauncher({"v1": PROFILE}, cold_start_s=0)
    with served(launcher.command, logs / "simulated.log") as server:
        ask_everything(server)
        yield server
