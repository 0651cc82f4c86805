"""The files of a journal folder: their names, their order, and their compression once full."""

from __future__ import annotations

import gzip
import os
import re
import shutil
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

_NAME = re.compile(r"journal-\d{8}T\d{6}Z-(?P<number>\d{6,})\.jsonl(?:\.gz)?")
_LEVEL = 1
"""Repetitive JSON shrinks about tenfold already at zlib's fastest level."""


class Segment(NamedTuple):
    """One file; `number` orders files even when the clock was set back between them."""

    number: int
    path: Path

    def size_bytes(self) -> int:
        """Bytes on the disk; 0 when it was compressed away meanwhile."""
        try:
            return self.path.stat().st_size
        except FileNotFoundError:
            return 0


def segments(folder: Path) -> list[Segment]:
    """The journal's files, oldest first. A file found both plain and compressed counts once, plain."""
    found: dict[int, Path] = {}
    for path in sorted(folder.iterdir(), reverse=True):
        match = _NAME.fullmatch(path.name)
        if match:
            found[int(match["number"])] = path
    return [Segment(number, found[number]) for number in sorted(found)]


def leftovers(folder: Path) -> Iterator[Path]:
    """What a process killed while compressing left behind: unfinished texts, and plain files already compressed."""
    yield from folder.glob(".journal-*.gz.new")
    for path in folder.glob("journal-*.jsonl.gz"):
        if path.with_suffix("").exists():
            yield path.with_suffix("")


def compress(path: Path) -> threading.Thread:
    """Replace a full file by its compressed form, in the background. On any disk error the plain file stays."""
    thread = threading.Thread(target=_compress, args=(path,), name="journal-compression", daemon=True)
    thread.start()
    return thread


def _compress(path: Path) -> None:
    fresh = path.with_name(f".{path.name}.gz.new")
    try:
        with path.open("rb") as plain, fresh.open("wb") as raw:
            os.fchmod(raw.fileno(), path.stat().st_mode)
            with gzip.open(raw, "wb", compresslevel=_LEVEL) as packed:
                shutil.copyfileobj(plain, packed, 2**18)
            raw.flush()
            os.fsync(raw.fileno())
        fresh.replace(path.with_name(f"{path.name}.gz"))
        path.unlink(missing_ok=True)
    except OSError:
        with suppress(OSError):
            fresh.unlink(missing_ok=True)
