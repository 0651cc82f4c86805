"""What the daemon needs of the place where its fleets run: a local stack, or a cluster."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from controller.model.fleet import Fleet
from controller.ports import (
    Board,
    FleetSource,
    MemoryStore,
    ReplicaReader,
    ReplicaWriter,
    WeightReader,
    WeightWriter,
)
from engine.profile import Profile

MEMORY_NAME = "memory.json"
"""Of what is remembered in a folder."""


@dataclass(frozen=True, slots=True)
class ClusterOptions:
    """Which cluster, and as whom."""

    kubeconfig: Path | None = None
    context: str | None = None
    namespace: str = ""
    """Only this namespace's fleets; empty: those of all."""
    own_namespace: str = ""
    """Where lease and memory live; empty: where the pod runs."""
    lease_name: str = "vllm-governor"


def _nothing() -> None:
    """Nothing to begin, or to end."""


def _alone() -> bool:
    """No other instance is there."""
    return True


def _first() -> int:
    """The only term that there is."""
    return 0


@dataclass(frozen=True, slots=True)
class Place:
    """Adapters of one place. Writers are ungated; the gate is built around them."""

    fleets: FleetSource
    profiles: Callable[[Fleet], Mapping[str, Profile]]
    reader: ReplicaReader
    writer: ReplicaWriter
    weights: WeightReader
    weight_writer: WeightWriter
    store: MemoryStore
    memory_error: Callable[[], str]
    """Why memories are not saved; empty when they are."""
    boards: Sequence[Board] = ()
    """Who else shows each cycle."""
    leading: Callable[[], bool] = _alone
    """Whether this instance may write, at this moment."""
    term: Callable[[], int] = _first
    """A number that changes when another instance has led meanwhile."""
    start: Callable[[], None] = _nothing
    """Begin to watch. Raises UsageError or TransientError where that is hopeless."""
    close: Callable[[], None] = _nothing
    """End what was begun; give leadership back last."""
