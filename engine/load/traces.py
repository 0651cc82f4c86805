"""Recorded traffic: readers for the Azure LLM inference CSV and the Mooncake JSONL, plain or gzip-compressed.

The format is told from the content, never from the name. Files are streamed: memory does not grow with them.

- Azure (Azure/AzurePublicDataset): `TIMESTAMP,ContextTokens,GeneratedTokens`, wall-clock times.
- Mooncake (kvcache-ai/Mooncake): one object a line with `timestamp` (ms), `input_length`, `output_length`,
  optional `hash_ids`. Its published times are quantised to about 3 s: requests that share a timestamp are spread
  uniformly over the time to the next one (at most 3 s), or every 3 s would look like a burst.
"""

from __future__ import annotations

import csv
import gzip
import json
import random
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import TextIO

from controller.errors import UsageError
from engine.load.arrivals import Arrival

QUANTUM_S = 3.0
"""Longest stretch over which requests of one timestamp are spread."""
MOST_AT_ONCE = 1_000_000
"""Requests with one timestamp that are still held in memory to be spread."""
LONGEST_LINE = 8_000_000

Row = tuple[float, int, int]
Lines = Iterator[tuple[int, str]]


@dataclass(frozen=True, slots=True)
class Trace:
    """A trace file that can be read again and again; times start at 0 and never fall.

    Iterating raises `UsageError`, naming file, line, text and remedy, at the first line that does not fit.
    """

    path: Path
    seed: int = 0
    """Of the spreading of quantised timestamps."""

    def __iter__(self) -> Iterator[Arrival]:
        return _from_zero(_rows(self.path, random.Random(self.seed)))


def _from_zero(rows: Iterator[Row]) -> Iterator[Arrival]:
    first_s: float | None = None
    for at_s, prompt_tokens, output_tokens in rows:
        first_s = at_s if first_s is None else first_s
        yield Arrival(at_s - first_s, prompt_tokens, output_tokens)


def _rows(path: Path, rng: random.Random) -> Iterator[Row]:
    with _opened(path) as text:
        lines = _lines(path, text)
        head = next(lines, None)
        if head is None:
            raise UsageError(f"{path}: the trace is empty; give an Azure CSV or a Mooncake JSONL with requests in it")
        read_row, rest = _format(path, head, lines)
        rows = _ordered(path, rest, read_row)
        yield from _dequantised(rows, rng) if read_row is _mooncake_row else (row for _, row in rows)


@contextmanager
def _opened(path: Path) -> Iterator[TextIO]:
    try:
        with path.open("rb") as raw:
            packed = raw.read(2) == b"\x1f\x8b"
        with gzip.open(path, "rt", encoding="utf-8") if packed else path.open(encoding="utf-8") as text:
            yield text
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: is not UTF-8; save it in that encoding, or give another file") from error
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise UsageError(f"{path}: the compressed file is damaged ({error}); fetch it again") from error
    except OSError as error:
        raise UsageError(f"{path}: cannot read the trace: {error.strerror or error}") from error


def _lines(path: Path, text: TextIO) -> Lines:
    """Numbered lines that are not blank."""
    number = 0
    while line := text.readline(LONGEST_LINE):
        number += 1
        if len(line) >= LONGEST_LINE:
            raise _bad(path, number, line, "the line is far too long", "give an Azure CSV or a Mooncake JSONL")
        if line.strip():
            yield number, line.strip()


def _format(path: Path, head: tuple[int, str], lines: Lines) -> tuple[Callable[[str], Row], Lines]:
    """Which reader fits the first line, and the lines that it shall read."""
    number, line = head
    if line.startswith("{"):
        return _mooncake_row, chain([head], lines)
    columns = [name.strip() for name in line.lstrip("\ufeff").split(",")]
    try:
        at, prompt, output = (columns.index(name) for name in ("TIMESTAMP", "ContextTokens", "GeneratedTokens"))
    except ValueError:
        raise _bad(
            path,
            number,
            line,
            "neither the header of an Azure CSV nor an object of a Mooncake JSONL",
            'begin with "TIMESTAMP,ContextTokens,GeneratedTokens" or with {"timestamp": …}',
        ) from None
    return _azure_reader(at, prompt, output), lines


def _azure_reader(at: int, prompt: int, output: int) -> Callable[[str], Row]:
    def read(line: str) -> Row:
        cells = next(csv.reader([line]))
        moment = datetime.fromisoformat(cells[at].strip())
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return moment.timestamp(), int(cells[prompt]), int(cells[output])

    return read


def _mooncake_row(line: str) -> Row:
    row = json.loads(line)
    at_ms, prompt, output = row["timestamp"], row["input_length"], row["output_length"]
    if isinstance(at_ms, bool) or not isinstance(at_ms, int | float) or not abs(at_ms) < 1e15:
        raise ValueError("timestamp is not a number of milliseconds")
    if type(prompt) is not int or type(output) is not int:
        raise ValueError("lengths are not whole numbers")
    return at_ms / 1000, prompt, output


def _ordered(path: Path, lines: Lines, read_row: Callable[[str], Row]) -> Iterator[tuple[int, Row]]:
    """Rows that were checked, each with its line number."""
    before_s = -float("inf")
    for number, line in lines:
        row = _checked_row(path, number, line, read_row)
        if row[0] < before_s:
            raise _bad(path, number, line, "earlier than the line before it", "sort the file by time")
        before_s = row[0]
        yield number, row


def _checked_row(path: Path, number: int, line: str, read_row: Callable[[str], Row]) -> Row:
    try:
        row = read_row(line)
    except KeyError as error:
        raise _bad(path, number, line, f"no field {error}", "complete or delete the line") from error
    except (ValueError, IndexError, TypeError, OverflowError, csv.Error) as error:
        raise _bad(path, number, line, f"not a request ({error})", "mend or delete the line") from error
    if row[1] < 1 or row[2] < 1:
        raise _bad(path, number, line, "a length below 1 token", "mend or delete the line")
    return row


def _bad(path: Path, number: int, line: str, why: str, remedy: str) -> UsageError:
    text = line if len(line) <= 80 else f"{line[:77]}…"
    return UsageError(f"{path}, line {number}: {why}: {text!r}; {remedy}")


def _dequantised(rows: Iterator[tuple[int, Row]], rng: random.Random) -> Iterator[Row]:
    """Rows of one timestamp spread over the time to the next one; a row alone keeps its time."""
    group: list[Row] = []
    for number, row in rows:
        if group and row[0] != group[0][0]:
            yield from _spread(group, min(QUANTUM_S, row[0] - group[0][0]), rng)
            group = []
        if len(group) >= MOST_AT_ONCE:
            raise UsageError(
                f"line {number}: more than {MOST_AT_ONCE:,} requests with one timestamp; check its unit (ms)"
            )
        group.append(row)
    yield from _spread(group, QUANTUM_S, rng)


def _spread(group: list[Row], width_s: float, rng: random.Random) -> Iterator[Row]:
    if len(group) == 1:
        yield group[0]
        return
    offsets_s = sorted(rng.random() * width_s for _ in group)
    for offset_s, (at_s, prompt_tokens, output_tokens) in zip(offsets_s, group, strict=True):
        yield at_s + offset_s, prompt_tokens, output_tokens
