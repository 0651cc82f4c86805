"""Whole runs of `governor local`, as a user starts them: one command, its report, its journal."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.live.figures import say
from tests.live.journals import Cycle, cycles

INVALID_RUN = 3
"""Exit code of a run that the host was too busy for: it proves nothing, and is repeated once."""
LANES = 2
"""Background runs at once: two full-rate stacks and a fault test leave half of two cores free."""
_ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Case:
    """One command. `limit_s` bounds its life; `while_running` is called about once a second with its run folder."""

    name: str
    arguments: tuple[str, ...]
    limit_s: float
    while_running: Callable[[Path], None] = field(default=lambda _folder: None)


@dataclass(frozen=True, slots=True)
class Finished:
    """A run that has ended."""

    code: int
    output: str
    report: Mapping[str, Any]
    run_dir: Path
    started_at: float
    """UTC seconds at which the command was started."""

    @property
    def journal(self) -> Path:
        return self.run_dir / "state" / "journal"

    def cycles(self) -> list[Cycle]:
        return cycles(self.journal)


def governor(*arguments: str, **options: Any) -> subprocess.Popen[str]:
    """The `governor` command as a process of its own, started in the root of the project."""
    return subprocess.Popen([sys.executable, "-m", "controller", *arguments], cwd=_ROOT, text=True, **options)


def replayed(journal: Path) -> subprocess.CompletedProcess[str]:
    """`governor replay` on a journal folder."""
    argv = [sys.executable, "-m", "controller", "replay", str(journal)]
    return subprocess.run(argv, cwd=_ROOT, capture_output=True, text=True, timeout=120, check=False)


class Runs:
    """Runs cases, in the background or at once. `close` ends whatever still runs."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lane = ThreadPoolExecutor(max_workers=LANES, thread_name_prefix="lane")
        self._futures: dict[str, Future[Finished]] = {}
        self._processes: set[subprocess.Popen[str]] = set()
        self._lock = threading.Lock()

    def begin(self, cases: Sequence[Case]) -> None:
        """Line up cases in the background; those already begun are left alone."""
        for case in cases:
            if case.name not in self._futures:
                self._futures[case.name] = self._lane.submit(self.run, case)

    def result(self, case: Case) -> Finished:
        """Wait for a case, begun before or now."""
        self.begin([case])
        return self._futures[case.name].result()

    def run(self, case: Case) -> Finished:
        """Run now. A run that the host made invalid is repeated once, and says so."""
        found = self._once(case, self._folder / case.name)
        if found.code != INVALID_RUN:
            return found
        say(f"{case.name}: repeated, the host was too busy: {found.report['invalid_reasons']}")
        return self._once(case, self._folder / f"{case.name}-again")

    def close(self) -> None:
        self._lane.shutdown(wait=False, cancel_futures=True)
        with self._lock:
            for process in self._processes:
                process.kill()

    def _once(self, case: Case, run_dir: Path) -> Finished:
        report, output = run_dir.with_suffix(".json"), run_dir.with_suffix(".out")
        options = ["--exit", "--json", str(report), "--run-dir", str(run_dir), "--port", "0"]
        started_at = time.time()
        with output.open("w") as words:
            process = governor("local", *case.arguments, *options, stdout=words, stderr=subprocess.STDOUT)
            with self._lock:
                self._processes.add(process)
            code = _watched(process, case, run_dir)
        text = output.read_text()
        assert report.exists(), f"{case.name} left no report (exit code {code}):\n{text}"
        return Finished(code, text, json.loads(report.read_text()), run_dir, started_at)


def _watched(process: subprocess.Popen[str], case: Case, run_dir: Path) -> int:
    deadline = time.monotonic() + case.limit_s
    while time.monotonic() < deadline:
        try:
            return process.wait(1.0)
        except subprocess.TimeoutExpired:
            case.while_running(run_dir)
    process.kill()
    process.wait()
    raise AssertionError(f"{case.name} did not end within {case.limit_s:g} s")
