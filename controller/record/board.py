"""The latest cycle of every fleet, and a bounded history of those that someone looks at."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice

from controller.clock import Clock
from controller.model.decision import Outcome
from controller.ports import Board, CycleRecord
from controller.record.figures import Figures, figures
from controller.record.history import HISTORY_S, DecisionLog, DecisionRun, PointLog
from controller.record.totals import Totals

CHARTED_MAX = 50
"""Fleets with a full history. Above so many, only those that were looked at within the last quarter of an hour."""
DECISIONS_MAX = 200
_DECISIONS_UNWATCHED = 10
_GONE_AFTER_S = 60.0
"""A fleet without a cycle for so long is shown no more: it was removed from where fleets are declared."""


@dataclass(slots=True)
class _Seen:
    record: CycleRecord
    points: PointLog = field(default_factory=PointLog)
    decisions: DecisionLog = field(default_factory=DecisionLog)
    published: float = 0.0


@dataclass(frozen=True, slots=True)
class LastTick:
    """The last cycle: when it ended (UTC), how long it took, how long ago it ended (monotonic)."""

    at: float
    tick_s: float
    age_s: float


class StatusBoard:
    """`controller.ports.Board` in memory. Safe for one writer and any number of readers."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._fleets: dict[str, _Seen] = {}
        self._watched: dict[str, float] = {}
        self._totals = Totals()
        self._started = clock.monotonic()
        self._last: tuple[float, float, float] | None = None

    def publish(self, records: Sequence[CycleRecord], outcomes: Sequence[Outcome], tick_s: float) -> None:
        """Show these cycles. Fleets not among them stay for a minute: a woken cycle covers few of them."""
        now, at = self._clock.monotonic(), self._clock.now()
        with self._lock:
            self._last = (at, tick_s, now)
            self._totals.add(records, outcomes, tick_s)
            for record in records:
                self._show(record, [o for o in outcomes if o.write.fleet == record.fleet.key], now)
            for key in [key for key, seen in self._fleets.items() if now - seen.published > _GONE_AFTER_S]:
                del self._fleets[key]
                self._totals.forget(key)
            self._watched = {key: seen for key, seen in self._watched.items() if now - seen < HISTORY_S}

    def _show(self, record: CycleRecord, outcomes: Sequence[Outcome], now: float) -> None:
        key = record.fleet.key
        seen = self._fleets.setdefault(key, _Seen(record))
        seen.record, seen.published = record, now
        charted = len(self._fleets) <= CHARTED_MAX or key in self._watched
        if charted:
            seen.points.add(figures(record))
        seen.decisions.add(record.plan.decision, outcomes, DECISIONS_MAX if charted else _DECISIONS_UNWATCHED)

    def records(self) -> list[CycleRecord]:
        """The latest cycle of every fleet, by fleet."""
        with self._lock:
            return [self._fleets[key].record for key in sorted(self._fleets)]

    def record(self, fleet: str) -> CycleRecord | None:
        """The latest cycle of one fleet."""
        with self._lock:
            seen = self._fleets.get(fleet)
            return seen.record if seen is not None else None

    def history(self, fleet: str, since: float = 0.0) -> list[Figures]:
        """Figures after `since` (UTC seconds), oldest first, and from now on, as long as someone asks for them."""
        with self._lock:
            seen = self._fleets.get(fleet)
            if seen is None:
                return []
            self._watch(fleet)
            return seen.points.since(since)

    def decisions(self, fleet: str, limit: int) -> list[DecisionRun]:
        """The last decisions, newest first, equal holds folded."""
        with self._lock:
            seen = self._fleets.get(fleet)
            return list(islice(seen.decisions.newest_first(), limit)) if seen is not None else []

    @contextmanager
    def totals(self) -> Iterator[Totals]:
        """The counts, not to be kept or changed, while no cycle is published."""
        with self._lock:
            yield self._totals

    def last_tick(self) -> LastTick | None:
        """The last cycle; None before the first."""
        with self._lock:
            if self._last is None:
                return None
            at, tick_s, ended = self._last
            return LastTick(at, tick_s, self._clock.monotonic() - ended)

    def age_s(self) -> float:
        """Seconds since the board was made: since the daemon started."""
        return self._clock.monotonic() - self._started

    def _watch(self, fleet: str) -> None:
        self._watched[fleet] = self._clock.monotonic()
        while len(self._watched) > CHARTED_MAX:
            del self._watched[min(self._watched, key=self._watched.__getitem__)]


class Boards:
    """Several boards as one."""

    def __init__(self, *boards: Board) -> None:
        self._boards = boards

    def publish(self, records: Sequence[CycleRecord], outcomes: Sequence[Outcome], tick_s: float) -> None:
        """Show these cycles on each."""
        for board in self._boards:
            board.publish(records, outcomes, tick_s)
