"""What tests of memory in the cluster share: a clock that they move, memories, and stores that are closed again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from controller.model.decision import ScaleWrite
from controller.model.memory import DemandPoint, FleetMemory, VariantMemory
from controller.record.cluster_memory import ClusterMemory
from controller.record.memory_object import name_of
from tests.contract.cluster.object_server import ObjectServer

NAMESPACE = "governor"
MAPS = f"/api/v1/namespaces/{NAMESPACE}/configmaps"
KEY = "llm/llama-8b"
PATH = f"{MAPS}/{name_of(KEY)}"
ORDER = ScaleWrite(KEY, "v1", 1, 3, "7")


class SteppedClock:
    """Stands still until a test moves it."""

    def __init__(self) -> None:
        self.at = 1000.0

    def now(self) -> float:
        return 1_800_000_000.0 + self.at

    def monotonic(self) -> float:
        return self.at


@contextmanager
def stores(server: ObjectServer, clock: SteppedClock) -> Iterator[Callable[..., ClusterMemory]]:
    """Makes stores, as many instances of the daemon have them."""
    made: list[ClusterMemory] = []

    def new(**more: Any) -> ClusterMemory:
        made.append(ClusterMemory(server.client(timeout_s=more.pop("timeout_s", 5.0)), NAMESPACE, clock, **more))
        return made[-1]

    yield new
    for store in made:
        store.close()


def a_memory(key: str = KEY, arrival_rps: float = 1.0, *intent: ScaleWrite) -> FleetMemory:
    learned = VariantMemory("v1", tpot_spread=0.1 + 0.2, cold_starts_s=(14.2, 15.1))
    return replace(
        FleetMemory.empty(key), variants=(learned,), demand=(DemandPoint(5.0, arrival_rps, 2, 3, 4),), intent=intent
    )


def settled(store: ClusterMemory) -> None:
    """Wait for the writes that a save began."""
    for kept in store._kept.values():
        if kept.write is not None:
            kept.write.exception(10)
