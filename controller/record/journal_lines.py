"""The lines of the journal: one JSON object each, written by joining texts that are encoded once.

`checkpoint` begins every file; `fleet` and `memory` say what changed otherwise than by a decision; `cycle` is a
decision with all it was made from; `outcome` is what became of a write.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from controller.model.codec import to_json
from controller.model.decision import Outcome
from controller.model.fleet import Fleet
from controller.model.memory import FleetMemory
from controller.ports import CycleRecord
from controller.record.encoded import MemoryEncoder, digest_of
from engine.profile import Profile

SCHEMA = 1
"""Version of the lines. A reader refuses what is newer."""


class Subject(NamedTuple):
    """A fleet with its capacity priors, their JSON (the inside of an object) and the hash of that JSON."""

    fleet: Fleet
    profiles: Mapping[str, Profile]
    text: bytes
    digest: str


def _object(parts: Mapping[str, bytes]) -> bytes:
    return b"{" + b",".join(json.dumps(key).encode() + b":" + text for key, text in parts.items()) + b"}"


def _array(parts: Sequence[bytes]) -> bytes:
    return b"[" + b",".join(parts) + b"]"


def subject_of(record: CycleRecord) -> Subject:
    """The configuration under which a cycle was decided."""
    profiles = _object({name: to_json(profile) for name, profile in sorted(record.profiles.items())})
    inside = b'"fleet":' + to_json(record.fleet) + b',"profiles":' + profiles
    return Subject(record.fleet, record.profiles, inside, digest_of(inside))


def checkpoint_line(at: float, program: str, subjects: Sequence[Subject], memories: Mapping[str, bytes]) -> bytes:
    """The first line of a file: versions, all fleets, and their memories before the file's first cycle."""
    head = f'{{"kind":"checkpoint","schema":{SCHEMA},"program":{json.dumps(program)},"at":{at!r},"fleets":'
    fleets = _array([b'{"hash":"' + s.digest.encode() + b'",' + s.text + b"}" for s in subjects])
    return head.encode() + fleets + b',"memories":' + _object(memories) + b"}\n"


def fleet_line(at: float, subject: Subject) -> bytes:
    """A fleet that is new in this file, or changed."""
    return f'{{"kind":"fleet","at":{at!r},"hash":"{subject.digest}",'.encode() + subject.text + b"}\n"


def memory_line(at: float, fleet: str, text: bytes) -> bytes:
    """A memory that is not what the fleet's last cycle in this file left."""
    return f'{{"kind":"memory","at":{at!r},"fleet":{json.dumps(fleet)},"memory":'.encode() + text + b"}\n"


def cycle_line(record: CycleRecord, subject: Subject, memory_digest: str) -> bytes:
    """A decision: from what, what, and the digest of the memory after it."""
    plan = record.plan
    head = (
        f'{{"kind":"cycle","at":{record.snapshot.at!r},"fleet":{json.dumps(record.snapshot.fleet)},'
        f'"hash":"{subject.digest}","snapshot":'
    )
    writes = _array([to_json(write) for write in plan.writes])
    weights = b"" if plan.weights is None else b',"weights":' + to_json(plan.weights)
    return b"".join(
        (
            head.encode(),
            to_json(record.snapshot),
            b',"decision":',
            to_json(plan.decision),
            b',"writes":',
            writes,
            weights,
            f',"memory_digest":"{memory_digest}"}}\n'.encode(),
        )
    )


def outcome_line(at: float, outcome: Outcome) -> bytes:
    """What became of one write."""
    return f'{{"kind":"outcome","at":{at!r},"outcome":'.encode() + to_json(outcome) + b"}\n"


class LineState:
    """What the current file already says, so that each line says only what is new.

    Not safe for several threads at once.
    """

    def __init__(self, program: str, encoder: MemoryEncoder) -> None:
        self._program = program
        self._encoder = encoder
        self._subjects: dict[str, Subject] = {}
        self._told: dict[str, str] = {}
        self._left: dict[str, FleetMemory] = {}

    def begin(self, at: float, records: Sequence[CycleRecord], memories: Mapping[str, FleetMemory]) -> bytes:
        """The checkpoint of a new file: every fleet known, those of its first cycles as these have them."""
        subjects = {key: subject for key, subject in self._subjects.items() if key in memories}
        subjects |= {record.fleet.key: self._subject(record) for record in reversed(records)}
        self._subjects = subjects
        self._told = {key: subject.digest for key, subject in subjects.items()}
        self._left = {key: _before(memories, key) for key in subjects}
        texts = {key: self._encoder.encode(memory).text for key, memory in self._left.items()}
        return checkpoint_line(at, self._program, list(subjects.values()), texts)

    def lines(self, records: Sequence[CycleRecord], memories: Mapping[str, FleetMemory]) -> bytes:
        """The lines of cycles, each after what changed before it; `memories` are from before the first of them."""
        lines: list[bytes] = []
        begun: set[str] = set()
        for record in records:
            if record.fleet.key not in begun:
                begun.add(record.fleet.key)
                lines += self._memory_lines(record, _before(memories, record.fleet.key))
            lines += self._cycle_lines(record)
        return b"".join(lines)

    def _memory_lines(self, record: CycleRecord, before: FleetMemory) -> Iterator[bytes]:
        left = self._left.get(record.fleet.key)
        if left is not before and left != before:
            yield memory_line(record.snapshot.at, record.fleet.key, self._encoder.encode(before).text)

    def _cycle_lines(self, record: CycleRecord) -> Iterator[bytes]:
        key, subject = record.fleet.key, self._subject(record)
        if self._told.get(key) != subject.digest:
            self._told[key] = subject.digest
            yield fleet_line(record.snapshot.at, subject)
        self._left[key] = record.plan.memory
        yield cycle_line(record, subject, self._encoder.encode(record.plan.memory).digest)

    def _subject(self, record: CycleRecord) -> Subject:
        known = self._subjects.get(record.fleet.key)
        if known is not None and _same(known.fleet, record.fleet) and _same(known.profiles, record.profiles):
            return known
        subject = subject_of(record)
        self._subjects[record.fleet.key] = subject
        return subject


def _same(one: object, other: object) -> bool:
    return one is other or one == other


def _before(memories: Mapping[str, FleetMemory], key: str) -> FleetMemory:
    return memories.get(key) or FleetMemory.empty(key)
