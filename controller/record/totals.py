"""Counts since the daemon's start, for its counters and histograms."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from controller.metrics import COLD_START, TICK_DURATION
from controller.model.decision import Outcome, ScaleWrite
from controller.model.memory import FleetMemory
from controller.ports import CycleRecord, VariantKey


@dataclass(slots=True)
class Tally:
    """A histogram: observations by bucket (not cumulative, the last one is above every edge), and their sum."""

    edges: tuple[float, ...]
    counts: list[int] = field(default_factory=list)
    total: float = 0.0

    def __post_init__(self) -> None:
        self.counts = self.counts or [0] * (len(self.edges) + 1)

    def add(self, value: float) -> None:
        """Count one observation."""
        self.counts[bisect_left(self.edges, value)] += 1
        self.total += value

    def cumulative(self) -> list[tuple[str, float]]:
        """Prometheus's buckets: how many observations were at most each edge."""
        seen, found = 0, []
        for edge, count in zip((*map(str, self.edges), "+Inf"), self.counts, strict=True):
            seen += count
            found.append((edge, float(seen)))
        return found


class Totals:
    """All counts. Not safe for several threads at once: the board holds its lock."""

    def __init__(self) -> None:
        self.ticks = 0
        self.tick_s = Tally(TICK_DURATION.buckets)
        self.decisions: Counter[tuple[str, str, str]] = Counter()
        self.writes: Counter[tuple[str, str, str]] = Counter()
        self.cold_starts: dict[VariantKey, Tally] = {}
        self._known: dict[VariantKey, tuple[float, ...]] = {}

    def add(self, records: Sequence[CycleRecord], outcomes: Sequence[Outcome], tick_s: float) -> None:
        """Count one cycle."""
        self.ticks += 1
        self.tick_s.add(tick_s)
        for record in records:
            decision = record.plan.decision
            self.decisions[decision.fleet, decision.action.value, decision.reason.value] += 1
            self._count_starts(record.plan.memory)
        for outcome in outcomes:
            # An order to move traffic is of no variant.
            variant = outcome.write.variant if isinstance(outcome.write, ScaleWrite) else ""
            self.writes[outcome.write.fleet, variant, outcome.status.value] += 1

    def forget(self, fleet: str) -> None:
        """Drop the counts of a fleet that is gone."""
        for counter in (self.decisions, self.writes):
            for key in [key for key in counter if key[0] == fleet]:
                del counter[key]
        for tallies in (self.cold_starts, self._known):
            for pair in [pair for pair in tallies if pair[0] == fleet]:
                tallies.pop(pair)

    def _count_starts(self, memory: FleetMemory) -> None:
        for variant in memory.variants:
            key, measured = (memory.fleet, variant.name), variant.cold_starts_s
            known = self._known.get(key)
            if known is measured:
                continue
            if known is not None and known != measured:
                for value in _new(known, measured):
                    self.cold_starts.setdefault(key, Tally(COLD_START.buckets)).add(value)
            self._known[key] = measured


def _new(known: tuple[float, ...], measured: tuple[float, ...]) -> tuple[float, ...]:
    """What was appended to a list that drops its oldest entries: the shortest tail that explains the change."""
    for dropped in range(len(known) + 1):
        kept = known[dropped:]
        if measured[: len(kept)] == kept:
            return measured[len(kept) :]
    return measured
