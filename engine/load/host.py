"""How busy the machine was, and whether the generator itself was late: a late generator measures itself.

The lag is that of a 20 ms timer in the event loop that also sends and receives.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter

import psutil

TICK_S = 0.02


class LagHistogram:
    """Lags in buckets of a millisecond: bounded memory, quantiles to the upper edge of a bucket."""

    def __init__(self) -> None:
        self._counts: Counter[int] = Counter()

    def add(self, lag_s: float) -> None:
        """Count one firing; more than 60 s counts as 60 s."""
        self._counts[min(60_000, int(max(0.0, lag_s) * 1000))] += 1

    def quantile_s(self, share: float) -> float:
        """The upper edge of the bucket that holds the quantile; 0 before the first firing."""
        left = share * self._counts.total()
        for bucket in sorted(self._counts):
            left -= self._counts[bucket]
            if left <= 0:
                return (bucket + 1) / 1000
        return 0.0


class HostProbe:
    """Run `watch` as a task beside the load."""

    def __init__(self) -> None:
        self._lags = LagHistogram()
        self._process = psutil.Process()
        self._began = self._machine_times()
        self._cpu_before_s = self._own_cpu_s()

    async def watch(self) -> None:
        """Measure until cancelled."""
        while True:
            due = time.monotonic() + TICK_S
            await asyncio.sleep(TICK_S)
            self._lags.add(time.monotonic() - due)

    @property
    def loop_lag_p99_s(self) -> float:
        """99th percentile of the timer's lateness since the start."""
        return self._lags.quantile_s(0.99)

    @property
    def cpu_ratio(self) -> float:
        """Busy share of all cores since the start."""
        busy, total = (now - then for now, then in zip(self._machine_times(), self._began, strict=True))
        return round(min(1.0, busy / total), 4) if total > 0 else 0.0

    @property
    def client_cpu_s(self) -> float:
        """CPU seconds of this process since the start."""
        return self._own_cpu_s() - self._cpu_before_s

    def _own_cpu_s(self) -> float:
        times = self._process.cpu_times()
        return float(times.user + times.system)

    @staticmethod
    def _machine_times() -> tuple[float, float]:
        times = psutil.cpu_times()
        idle = times.idle + getattr(times, "iowait", 0.0)
        # Guest time is contained in user time.
        total = sum(times) - getattr(times, "guest", 0.0) - getattr(times, "guest_nice", 0.0)
        return total - idle, total
