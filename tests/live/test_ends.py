"""`governor local` leaves no process behind, however it ends."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.live.local_runs import Runs, governor

PARTS = ("engine.local.supervisor", "envoy", "prometheus", "engine.serve", "controller", "engine.load")


def processes_of(run_dir: Path, root: psutil.Process) -> list[psutil.Process]:
    """Everything below the command, and everything that names its run folder."""
    named = [p for p in psutil.process_iter(["cmdline"]) if str(run_dir) in " ".join(p.info["cmdline"] or [])]
    return [*{*root.children(recursive=True), *named} - {root}]


def whole(found: list[psutil.Process]) -> bool:
    """Whether every part is there."""
    lines = []
    for process in found:
        try:
            lines.append(" ".join(process.cmdline()))
        except psutil.NoSuchProcess:
            continue
    return all(any(part in line for line in lines) for part in PARTS)


@pytest.fixture
def running(tmp_path: Path, beside: Runs) -> Iterator[tuple[subprocess.Popen[str], list[psutil.Process]]]:
    """The command, everything of it up and under load, and its processes."""
    run_dir = tmp_path / "run"
    command = governor(
        *("local", "--scenario", "calm", "--run-dir", str(run_dir), "--port", "0"),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    root, deadline = psutil.Process(command.pid), time.monotonic() + 30
    while not whole(processes_of(run_dir, root)):
        assert time.monotonic() < deadline, "not all parts came up"
        time.sleep(0.5)
    time.sleep(3)
    yield command, processes_of(run_dir, root)
    command.kill()
    command.communicate()


def test_kill_9_leaves_no_process_behind(running: tuple[subprocess.Popen[str], list[psutil.Process]]) -> None:
    command, processes = running

    command.send_signal(signal.SIGKILL)

    command.wait(5)
    _, alive = psutil.wait_procs(processes, timeout=15)
    assert not alive


def test_ctrl_c_ends_in_order_with_the_summary_and_leaves_no_process_behind(
    running: tuple[subprocess.Popen[str], list[psutil.Process]],
) -> None:
    command, processes = running

    command.send_signal(signal.SIGINT)

    output, _ = command.communicate(timeout=40)
    _, alive = psutil.wait_procs(processes, timeout=1)
    assert not alive
    assert command.returncode == 0, output
    assert "Traceback" not in output
    for name in ("requests", "inside the objectives", "replica-hours", "journal"):
        assert name in output
