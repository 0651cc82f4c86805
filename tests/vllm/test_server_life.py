"""A real replica is several processes: all of them end with it, asked or not."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import psutil
import pytest

from engine.real.launcher import RealLauncher
from tests.vllm.servers import served

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(300)]


def _ended(processes: list[psutil.Process], within_s: float) -> bool:
    """Whether all of them are gone, or dead and only not yet collected by init."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if not any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in processes):
            return True
        time.sleep(0.1)
    return False


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["asked to end", "killed"])
def test_no_process_of_a_replica_outlives_it(number: signal.Signals, tmp_path: Path) -> None:
    with served(RealLauncher().command, tmp_path / "replica.log") as server:
        tether = psutil.Process(server.process.pid)
        family = [tether, *tether.children(recursive=True)]
        assert len(family) >= 3
        os.kill(tether.pid, number)
        server.process.wait(15)
        assert _ended(family, within_s=15)
