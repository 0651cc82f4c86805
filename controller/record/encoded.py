"""Memories as JSON, encoded once although both the memory file and the journal need the text."""

from __future__ import annotations

from hashlib import blake2b
from typing import NamedTuple

from controller.model.codec import to_json
from controller.model.memory import FleetMemory


class Encoded(NamedTuple):
    """One memory, its JSON and the digest of that JSON."""

    memory: FleetMemory
    text: bytes
    digest: str


def digest_of(text: bytes) -> str:
    """16 bytes of BLAKE2b in hexadecimal: equal texts, equal digests."""
    return blake2b(text, digest_size=16).hexdigest()


class MemoryEncoder:
    """Encodes memories and keeps the last text of each fleet.

    Not safe for several threads at once: one tick uses it from one thread.
    """

    def __init__(self) -> None:
        self._last: dict[str, Encoded] = {}

    def encode(self, memory: FleetMemory) -> Encoded:
        """JSON and digest; without work when this very value was the fleet's last one."""
        last = self._last.get(memory.fleet)
        if last is not None and last.memory is memory:
            return last
        text = to_json(memory)
        encoded = Encoded(memory, text, digest_of(text))
        self._last[memory.fleet] = encoded
        return encoded

    def keep_only(self, fleets: set[str]) -> None:
        """Forget fleets that are gone."""
        for fleet in self._last.keys() - fleets:
            del self._last[fleet]
