"""What became of each request, as values and as lines of the results file.

The file is JSON lines: one `run` first, one `request` for each arrival as it is settled, one `end` last. A file without
`end` is of a generator that was killed; what stands in it is still true.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from pathlib import Path
from typing import Any

from controller.errors import UsageError


@dataclass(frozen=True, slots=True)
class JudgedObjectives:
    """What a request is held against: seconds, and the share of requests that shall be inside."""

    ttft_s: float = 1.0
    tpot_s: float = 0.05
    ttft_target_ratio: float = 0.95
    tpot_target_ratio: float = 0.95


class Status(StrEnum):
    """How a request ended, seen from the client."""

    OK = "ok"
    FAILED = "failed"
    """No token came: refused, an HTTP status other than 200, a broken connection, a time-out."""
    TRUNCATED = "truncated"
    """Began to stream and ended without the server saying that the answer is whole."""
    UNANSWERED = "unanswered"
    """Not complete when the run, with its wait for answers, was over: a miss."""
    INTERRUPTED = "interrupted"
    """Still under way when the run was cut short from outside; a miss only if its first token was late already."""


@dataclass(frozen=True, slots=True)
class RequestRecord:
    """One request. Times ending in `_s` count from the *scheduled* arrival; `scheduled_at` is UTC seconds.

    `tokens_out` is what arrived, `asked_tokens` what was asked for; `body_bytes` what the answer's body measured.
    """

    scheduled_at: float
    started_s: float
    first_token_s: float | None
    last_token_s: float | None
    ended_s: float
    tokens_out: int
    asked_tokens: int
    prompt_tokens: int
    status: Status
    http_status: int = 0
    error: str = ""
    body_bytes: int = 0

    @property
    def tpot_s(self) -> float | None:
        """(last - first) / (tokens - 1); 0 for a single token; None where nothing came."""
        if self.first_token_s is None or self.last_token_s is None:
            return None
        return (self.last_token_s - self.first_token_s) / (self.tokens_out - 1) if self.tokens_out > 1 else 0.0

    def inside(self, objectives: JudgedObjectives) -> bool:
        """Complete, its first token in time, and the rest in time."""
        if self.status is not Status.OK or self.first_token_s is None or self.tpot_s is None:
            return False
        return self.first_token_s <= objectives.ttft_s and self.tpot_s <= objectives.tpot_s

    def undecided(self, objectives: JudgedObjectives) -> bool:
        """Cut short from outside while it could still have met its objectives: counts neither way."""
        if self.status is not Status.INTERRUPTED:
            return False
        waited_s = self.ended_s if self.first_token_s is None else self.first_token_s
        return waited_s <= objectives.ttft_s


@dataclass(frozen=True, slots=True)
class RunStart:
    """What was run. `started_at` is UTC seconds: arrival times count from it."""

    started_at: float
    source: str
    seed: int
    target: str


@dataclass(frozen=True, slots=True)
class RunEnd:
    """How the run ended and what it cost the machine. Ratios and the lag cover the run, not single moments."""

    ended_at: float
    reason: str
    """`finished`, or who cut it short."""
    requests: int
    tokens_out: int
    clipped: int
    """Requests shortened to fit the model's context."""
    cpu_ratio: float
    """Busy share of the whole machine."""
    loop_lag_p99_s: float
    """How late the generator's own 20 ms timer fired."""
    client_cpu_s: float


@dataclass(frozen=True, slots=True)
class Results:
    """A results file, read. `end` is None where the generator was killed."""

    start: RunStart
    requests: tuple[RequestRecord, ...]
    end: RunEnd | None


_KINDS: dict[str, type[Any]] = {"run": RunStart, "request": RequestRecord, "end": RunEnd}
_NAMES = {kind: name for name, kind in _KINDS.items()}


def to_line(value: RunStart | RequestRecord | RunEnd) -> str:
    """One line of the results file, its newline included."""
    return json.dumps({"type": _NAMES[type(value)], **asdict(value)}, separators=(",", ":"), allow_nan=False) + "\n"


def read_results(path: Path) -> Results:
    """Read a results file. A last line cut short by a kill is left out. Raises UsageError naming what is wrong."""
    values = list(_values(path))
    starts = [value for value in values if isinstance(value, RunStart)]
    if not starts:
        raise UsageError(f"{path}: no results of a load run: its first line is missing; give the generator's file")
    ends = [value for value in values if isinstance(value, RunEnd)]
    return Results(starts[0], tuple(v for v in values if isinstance(v, RequestRecord)), ends[-1] if ends else None)


def _values(path: Path) -> Iterator[object]:
    try:
        with path.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                if line.endswith("\n"):
                    yield _value(path, number, line)
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: cannot read the results: {error}") from error


def _value(path: Path, number: int, line: str) -> object:
    try:
        row = json.loads(line)
        kind = _KINDS[row.pop("type")]
        if kind is RequestRecord:
            row["status"] = Status(row["status"])
        return kind(**{field.name: row[field.name] for field in fields(kind)})
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"{path}, line {number}: not a line of a load run's results ({error})") from error
