"""A process on a tether: nothing of it is left, whichever of its parts is killed."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import psutil
import pytest

from engine.local.process import Process, describe_exit
from tests.contract.local.rigs import alive, until

FAMILY = """
import subprocess, sys, time
same_group = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(60)"])
own_group = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(60)"], process_group=0)
print("up", flush=True)
time.sleep(60)
"""


def started(tmp_path: Path) -> tuple[Process, psutil.Process, list[int]]:
    """A process that started two others; its command and their process ids."""
    process = Process("family", [sys.executable, "-c", FAMILY], tmp_path / "log")
    until(lambda: "up" in process.last_words())
    (command,) = psutil.Process(process.pid).children()
    return process, command, [child.pid for child in command.children()]


def test_what_the_command_started_ends_with_the_tether_killed(tmp_path: Path) -> None:
    process, command, below = started(tmp_path)

    os.kill(process.pid, signal.SIGKILL)

    until(lambda: process.exit_code() == 128 + signal.SIGKILL)
    until(lambda: not any(alive(pid) for pid in (command.pid, *below)))


@pytest.mark.parametrize("end", ["lifeline", "command killed"])
def test_what_the_command_started_ends_with_it(tmp_path: Path, end: str) -> None:
    process, command, below = started(tmp_path)

    process.kill() if end == "lifeline" else command.kill()

    until(lambda: process.exit_code() == 128 + signal.SIGKILL)
    until(lambda: not any(alive(pid) for pid in (command.pid, *below)))


def test_a_signal_to_the_tether_reaches_the_command(tmp_path: Path) -> None:
    process = Process("sleeper", ["sleep", "60"], tmp_path / "log")
    until(lambda: bool(psutil.Process(process.pid).children()))

    process.terminate()

    until(lambda: process.exit_code() == 128 + signal.SIGTERM)


def test_exit_codes_are_passed_on_and_described(tmp_path: Path) -> None:
    process = Process("seven", [sys.executable, "-S", "-c", "raise SystemExit(7)"], tmp_path / "log")

    assert process.wait(20)
    assert process.exit_code() == 7
    assert describe_exit(7) == "ended with code 7"
    assert describe_exit(137) == "was ended by signal 9"


def test_the_command_has_a_lifeline_of_its_own(tmp_path: Path) -> None:
    """Its standard input stays open, and says nothing, as long as its tether lives."""
    reading = "import sys; print('up', flush=True); sys.stdin.read(); print('end', flush=True)"
    process = Process("reader", [sys.executable, "-S", "-c", reading], tmp_path / "log")
    until(lambda: process.last_words() == "up")

    assert process.exit_code() is None
    process.end(5.0)
