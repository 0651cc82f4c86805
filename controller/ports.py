"""What the loop needs of the world, as protocols. Adapters implement them; the command line wires them.

Errors: an adapter raises `TransientError` when the world could not be read or written at all. A partial answer is
no error: its readings say so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from controller.model.decision import Outcome, ScaleWrite, WeightWrite
from controller.model.fleet import Fleet
from controller.model.memory import FleetMemory
from controller.model.plan import Plan
from controller.model.snapshot import Reading, ScaleTarget, Snapshot, VariantSignals
from controller.model.weights import WeightReading
from engine.profile import Profile

VariantKey = tuple[str, str]
"""(fleet key, variant name)."""


@dataclass(frozen=True, slots=True)
class FleetSignals:
    """One fleet's signals as a source saw them; joined with replicas into a Snapshot by the loop."""

    source: str
    window_s: float
    variants: Mapping[str, VariantSignals]
    inflight: Reading
    inflight_before: Reading
    refused_rps: Reading
    source_skew_s: float | None = None
    warnings: tuple[str, ...] = ()
    vllm_family: str = ""


class FleetSource(Protocol):
    """Where fleets are declared: a file here, a CRD in a cluster."""

    def fleets(self) -> Sequence[Fleet]:
        """Every valid fleet, newest version. A fleet that turned bad keeps its last good version."""
        ...

    def problems(self) -> Mapping[str, str]:
        """What is wrong with newest versions, by fleet key, or by where it is declared if its key is not known."""
        ...


class SignalSource(Protocol):
    """Where metrics come from: Prometheus, or the replicas themselves."""

    def read(self, fleets: Sequence[Fleet], targets: Mapping[VariantKey, ScaleTarget]) -> Mapping[str, FleetSignals]:
        """Signals of all fleets, by fleet key, in a bounded number of requests and bounded time.

        Never raises for what the source does: silence, garbage and errors become readings and warnings.
        """
        ...

    def pressure(self, fleets: Sequence[Fleet]) -> Mapping[str, float]:
        """Running + waiting by fleet from the newest stored samples: one light query. Silent fleets are missing."""
        ...


class ReplicaReader(Protocol):
    """Replicas as the cluster has them."""

    def read(self, fleets: Sequence[Fleet]) -> Mapping[VariantKey, ScaleTarget]:
        """Scale targets by (fleet, variant); unreadable ones are missing. Raises TransientError if none can be read."""
        ...


class ReplicaWriter(Protocol):
    """The only way to change replicas."""

    def scale(self, write: ScaleWrite) -> Outcome:
        """Apply one absolute order against its resource version. Never raises for what the cluster answers."""
        ...


class WeightReader(Protocol):
    """Traffic weights as the mesh has them."""

    def weights(self, fleets: Sequence[Fleet]) -> Mapping[str, WeightReading]:
        """The split by fleet key; fleets without one are missing, what is wrong with a route is said in its reading.

        Raises TransientError if none can be read.
        """
        ...


class WeightWriter(Protocol):
    """The only way to move traffic."""

    def set_weights(self, write: WeightWrite) -> Outcome:
        """Apply one absolute order against its resource version. Never raises for what the mesh answers."""
        ...


class MemoryStore(Protocol):
    """What survives a crash."""

    def load(self) -> Mapping[str, FleetMemory]:
        """The last saved memories by fleet; empty when there are none. Raises PermanentError if unreadable."""
        ...

    def save(self, memories: Mapping[str, FleetMemory]) -> None:
        """Replace them atomically and durably. Raises TransientError (for instance on a full disk)."""
        ...

    def set_aside(self) -> str:
        """Keep what could not be loaded from being overwritten; where it lies now. Raises TransientError."""
        ...


@dataclass(frozen=True, slots=True)
class CycleRecord:
    """Everything about one fleet's cycle, enough to decide it again."""

    fleet: Fleet
    snapshot: Snapshot
    plan: Plan
    profiles: Mapping[str, Profile] = field(default_factory=dict)
    """The capacity priors that the plan was given, by variant name."""


class Journal(Protocol):
    """Append-only history of decisions."""

    def append(self, records: Sequence[CycleRecord], memories: Mapping[str, FleetMemory]) -> None:
        """Write one line for each record; `memories` (as they were before these records) feed a new file's checkpoint.

        Raises TransientError when the disk refuses; nothing is half-written then.
        """
        ...

    def outcomes(self, at: float, outcomes: Sequence[Outcome]) -> None:
        """Write what became of writes."""
        ...


class Board(Protocol):
    """The latest cycle of every fleet, for status, page and metrics."""

    def publish(self, records: Sequence[CycleRecord], outcomes: Sequence[Outcome], tick_s: float) -> None:
        """Replace what is shown."""
        ...
