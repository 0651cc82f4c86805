"""Deciding again what a journal says was decided, and finding where the two part.

The planner is handed in: what records decides nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from controller.errors import UsageError
from controller.model.codec import to_json
from controller.model.fleet import Fleet
from controller.model.memory import FleetMemory
from controller.model.plan import Plan
from controller.model.snapshot import Snapshot
from controller.record.difference import Difference, first_difference
from controller.record.encoded import digest_of
from controller.record.journal_reader import Entry, first_at, journal_files, read_file
from engine.profile import Profile

Planner = Callable[[Snapshot, FleetMemory, Fleet, float, Mapping[str, Profile]], Plan]


@dataclass(frozen=True, slots=True)
class Parting:
    """The first decision that came out differently: when, of which fleet, on which line, and in which field."""

    at: float
    fleet: str
    where: str
    difference: Difference


@dataclass(frozen=True, slots=True)
class Replayed:
    """What came of a replay."""

    equal: int
    different: int
    files: int
    first: Parting | None


class _World:
    """Fleets and memories as the journal has them at the line being read."""

    def __init__(self) -> None:
        self._subjects: dict[str, Entry] = {}
        self._memories: dict[str, FleetMemory] = {}

    def take(self, entry: Entry) -> None:
        """Follow a line that is no decision."""
        if entry.kind == "checkpoint":
            self._subjects.clear()
            self._memories.clear()
            for part in entry.parts():
                self.take(part)
        elif entry.kind == "fleet":
            self._subjects[entry.hash] = entry
        elif entry.kind == "memory":
            self._memories[entry.fleet_key] = entry.memory

    def decide(self, entry: Entry, planner: Planner) -> Difference | None:
        """Decide a cycle again, keep the memory that comes of it, and say where the plan differs."""
        subject = self._subjects.get(entry.hash)
        if subject is None:
            raise UsageError(f"{entry.where}: the fleet it was decided under is not told before: the journal was cut")
        key, snapshot = entry.fleet_key, entry.snapshot
        memory = self._memories.get(key, FleetMemory.empty(key))
        try:
            plan = planner(snapshot, memory, subject.fleet, snapshot.at, subject.profiles)
        except Exception as error:  # noqa: BLE001 - a planner that fails where it once decided is a difference
            return Difference("plan", "a decision", f"{type(error).__name__}: {error}")
        self._memories[key] = plan.memory
        return _difference(entry, plan)


def replay(
    path: Path, planner: Planner, fleet: str | None = None, begin: float | None = None, end: float | None = None
) -> Replayed:
    """Decide every cycle of a journal file or folder again and compare bit for bit.

    `begin` and `end` (UTC seconds) bound what is compared. Raises UsageError where the journal cannot be read.
    """
    equal = different = 0
    first: Parting | None = None
    files = _covering(journal_files(path), begin)
    for entry, found in _decided(files, planner, fleet, end):
        if begin is not None and entry.at < begin:
            continue
        if found is None:
            equal += 1
            continue
        different += 1
        first = first or Parting(entry.at, entry.fleet_key, entry.where, found)
    return Replayed(equal, different, len(files), first)


def _decided(
    files: list[Path], planner: Planner, fleet: str | None, end: float | None
) -> Iterator[tuple[Entry, Difference | None]]:
    for file in files:
        world = _World()
        for entry in read_file(file):
            if entry.kind != "cycle":
                world.take(entry)
            elif (end is None or entry.at <= end) and fleet in (None, entry.fleet_key):
                yield entry, world.decide(entry, planner)


def _covering(files: list[Path], begin: float | None) -> list[Path]:
    """The files from the one on that holds `begin`: each has a checkpoint, so the ones before are not needed."""
    if begin is None:
        return files
    starts = [first_at(file) for file in files]
    before = [i for i, at in enumerate(starts) if at is not None and at <= begin]
    return files[before[-1] if before else 0 :]


def _difference(entry: Entry, plan: Plan) -> Difference | None:
    for name, value in (("decision", plan.decision), ("writes", list(plan.writes))):
        text = b"[" + b",".join(map(to_json, value)) + b"]" if isinstance(value, list) else to_json(value)
        found = first_difference(name, entry.part(name), json.loads(text))
        if found is not None:
            return found
    weights = None if plan.weights is None else json.loads(to_json(plan.weights))
    found = first_difference("weights", entry.plain.get("weights"), weights)
    if found is not None:
        return found
    return first_difference("memory_digest", entry.part("memory_digest"), digest_of(to_json(plan.memory)))
