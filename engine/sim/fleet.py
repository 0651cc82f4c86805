"""A fleet of replicas behind a least-request balancer, all on one virtual clock."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from engine.sim.card import Card
from engine.sim.interface import EngineModel, EngineSnapshot, Request, StepEvents
from engine.sim.replica import Replica


class Phase(StrEnum):
    """Where a simulated replica is in its life."""

    STARTING = "Starting"
    READY = "Ready"
    DRAINING = "Draining"


@dataclass(frozen=True, slots=True)
class Arrival:
    """A request and when it comes."""

    at: float
    request: Request


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one request. Latencies are None where there was no answer."""

    id: str
    arrived_at: float
    replica: str
    """Empty when no replica was ready."""
    error: str = ""
    """Empty, "refused" (no replica was ready) or "lost" (its replica was killed)."""
    ttft_s: float | None = None
    tpot_s: float | None = None
    e2e_s: float | None = None
    output_tokens: int = 0

    def within(self, ttft_s: float, tpot_s: float) -> bool:
        """Answered, and inside both objectives."""
        return self.ttft_s is not None and self.tpot_s is not None and self.ttft_s <= ttft_s and self.tpot_s <= tpot_s


@dataclass(frozen=True, slots=True)
class ReplicaView:
    """One replica as a cluster would show it. `inflight` is what the balancer counts."""

    name: str
    phase: Phase
    created_at: float
    ready_at: float
    inflight: int


@dataclass(slots=True)
class _Member:
    name: str
    created_at: float
    ready_at: float
    model: EngineModel
    arrivals: dict[str, float]
    draining: bool = False

    def phase(self, now: float) -> Phase:
        if self.draining:
            return Phase.DRAINING
        return Phase.READY if now >= self.ready_at else Phase.STARTING


MakeModel = Callable[[Card, str, float], EngineModel]
"""Builds a model from card, seed and the time its clock starts at."""


class SimFleet:
    """Replicas of one card, born, drained and killed at will, with requests routed to the least loaded.

    Ties go to the replica that was chosen longest ago. The same card, seed and calls give the same results.
    """

    def __init__(self, card: Card, seed: int | str, start_at: float = 0.0, make_model: MakeModel = Replica) -> None:
        self._card = card
        self._seed = seed
        self._make_model = make_model
        self._now = start_at
        self._members: dict[str, _Member] = {}
        self._born = 0
        self._turn = 0
        self._chosen: dict[str, int] = {}
        self._offered: list[tuple[float, int, Request]] = []
        self._offers = 0
        self._stream: Iterator[Arrival] = iter(())
        self._next: Arrival | None = None
        self._refused = 0
        self._results: list[Result] = []

    @property
    def now(self) -> float:
        """The virtual clock."""
        return self._now

    @property
    def refused(self) -> int:
        """Requests turned away because no replica was ready: the proxy's counter."""
        return self._refused

    def add_replica(self, ready_at: float | None = None) -> str:
        """A replica is born now and takes requests from `ready_at` on (default: now). Returns its name."""
        name = f"replica-{self._born}"
        self._born += 1
        ready = self._now if ready_at is None else max(ready_at, self._now)
        model = self._make_model(self._card, f"{self._seed}/{name}", self._now)
        self._members[name] = _Member(name, self._now, ready, model, {})
        return name

    def drain(self, name: str) -> None:
        """Route nothing more to it; it leaves when its requests have ended. Raises KeyError."""
        self._members[name].draining = True
        self._retire(self._members[name])

    def kill(self, name: str) -> None:
        """It dies at once, and what it was answering is lost. Raises KeyError."""
        member = self._members.pop(name)
        self._results += [Result(i, at, name, error="lost") for i, at in member.arrivals.items()]

    def offer(self, request: Request, at: float | None = None) -> None:
        """A request arrives at `at` (default: now). Raises ValueError for a time before the clock."""
        when = self._now if at is None else at
        if when < self._now:
            raise ValueError(f"the clock stands at {self._now}: nothing can arrive at {when}")
        self._offers += 1
        heapq.heappush(self._offered, (when, self._offers, request))

    def follow(self, arrivals: Iterable[Arrival]) -> None:
        """Take arrivals, in order of time, from an iterable that may be endless; it replaces the one before."""
        self._stream = iter(arrivals)
        self._next = next(self._stream, None)

    def advance_to(self, t: float) -> None:
        """Run everything up to `t`."""
        while (at := self._next_arrival_at()) is not None and at <= t:
            self._run_replicas(at)
            self._route(self._take_arrival(), at)
        self._run_replicas(t)

    def replicas(self) -> tuple[ReplicaView, ...]:
        """All replicas that exist, oldest first."""
        return tuple(
            ReplicaView(m.name, m.phase(self._now), m.created_at, m.ready_at, len(m.arrivals))
            for m in self._members.values()
        )

    def pages(self) -> Mapping[str, EngineSnapshot]:
        """What each replica's /metrics says now; a starting replica does not listen yet."""
        return {m.name: m.model.snapshot() for m in self._members.values() if m.phase(self._now) is not Phase.STARTING}

    def results(self) -> tuple[Result, ...]:
        """All requests that ended, in the order they did."""
        return tuple(self._results)

    def _next_arrival_at(self) -> float | None:
        times = [self._offered[0][0]] if self._offered else []
        if self._next is not None:
            times.append(max(self._next.at, self._now))
        return min(times, default=None)

    def _take_arrival(self) -> Request:
        if self._next is not None and (not self._offered or self._next.at <= self._offered[0][0]):
            request, self._next = self._next.request, next(self._stream, None)
            return request
        return heapq.heappop(self._offered)[2]

    def _run_replicas(self, t: float) -> None:
        for member in list(self._members.values()):
            events = member.model.advance_to(t)
            if events:
                self._collect(member, events)
        self._now = t

    def _collect(self, member: _Member, events: Iterable[StepEvents]) -> None:
        for step in events:
            for end in step.finished:
                arrived_at = member.arrivals.pop(end.id)
                self._results.append(
                    Result(
                        id=end.id,
                        arrived_at=arrived_at,
                        replica=member.name,
                        ttft_s=end.ttft_s,
                        tpot_s=end.tpot_s,
                        e2e_s=end.e2e_s,
                        output_tokens=end.output_tokens,
                    )
                )
        self._retire(member)

    def _retire(self, member: _Member) -> None:
        if member.draining and not member.arrivals:
            del self._members[member.name]

    def _route(self, request: Request, at: float) -> None:
        ready = [m for m in self._members.values() if m.phase(at) is Phase.READY]
        if not ready:
            self._refused += 1
            self._results.append(Result(request.id, at, "", error="refused"))
            return
        member = min(ready, key=lambda m: (len(m.arrivals), self._chosen.get(m.name, 0)))
        self._turn += 1
        self._chosen[member.name] = self._turn
        member.arrivals[request.id] = at
        member.model.submit(request, at)
