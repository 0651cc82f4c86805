"""Reading journals back: lazily, tolerating a torn last line, and naming file and line of what does not fit."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO, TypeVar, cast

from pydantic import ValidationError

from controller.errors import UsageError
from controller.model.codec import from_plain
from controller.model.decision import Decision, Outcome, ScaleWrite, WeightWrite
from controller.model.fleet import Fleet
from controller.model.memory import FleetMemory
from controller.model.snapshot import Snapshot
from controller.record.journal_lines import SCHEMA
from controller.record.segments import segments
from engine.profile import Profile

T = TypeVar("T")

KINDS = ("checkpoint", "fleet", "memory", "cycle", "outcome")
_HEAD = b'{"kind":"checkpoint","schema":'


@dataclass(frozen=True)
class Entry:
    """One line. Its parts are decoded when asked for, and raise UsageError where they do not fit."""

    path: Path
    line: int
    plain: Mapping[str, Any]

    @property
    def kind(self) -> str:
        """One of `KINDS`."""
        return cast("str", self.plain["kind"])

    @property
    def at(self) -> float:
        """UTC seconds."""
        return float(self.plain["at"])

    @property
    def where(self) -> str:
        """File and line."""
        return f"{self.path}:{self.line}"

    @property
    def fleet_key(self) -> str:
        """Of `memory` and `cycle` lines: namespace/name."""
        return str(self.part("fleet"))

    @property
    def hash(self) -> str:
        """Of `cycle` lines: the hash of the fleet and the profiles it was decided under."""
        return str(self.part("hash"))

    @cached_property
    def fleet(self) -> Fleet:
        """Of `fleet` lines."""
        return self.decode(Fleet, self.part("fleet"))

    @cached_property
    def profiles(self) -> Mapping[str, Profile]:
        """Of `fleet` lines: capacity priors by variant name."""
        return {name: self.decode(Profile, value) for name, value in self.part("profiles").items()}

    @cached_property
    def memory(self) -> FleetMemory:
        """Of `memory` lines."""
        return self.decode(FleetMemory, self.part("memory"))

    @cached_property
    def snapshot(self) -> Snapshot:
        """Of `cycle` lines."""
        return self.decode(Snapshot, self.part("snapshot"))

    @cached_property
    def decision(self) -> Decision:
        """Of `cycle` lines."""
        return self.decode(Decision, self.part("decision"))

    @cached_property
    def writes(self) -> tuple[ScaleWrite, ...]:
        """Of `cycle` lines."""
        return tuple(self.decode(ScaleWrite, write) for write in self.part("writes"))

    @cached_property
    def weights(self) -> WeightWrite | None:
        """Of `cycle` lines: the order to move traffic, where there was one."""
        return self.decode(WeightWrite, self.plain["weights"]) if "weights" in self.plain else None

    @cached_property
    def outcome(self) -> Outcome:
        """Of `outcome` lines."""
        return self.decode(Outcome, self.part("outcome"))

    def parts(self) -> Iterator[Entry]:
        """Of a checkpoint: its fleets and memories, as `fleet` and `memory` entries of the same line."""
        for fleet in self.part("fleets"):
            yield Entry(self.path, self.line, {"kind": "fleet", "at": self.at, **fleet})
        for key, memory in self.part("memories").items():
            yield Entry(self.path, self.line, {"kind": "memory", "at": self.at, "fleet": key, "memory": memory})

    def part(self, name: str) -> Any:
        """A part as plain JSON."""
        try:
            return self.plain[name]
        except KeyError:
            raise UsageError(f"{self.where}: the {self.kind} line has no {name}: the journal was edited") from None

    def decode(self, kind: type[T], value: object) -> T:
        """A part as a value."""
        try:
            return from_plain(kind, value)
        except ValidationError as error:
            first = error.errors()[0]
            path = ".".join(str(part) for part in first["loc"])
            raise UsageError(f"{self.where}: {kind.__name__}.{path} does not fit: {first['msg']}") from error


def journal_files(path: Path) -> list[Path]:
    """The journal files under `path`, oldest first: a folder's, a state folder's, or the file itself.

    Raises UsageError when there is none.
    """
    if path.is_dir():
        inner = path / "journal"
        files = [s.path for s in segments(path) or (segments(inner) if inner.is_dir() else [])]
        if not files:
            raise UsageError(f"no journal in {path}: a journal folder holds files journal-*.jsonl")
        return files
    if not path.exists():
        raise UsageError(f"no journal at {path}: give a journal file, or the folder that holds them")
    return [path]


def read(path: Path) -> Iterator[Entry]:
    """All entries of a file or a folder, oldest first. Raises UsageError at the first line that does not fit."""
    for file in journal_files(path):
        yield from read_file(file)


def read_file(path: Path) -> Iterator[Entry]:
    """All entries of one file, plain or compressed meanwhile. A torn last line or checkpoint reads as not there."""
    try:
        with _open(path) as lines:
            for number, line in enumerate(lines, start=1):
                if not line.endswith(b"\n") and _torn(number, line):
                    return
                yield _entry(path, number, line)
    except (OSError, EOFError, zlib.error) as error:
        raise UsageError(f"cannot read the journal {path}: {error}") from error


def first_at(path: Path) -> float | None:
    """UTC seconds of a file's checkpoint; None when nothing whole is in it."""
    return next((entry.at for entry in read_file(path)), None)


def _open(path: Path) -> BinaryIO:
    packed = path if path.suffix == ".gz" else path.with_name(f"{path.name}.gz")
    if path.suffix != ".gz" and (path.exists() or not packed.exists()):
        return path.open("rb")
    return cast("BinaryIO", gzip.open(packed, "rb"))


def _torn(number: int, line: bytes) -> bool:
    """Whether an unfinished line is one that a killed daemon left, and not some other file's content."""
    return number > 1 or line.startswith(_HEAD) or _HEAD.startswith(line)


def _entry(path: Path, number: int, line: bytes) -> Entry:
    try:
        plain = json.loads(line)
    except ValueError as error:
        raise UsageError(f"{path}:{number} is not a journal line: {error}") from error
    if not isinstance(plain, dict) or plain.get("kind") not in KINDS or not isinstance(plain.get("at"), int | float):
        raise UsageError(f"{path}:{number} is not a journal line: expected an object of kind {', '.join(KINDS)}")
    entry = Entry(path, number, plain)
    if (number == 1) != (entry.kind == "checkpoint"):
        raise UsageError(f"{entry.where}: a journal file begins with its one checkpoint, this line is a {entry.kind}")
    if entry.kind == "checkpoint" and plain.get("schema") != SCHEMA:
        raise UsageError(
            f"{entry.where} is of schema {plain.get('schema')}, this program reads {SCHEMA}: use the program that wrote"
            f" it (version {plain.get('program')})"
        )
    return entry


__all__ = ["KINDS", "Entry", "first_at", "journal_files", "read", "read_file"]
