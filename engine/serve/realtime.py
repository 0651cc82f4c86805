"""Drives a model of a replica in real time: its virtual clock follows the machine's."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Iterable
from typing import Protocol

from engine.sim.interface import EngineModel, EngineSnapshot, Finished, Request, StepEvents

BUSY_WINDOW_S = 1.0


class Sink(Protocol):
    """Where the tokens of one sequence go. Called from the event loop; must not block."""

    def token(self) -> None:
        """One token that is not the last."""
        ...

    def finish(self, end: Finished) -> None:
        """The last token."""
        ...


class RealTimeEngine:
    """One engine serving in real time. When the loop lags, the steps that are due are delivered at once, in order."""

    def __init__(self, model: EngineModel, loop: asyncio.AbstractEventLoop) -> None:
        self._model = model
        self._loop = loop
        self._origin_s = time.monotonic()
        self._timer: asyncio.TimerHandle | None = None
        self._due: float | None = None
        self._sinks: dict[str, Sink] = {}
        self._busy_sample = (0.0, 0.0)
        self._busy_ratio = 0.0

    def submit(self, request: Request, sink: Sink) -> None:
        """Start generating; `sink` gets every token. Raises ValueError for what the model refuses."""
        now = self._catch_up()
        self._model.submit(request, now)
        self._sinks[request.id] = sink
        self._arm()

    def abort(self, request_id: str) -> None:
        """Stop generating; unknown ids pass."""
        if self._sinks.pop(request_id, None) is not None:
            self._model.abort(request_id, self._catch_up())
            self._arm()

    def snapshot(self) -> EngineSnapshot:
        """Gauges and counters now."""
        self._catch_up()
        self._arm()
        return self._model.snapshot()

    def busy_ratio(self, snapshot: EngineSnapshot) -> float:
        """Share of time in steps since it was asked before, at least a second long."""
        before_at, before_s = self._busy_sample
        if snapshot.at - before_at >= BUSY_WINDOW_S:
            self._busy_ratio = (snapshot.busy_s - before_s) / (snapshot.at - before_at)
            self._busy_sample = (snapshot.at, snapshot.busy_s)
        return self._busy_ratio

    def close(self) -> None:
        """Stop the clock."""
        if self._timer is not None:
            self._timer.cancel()

    def _tick(self) -> None:
        self._due = None
        self._catch_up()
        self._arm()

    def _catch_up(self) -> float:
        now = time.monotonic() - self._origin_s
        self._deliver(self._model.advance_to(now))
        return now

    def _arm(self) -> None:
        """Wake at the next event, rounded up to the loop's millisecond: never early, for that would spin."""
        due = self._model.next_event_at()
        if due == self._due:
            return
        self.close()
        self._due = due
        if due is not None:
            delay_s = max(0.0, due + self._origin_s - time.monotonic())
            self._timer = self._loop.call_later(math.ceil(delay_s * 1000) / 1000, self._tick)

    def _deliver(self, steps: Iterable[StepEvents]) -> None:
        """Hand out tokens: the hot path."""
        sinks = self._sinks
        for step in steps:
            ends = {end.id: end for end in step.finished}
            for name in step.tokens:
                if name in ends:
                    sink = sinks.pop(name, None)
                    if sink is not None:
                        sink.finish(ends[name])
                elif name in sinks:
                    sinks[name].token()
