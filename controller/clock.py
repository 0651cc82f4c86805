"""Time at the edge. Pure code never sees a clock: it is handed `now`."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Wall time for what is persisted or compared with others; monotonic time for intervals inside the process."""

    def now(self) -> float:
        """UTC seconds since the epoch."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go backwards."""
        ...


class SystemClock:
    """The machine's clock, optionally off by a constant (to test that nothing depends on its being right)."""

    def __init__(self, offset_s: float = 0.0) -> None:
        self._offset_s = offset_s

    def now(self) -> float:
        """UTC seconds since the epoch."""
        return time.time() + self._offset_s

    def monotonic(self) -> float:
        """Seconds that never go backwards."""
        return time.monotonic()
