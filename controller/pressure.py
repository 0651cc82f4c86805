"""Which fleets' load jumps: the light query's samples against the minute before. In-process, no I/O."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise

Sample = tuple[float, float]
"""(seconds, requests running and waiting)"""

_RISE_S = 6.0
"""The newest seconds are left out of the comparison: a rise must not hide itself."""
_RECENT_S = 8.0
_MARGIN = 2.0
"""Requests above the usual, besides the ratio: one request more than none is no jump."""
_REST_S = 2.0
"""Between two woken cycles of one fleet: newer samples are rarely there sooner."""


class PressureWatch:
    """Keeps each fleet's samples of one look-back window."""

    def __init__(self, ratio: float, window_s: float, scrape_interval_s: float) -> None:
        self._ratio = ratio
        self._window_s = window_s
        self._scrape_interval_s = scrape_interval_s
        self._samples: dict[str, deque[Sample]] = {}
        self._woken_at: dict[str, float] = {}
        self._lock = threading.Lock()

    def observe(self, pressure: Mapping[str, float], now_s: float) -> set[str]:
        """Take in one answer of the light query; the keys of fleets whose load jumps.

        `now_s` is monotonic. A fleet jumps when running + waiting exceeds `ratio` times its most within the window
        before the present rise. Fleets without history do not jump: the next full cycle sees them.
        """
        with self._lock:
            for gone in self._samples.keys() - pressure.keys():
                del self._samples[gone]
            return {key for key, value in pressure.items() if self._jumps(key, value, now_s)}

    def woken(self, keys: Iterable[str], now_s: float) -> None:
        """These fleets get a cycle now, and rest before the next. One that jumps and gets none goes on jumping."""
        with self._lock:
            self._woken_at.update(dict.fromkeys(keys, now_s))

    def _jumps(self, key: str, value: float, now_s: float) -> bool:
        samples = self._samples.setdefault(key, deque())
        while samples and samples[0][0] < now_s - self._window_s:
            samples.popleft()
        earlier = [v for at, v in samples if at <= now_s - _RISE_S]
        samples.append((now_s, value))
        rested = now_s - self._woken_at.get(key, -_REST_S) >= _REST_S
        most = max(earlier, default=value)
        return rested and value > self._ratio * most and value > most + _MARGIN

    def recent(self, key: str, now_s: float) -> tuple[Sample, ...]:
        """How the load of a fleet that has just jumped came about: (seconds ago, value), oldest first.

        One sample for each value of the newest seconds, and the one before them, at the time at which it was stored
        as nearly as is known.
        """
        with self._lock:
            if now_s - self._woken_at.get(key, -_RECENT_S) >= _RECENT_S:
                return ()
            stored = list(self._stored(tuple(self._samples.get(key, ()))))
        older = sum(at < now_s - _RECENT_S for at, _ in stored)
        return tuple((round(now_s - at, 3), value) for at, value in stored[max(0, older - 1) :])

    def _stored(self, seen: Sequence[Sample]) -> Iterator[Sample]:
        """When each value was stored: where first seen, but the last time a scrape before the next value was."""
        changes = [*seen[:1], *(after for before, after in pairwise(seen) if after[1] != before[1])]
        for (at, value), (next_at, _) in pairwise(changes):
            yield max(at, next_at - self._scrape_interval_s), value
        yield from changes[-1:]
