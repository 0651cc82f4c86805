"""What the load looks like right now: one JSON line a second, for a table or a chart."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from engine.load.quantiles import quantile
from engine.load.records import JudgedObjectives, RequestRecord, Status

WINDOW_S = 30.0
RATE_WINDOW_S = 5


@dataclass(frozen=True, slots=True)
class Stats:
    """Totals, and a window of the last 30 s of settled requests; rates are means of the last 5 s.

    Open requests whose first token is late already count in the window as misses with the time waited so far, or a
    stalled fleet would look well. Ratios and percentiles are None where nothing was counted.
    """

    at: float
    elapsed_s: float
    requests: int
    inflight: int
    failed: int
    truncated: int
    offered_rps: float
    output_tps: float
    attainment_ratio: float | None
    window_attainment_ratio: float | None
    ttft_p95_s: float | None
    tpot_p95_s: float | None
    loop_lag_p99_s: float
    cpu_ratio: float


@dataclass(frozen=True, slots=True)
class Latencies:
    """The window's figures."""

    attainment_ratio: float | None
    ttft_p95_s: float | None
    tpot_p95_s: float | None


class LiveWindow:
    """Counts settled requests: totals for ever, latencies for the last 30 s."""

    def __init__(self, objectives: JudgedObjectives) -> None:
        self._objectives = objectives
        self._recent: deque[tuple[float, RequestRecord]] = deque()
        self._seconds: deque[tuple[int, int]] = deque(maxlen=RATE_WINDOW_S + 1)
        self._settled = 0
        self._inside = 0
        self.failed = 0
        self.truncated = 0

    def settle(self, at_s: float, record: RequestRecord) -> None:
        """A request was settled at this monotonic time."""
        self._recent.append((at_s, record))
        self._settled += 1
        self._inside += record.inside(self._objectives)
        self.failed += record.status is Status.FAILED
        self.truncated += record.status is Status.TRUNCATED

    def second(self, sent: int, tokens: int) -> tuple[float, float]:
        """Once a second with totals: requests/s and output tokens/s of the last seconds."""
        self._seconds.append((sent, tokens))
        span_s = len(self._seconds) - 1
        if span_s < 1:
            return float(sent), float(tokens)
        before = self._seconds[0]
        return (sent - before[0]) / span_s, (tokens - before[1]) / span_s

    @property
    def attainment_ratio(self) -> float | None:
        """Share of all settled requests inside their objectives."""
        return self._inside / self._settled if self._settled else None

    def latencies(self, now_s: float, waiting_s: Iterable[float]) -> Latencies:
        """The window's figures; `waiting_s`: how long open requests without a first token have waited."""
        while self._recent and self._recent[0][0] < now_s - WINDOW_S:
            self._recent.popleft()
        late = [waited for waited in waiting_s if waited > self._objectives.ttft_s]
        records = [record for _, record in self._recent]
        counted = len(records) + len(late)
        inside = sum(record.inside(self._objectives) for record in records)
        ttfts = late + [r.first_token_s for r in records if r.first_token_s is not None]
        tpots = [tpot for r in records if (tpot := r.tpot_s) is not None]
        return Latencies(inside / counted if counted else None, quantile(ttfts, 0.95), quantile(tpots, 0.95))
