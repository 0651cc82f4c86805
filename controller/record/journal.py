"""The journal: an append-only history of decisions in a folder of bounded size."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from threading import Thread

from controller.errors import UsageError
from controller.model.decision import Outcome
from controller.model.memory import FleetMemory
from controller.ports import CycleRecord
from controller.record.durable import disk_error, sync_folder, write_all
from controller.record.encoded import MemoryEncoder
from controller.record.journal_lines import LineState, outcome_line
from controller.record.segments import compress, leftovers, segments

SEGMENT_BYTES = 16 * 2**20
TOTAL_BYTES = 2**30


class JournalFolder:
    """`controller.ports.Journal` as files `journal-<utc>-<number>.jsonl`, compressed once they are full.

    A file is full when its lines after the checkpoint reach `segment_bytes` (16 MiB, or an eighth of the bound);
    the oldest files are deleted before all together exceed `total_bytes`. A new process begins a new file: what a
    killed one left is never touched.
    `error` is empty, or says why the last write failed.
    """

    def __init__(
        self,
        folder: Path,
        program: str,
        encoder: MemoryEncoder | None = None,
        total_bytes: int = TOTAL_BYTES,
        segment_bytes: int | None = None,
    ) -> None:
        """Take the folder for this process.

        Raises UsageError when the sizes contradict each other or another process writes to the folder, and
        TransientError when the folder cannot be written.
        """
        if segment_bytes is None:
            segment_bytes = min(SEGMENT_BYTES, total_bytes // 8)
        if not 0 < 4 * segment_bytes <= total_bytes:
            raise UsageError(
                f"the journal may hold {total_bytes} bytes in files of {segment_bytes}: allow room for four files"
            )
        self.folder = folder
        self.error = ""
        self._segment_bytes, self._total_bytes = segment_bytes, total_bytes
        self._state = LineState(program, encoder or MemoryEncoder())
        self._file: _OpenFile | None = None
        self._compression: Thread | None = None
        self._lock = _take(folder)
        for path in leftovers(folder):
            path.unlink(missing_ok=True)
        self._number = max((segment.number for segment in segments(folder)), default=0)

    def append(self, records: Sequence[CycleRecord], memories: Mapping[str, FleetMemory]) -> None:
        """Write one line for each record, all or none.

        Raises TransientError when the disk refuses. The file then ends with its last whole line, and the next
        call begins a new file with a checkpoint of its own.
        """
        if not records:
            return
        at = records[0].snapshot.at
        try:
            head = self._state.begin(at, records, memories) if self._full() else b""
            lines = self._state.lines(records, memories)
        except BaseException:
            self._abandon()
            raise
        self._write(at, head, lines)

    def outcomes(self, at: float, outcomes: Sequence[Outcome]) -> None:
        """Write what became of writes. Raises TransientError."""
        if outcomes:
            head = self._state.begin(at, (), {}) if self._file is None else b""
            self._write(at, head, b"".join(outcome_line(at, outcome) for outcome in outcomes))

    def close(self) -> None:
        """Make all that was written durable and give the folder back."""
        if self._file is not None:
            self._file.close()
            self._file = None
        if self._compression is not None:
            self._compression.join()
        os.close(self._lock)

    def _full(self) -> bool:
        """Whether a new file is due: another batch as long as the last one would not fit."""
        file = self._file
        return file is None or (file.line_bytes > 0 and file.line_bytes + file.batch_bytes > self._segment_bytes)

    def _write(self, at: float, head: bytes, lines: bytes) -> None:
        path = self.folder
        try:
            file = self._begin(at, head) if self._file is None or head else self._file
            path = file.path
            file.append(lines)
        except OSError as error:
            self._abandon()
            refusal = disk_error(error, path, "journal")
            self.error = str(refusal)
            raise refusal from error
        self.error = ""

    def _begin(self, at: float, head: bytes) -> _OpenFile:
        full, self._file = self._file, None
        if full is not None:
            full.close()
            self._compress(full.path)
        self._number += 1
        name = f"journal-{datetime.fromtimestamp(at, UTC):%Y%m%dT%H%M%SZ}-{self._number:06}.jsonl"
        self._file = _OpenFile(self.folder / name, head)
        self._bound(self._file)
        return self._file

    def _compress(self, path: Path) -> None:
        """One file at a time, so that there is never more than one half-compressed file on the disk."""
        if self._compression is not None:
            self._compression.join()
        self._compression = compress(path)

    def _bound(self, file: _OpenFile) -> None:
        """Delete the oldest files, so that `file` may grow to its full size, and be compressed, inside the bound."""
        room = self._total_bytes - file.head_bytes - 2 * self._segment_bytes
        kept = 0
        for segment in reversed(segments(self.folder)):
            if segment.path == file.path:
                continue
            kept += segment.size_bytes()
            if kept > room:
                segment.path.unlink(missing_ok=True)

    def _abandon(self) -> None:
        broken, self._file = self._file, None
        if broken is not None:
            broken.heal()


class _OpenFile:
    """The file being written. Knows how long it is as far as lines are whole."""

    def __init__(self, path: Path, head: bytes) -> None:
        self.path = path
        self.head_bytes = len(head)
        self.line_bytes = 0
        self.batch_bytes = 0
        self._handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o640)
        try:
            write_all(self._handle, head)
            sync_folder(path.parent)
        except OSError:
            os.close(self._handle)
            path.unlink(missing_ok=True)
            raise

    def append(self, lines: bytes) -> None:
        write_all(self._handle, lines)
        self.line_bytes += len(lines)
        self.batch_bytes = len(lines)

    def heal(self) -> None:
        """Cut what was written of an unfinished batch; without any whole batch, the file itself."""
        try:
            os.ftruncate(self._handle, self.head_bytes + self.line_bytes)
            if not self.line_bytes:
                self.path.unlink(missing_ok=True)
        except OSError:
            pass  # readers drop a torn last line; the disk's refusal is reported by the caller
        finally:
            os.close(self._handle)

    def close(self) -> None:
        try:
            os.fsync(self._handle)
        finally:
            os.close(self._handle)


def _take(folder: Path) -> int:
    """Lock the folder; the lock ends with the process, however it ends."""
    path = folder / ".lock"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o640)
    except OSError as error:
        raise disk_error(error, folder, "journal", "nothing was started; mend it or choose another folder") from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(handle)
        raise UsageError(
            f"another governor writes its journal to {folder}: stop it, or give this one another state folder"
        ) from error
    return handle


__all__ = ["SEGMENT_BYTES", "TOTAL_BYTES", "JournalFolder"]
