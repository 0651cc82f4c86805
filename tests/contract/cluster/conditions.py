"""Waiting for what threads bring about, in bounded time."""

from __future__ import annotations

import time
from collections.abc import Callable

from controller.cluster.cache import Pace

PATIENCE_S = 10.0
FAST = Pace(watch_s=30.0, retry_s=0.02, retry_most_s=0.1, absent_s=0.1, page=3)


def eventually(holds: Callable[[], object], patience_s: float = PATIENCE_S) -> None:
    """Wait until it holds. AssertionError where it never does."""
    until = time.monotonic() + patience_s
    while not holds():
        assert time.monotonic() < until, "it never came to hold"
        time.sleep(0.005)
