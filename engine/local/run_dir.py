"""The folder of one run: logs, events, timeline, the configuration of every part."""

from __future__ import annotations

import time
from pathlib import Path

from controller.errors import UsageError

RUNS = Path(".governor/runs")
EVENTS_FILE = "events.jsonl"
TIMELINE_FILE = "replicas.jsonl"


def new_run_dir(wanted: Path | None) -> Path:
    """The wanted folder, or a new one named by the time, with its folder of logs.

    Raises UsageError when it cannot be made, or holds an earlier run: two runs in one report tell nothing.
    """
    path = wanted or _unused(time.strftime("%Y-%m-%dT%H-%M-%S"))
    if (path / TIMELINE_FILE).exists():
        raise UsageError(f"the run folder {path} holds an earlier run: choose another one, or remove it")
    try:
        logs_dir(path).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"the run folder {path} cannot be made: {error.strerror}; choose another one") from error
    return path


def logs_dir(run_dir: Path) -> Path:
    """Where logs lie: one for each part and each replica."""
    return run_dir / "logs"


def _unused(name: str) -> Path:
    path, number = RUNS / name, 1
    while path.exists():
        number += 1
        path = RUNS / f"{name}-{number}"
    return path
