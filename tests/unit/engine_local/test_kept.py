"""A process that is kept running."""

from __future__ import annotations

import sys
import time
from collections.abc import Container
from pathlib import Path

import pytest

from controller.errors import PermanentError
from engine.local.kept import ALWAYS, MISTAKE, Kept

IDLE = [sys.executable, "-S", "-c", "import time; time.sleep(60)"]


def ending_with(code: int, said: str = "") -> list[str]:
    return [sys.executable, "-S", "-c", f"print({said!r}, flush=True); raise SystemExit({code})"]


def look_until(kept: Kept, restarts: int) -> None:
    deadline = time.monotonic() + 20
    while kept.restarts < restarts and not kept.failure:
        assert time.monotonic() < deadline
        kept.look()
        time.sleep(0.02)


def test_a_process_that_dies_is_started_again(tmp_path: Path) -> None:
    kept = Kept("part", ending_with(1), tmp_path / "log")

    look_until(kept, restarts=1)

    assert kept.failure is None
    kept.process.end(1.0)


@pytest.mark.parametrize(("code", "final"), [(2, MISTAKE), (1, ALWAYS)], ids=["a user's mistake", "one life only"])
def test_some_deaths_are_final_and_explained(tmp_path: Path, code: int, final: Container[int]) -> None:
    kept = Kept("part", ending_with(code, "no such file"), tmp_path / "log", final=final)

    look_until(kept, restarts=1)

    assert kept.failure == f"part ended with code {code}: no such file (log: {tmp_path / 'log'})"


def test_a_suspended_process_is_left_dead_until_resumed(tmp_path: Path) -> None:
    kept = Kept("part", IDLE, tmp_path / "log")

    kept.suspend()
    for _ in range(50):
        kept.look()
    dead = kept.process.exit_code()
    kept.resume()

    assert dead is not None
    assert kept.process.exit_code() is None
    assert kept.restarts == 1
    kept.process.end(1.0)


def test_a_log_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    with pytest.raises(PermanentError, match="part could not be started"):
        Kept("part", IDLE, tmp_path / "missing" / "log")
