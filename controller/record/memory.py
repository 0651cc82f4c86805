"""The memory file: every fleet's memory in one versioned JSON file, replaced atomically at each cycle."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import structlog
from pydantic import ValidationError

from controller.errors import PermanentError
from controller.model.codec import from_plain
from controller.model.memory import MEMORY_VERSION, FleetMemory
from controller.record.durable import disk_error, replace_file
from controller.record.encoded import MemoryEncoder

_KIND = "governor-memory"
_log = structlog.get_logger("governor")


class _DamagedError(Exception):
    """The file is not what was written."""


class MemoryFile:
    """`controller.ports.MemoryStore` on a file, with the save before it kept as `<name>.1`.

    `note` is empty, or says after `load` that and why an older copy was used. `error` is empty, or says why the last
    save failed.
    """

    def __init__(self, path: Path, encoder: MemoryEncoder | None = None) -> None:
        self.path = path
        self.previous = path.with_name(f"{path.name}.1")
        self.note = ""
        self.error = ""
        self._encoder = encoder or MemoryEncoder()

    def load(self) -> Mapping[str, FleetMemory]:
        """The last saved memories by fleet; empty when there is no file.

        A damaged file is replaced by the copy of the save before it, and `note` says so. Raises PermanentError when
        both are damaged, when the file is of a newer version, or when it cannot be read.
        """
        self.note = ""
        try:
            return self._read(self.path)
        except _DamagedError as damage:
            return self._load_previous(str(damage))

    def save(self, memories: Mapping[str, FleetMemory]) -> None:
        """Replace the file atomically and durably. Raises TransientError; the last save then still stands."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            replace_file(self.path, self._encode(memories), keep=self.previous)
        except OSError as error:
            refusal = disk_error(error, self.path, "memory")
            self.error = str(refusal)
            raise refusal from error
        self.error = ""

    def set_aside(self) -> str:
        """Move an unreadable file out of the way, so that the daemon may go on with empty memory.

        Returns where it lies now. Raises TransientError.
        """
        aside = next(path for n in range(1, 1_000_000) if not (path := self._aside(n)).exists())
        try:
            self.path.replace(aside)
            self.previous.unlink(missing_ok=True)
        except OSError as error:
            raise disk_error(error, aside, "damaged memory") from error
        return str(aside)

    def _aside(self, number: int) -> Path:
        return self.path.with_name(f"{self.path.name}.unreadable-{number}")

    def _encode(self, memories: Mapping[str, FleetMemory]) -> bytes:
        self._encoder.keep_only(set(memories))
        parts = [json.dumps(key).encode() + b":" + self._encoder.encode(memories[key]).text for key in sorted(memories)]
        fleets = b"{" + b",\n".join(parts) + b"}"
        head = f'{{"kind":"{_KIND}","version":{MEMORY_VERSION},"crc32":{zlib.crc32(fleets)},"fleets":\n'
        return head.encode() + fleets + b"}\n"

    def _load_previous(self, damage: str) -> Mapping[str, FleetMemory]:
        try:
            if self.previous.exists():
                memories = self._read(self.previous)
                self.note = f"{damage}; the copy from the save before it, {self.previous}, was used instead"
                _log.warning("older memory used", why=self.note)
                return memories
        except _DamagedError:
            pass
        raise PermanentError(
            f"{damage}, and there is no good copy {self.previous}: restore it from a backup, or move it away to start"
            " with empty memory (safe: the daemon then holds until its look-back windows are full again)"
        )

    def _read(self, path: Path) -> Mapping[str, FleetMemory]:
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise PermanentError(
                f"cannot read the memory file {path}: {error.strerror}; make it readable for this user, or move it away"
            ) from error
        return _memories(content, path)


def _memories(content: bytes, path: Path) -> Mapping[str, FleetMemory]:
    plain = _plain(content, path)
    version = plain.get("version")
    if isinstance(version, int) and version > MEMORY_VERSION:
        raise PermanentError(
            f"the memory file {path} is of version {version}, this program knows up to {MEMORY_VERSION}: run the newer"
            " program again, or move the file away to start with empty memory"
        )
    if zlib.crc32(_fleets_part(content)) != plain.get("crc32"):
        raise _DamagedError(f"the memory file {path} was damaged or edited: its checksum does not match")
    try:
        return {key: from_plain(FleetMemory, value) for key, value in plain["fleets"].items()}
    except ValidationError as error:
        raise _DamagedError(f"the memory file {path} holds a value that does not fit: {_first(error)}") from error


def _plain(content: bytes, path: Path) -> dict[str, Any]:
    try:
        plain = json.loads(content)
    except ValueError as error:
        raise _DamagedError(f"the memory file {path} is damaged: {error}") from error
    if not isinstance(plain, dict) or plain.get("kind") != _KIND or not isinstance(plain.get("fleets"), dict):
        raise _DamagedError(f"the file {path} is not a memory file of governor")
    return plain


def _fleets_part(content: bytes) -> bytes:
    """The bytes under the checksum: between the first line and the closing brace."""
    return content[content.find(b"\n") + 1 :].removesuffix(b"}\n")


def _first(error: ValidationError) -> str:
    problem = error.errors()[0]
    return f"{'.'.join(str(part) for part in problem['loc'])}: {problem['msg']}"
