"""Journals as the tests read them: what was decided when, on which readings, with which writes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from controller.model.decision import Condition, Decision, Outcome, ScaleWrite
from controller.model.snapshot import Freshness, Reading, Snapshot
from controller.record.journal_reader import read


@dataclass(frozen=True, slots=True)
class Cycle:
    """One journalled cycle of a fleet."""

    at: float
    snapshot: Snapshot
    decision: Decision
    writes: tuple[ScaleWrite, ...]

    @property
    def reductions(self) -> tuple[ScaleWrite, ...]:
        return tuple(write for write in self.writes if write.replicas < write.current)

    @property
    def readings(self) -> dict[str, Reading]:
        """What every reduction needs of the first variant, by name."""
        signals = self.snapshot.variants[0].signals
        names = ("engines", "running", "waiting", "finished_rps", "first_token_rps", "prefill_tps", "decode_tps")
        return {name: getattr(signals, name) for name in names}

    @property
    def fresh(self) -> bool:
        """Whether all of them, and the answer as a whole, may be trusted for a reduction."""
        return not self.snapshot.warnings and all(r.freshness is Freshness.FRESH for r in self.readings.values())

    @property
    def metrics(self) -> Condition:
        return self.condition("MetricsAvailable")

    def condition(self, kind: str) -> Condition:
        return next(c for c in self.decision.conditions if c.type == kind)

    @property
    def based_on_readings(self) -> bool:
        """Whether the replicas had said anything of use."""
        return self.readings["running"].usable is not None

    @property
    def desired(self) -> int:
        target = self.snapshot.variants[0].target
        assert target is not None
        return target.desired

    @property
    def ready(self) -> int:
        target = self.snapshot.variants[0].target
        assert target is not None
        return target.ready


def cycles(journal: Path, since: float = 0.0) -> list[Cycle]:
    """Every cycle in a folder from `since` (UTC seconds by the daemon's clock) on; none while there is no file."""
    if not any(journal.glob("journal-*")):
        return []
    entries = (entry for entry in read(journal) if entry.kind == "cycle" and entry.at >= since)
    return [Cycle(entry.at, entry.snapshot, entry.decision, entry.writes) for entry in entries]


def outcomes(journal: Path) -> list[Outcome]:
    """What became of every write."""
    return [entry.outcome for entry in read(journal) if entry.kind == "outcome"]


def writes(found: Iterable[Cycle]) -> list[tuple[int, int]]:
    """(before, after) of every write, in order."""
    return [(write.current, write.replicas) for cycle in found for write in cycle.writes]
