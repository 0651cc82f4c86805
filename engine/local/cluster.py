"""The local cluster: scale targets that are kept at their desired counts, and the weights of traffic.

Level-triggered, as a ReplicaSet is: after every change the living replicas are compared with what is desired.
What it owns is in memory: it *is* the cluster, and ends with its process.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Protocol

from controller.model.snapshot import ScaleTarget
from engine.local.config import FleetConfig, weights_fault
from engine.local.eventlog import EventLog
from engine.local.replica import ReplicaLife, Surroundings
from engine.local.state import FleetState, InvalidError, NotFoundError, VariantState

_RETRY_PUBLISH_S = 1.0


class ClusterView(Protocol):
    """Who has to know where requests can go and how they are split: the proxy, the metric store."""

    def publish(self, fleets: Sequence[FleetState]) -> None:
        """Take over the state of all fleets. Raises OSError when it cannot; it is asked again then."""
        ...


class LocalCluster:
    """All fleets. `run()` keeps them in order until it is cancelled; the other methods read and order."""

    def __init__(
        self, fleets: Sequence[FleetConfig], around: Surroundings, views: Sequence[ClusterView], timeline: EventLog
    ) -> None:
        self._fleets = {fleet.key: FleetState(fleet) for fleet in fleets}
        self._around = around
        self._views = tuple(views)
        self._timeline = timeline
        self._counted: dict[tuple[str, str], dict[str, int]] = {}
        self._changed = asyncio.Event()
        self._lives: set[asyncio.Task[None]] = set()

    def note_change(self) -> None:
        """Something happened to a replica: look again."""
        self._changed.set()

    def targets(self) -> Mapping[str, Mapping[str, ScaleTarget]]:
        """Scale targets by fleet key and variant."""
        return {key: {n: v.target() for n, v in fleet.variants.items()} for key, fleet in self._fleets.items()}

    def scale(
        self, key: str, variant: str, replicas: int, resource_version: str, victims: Sequence[str]
    ) -> ScaleTarget:
        """Order a number of replicas. Raises NotFoundError, ConflictError or InvalidError."""
        state = self._fleet(key).variants.get(variant)
        if state is None:
            raise NotFoundError(
                f"fleet {key} has no variant {variant}: there is {', '.join(self._fleet(key).variants)}"
            )
        before = state.desired
        state.order(replicas, resource_version, tuple(victims))
        if before != replicas:
            self._timeline.write(
                "scaled", fleet=key, variant=variant, before=before, after=replicas, victims=[*victims]
            )
        self._reconcile(self._fleet(key), state)
        self.note_change()
        return state.target()

    def weights(self, key: str) -> Mapping[str, int]:
        """Percent by subset. Raises NotFoundError."""
        return dict(self._fleet(key).weights)

    def set_weights(self, key: str, weights: Mapping[str, int]) -> Mapping[str, int]:
        """Move traffic. Raises NotFoundError or InvalidError."""
        fleet = self._fleet(key)
        fault = weights_fault(weights, fleet.config.subsets)
        if fault:
            raise InvalidError(fault)
        split = {subset: weights.get(subset, 0) for subset in fleet.config.subsets}
        if split != fleet.weights:
            fleet.weights = split
            self._timeline.write("weights", fleet=key, weights=split)
            self.note_change()
        return dict(split)

    async def run(self) -> None:
        """Keep every scale target at what is desired and the views in step. When cancelled, ends all replicas."""
        try:
            while True:
                self._changed.clear()
                for fleet in self._fleets.values():
                    for state in fleet.variants.values():
                        state.replicas = [r for r in state.replicas if not r.gone]
                        self._reconcile(fleet, state)
                        self._count(fleet.config.key, state)
                published = self._publish()
                await self._wait_for_change(None if published else _RETRY_PUBLISH_S)
        finally:
            for life in self._lives:
                life.cancel()
            await asyncio.gather(*self._lives, return_exceptions=True)

    def _fleet(self, key: str) -> FleetState:
        fleet = self._fleets.get(key)
        if fleet is None:
            raise NotFoundError(f"no fleet {key} here: there is {', '.join(self._fleets)}")
        return fleet

    def _reconcile(self, fleet: FleetState, state: VariantState) -> None:
        for replica in state.surplus():
            replica.leave()
        for _ in range(state.desired - len(state.kept())):
            replica = ReplicaLife(state.launch(), state.config.drain_budget_s, self._around, self.note_change)
            state.replicas.append(replica)
            life = asyncio.create_task(replica.live(), name=f"{fleet.config.key} {replica.name}")
            self._lives.add(life)
            life.add_done_callback(self._forget)

    def _forget(self, life: asyncio.Task[None]) -> None:
        self._lives.discard(life)
        fault = None if life.cancelled() else life.exception()
        if fault is not None:
            self._around.events.write("bug", replica=life.get_name(), error=repr(fault))

    def _count(self, key: str, state: VariantState) -> None:
        counts = state.counts()
        if self._counted.get((key, state.config.name)) != counts:
            self._counted[key, state.config.name] = counts
            self._timeline.write("counts", fleet=key, variant=state.config.name, **counts)

    def _publish(self) -> bool:
        """Whether all views took over the state."""
        fleets = tuple(self._fleets.values())
        for view in self._views:
            try:
                view.publish(fleets)
            except OSError as error:
                self._around.events.write("publish_failed", view=type(view).__name__, error=str(error))
                return False
        return True

    async def _wait_for_change(self, timeout_s: float | None) -> None:
        try:
            await asyncio.wait_for(self._changed.wait(), timeout_s)
        except TimeoutError:
            return
