"""Finding one decision in a journal without reading more of it than needed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from controller.record.history import DecisionRun
from controller.record.journal_reader import first_at, journal_files, read_file


def fleets_in(path: Path) -> list[str]:
    """Keys of the fleets that the newest non-empty file tells of. Raises UsageError where it cannot be read."""
    for file in reversed(journal_files(path)):
        found = sorted({entry.fleet_key for entry in read_file(file) if entry.kind == "cycle"})
        if found:
            return found
    return []


def find_decision(path: Path, fleet: str, at: float | None) -> DecisionRun | None:
    """The fleet's last decision, or the last one at or before `at` (UTC seconds), with what became of its writes.

    Raises UsageError where the journal cannot be read.
    """
    for file in _newest_first(path, at):
        run = _last_in(file, fleet, at)
        if run is not None:
            return run
    return None


def _last_in(file: Path, fleet: str, at: float | None) -> DecisionRun | None:
    run: DecisionRun | None = None
    current = False
    for entry in read_file(file):
        if entry.kind == "cycle" and entry.fleet_key == fleet:
            current = at is None or entry.at <= at
            run = DecisionRun(entry.at, 1, entry.decision) if current else run
        elif entry.kind == "outcome" and current and run is not None and entry.outcome.write.fleet == fleet:
            run = replace(run, outcomes=(*run.outcomes, entry.outcome))
    return run


def _newest_first(path: Path, at: float | None) -> Iterator[Path]:
    for file in reversed(journal_files(path)):
        begun = first_at(file)
        if begun is not None and (at is None or begun <= at):
            yield file
