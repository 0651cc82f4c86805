"""Everything that is read of a cluster over and over, kept by watching."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from types import TracebackType
from typing import Any, Self

from controller.clock import Clock, SystemClock
from controller.cluster import names
from controller.cluster.cache import Keep, ListWatch, Pace, V
from controller.cluster.client import ClusterClient, Resource
from controller.observe.cluster_facts import NodeFacts, node_facts, pod_facts
from controller.observe.cluster_scalables import Scalable, scalable_of
from controller.observe.second_writers import (
    Autoscaler,
    horizontal_facts,
    scaled_object_facts,
    vertical_facts,
)

VERTICAL_POD_AUTOSCALERS = Resource("autoscaling.k8s.io", "v1", "verticalpodautoscalers")


class ClusterCaches:
    """Pods, nodes, scalable objects and autoscalers of a cluster, or of one `namespace` of it.

    Within one namespace nodes are not read: they belong to none, and no Role can grant them.
    """

    def __init__(
        self,
        client: ClusterClient,
        *,
        namespace: str = "",
        pod_selector: str = "",
        pace: Pace | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._clock = clock = clock or SystemClock()

        def kept(resource: Resource, keep: Keep[V], namespace: str = namespace, selector: str = "") -> ListWatch[V]:
            return ListWatch(client, resource, keep, namespace=namespace, selector=selector, pace=pace, clock=clock)

        self.pods = kept(names.PODS, pod_facts, selector=pod_selector)
        self.nodes = None if namespace else kept(names.NODES, node_facts)
        self.deployments = kept(names.DEPLOYMENTS, partial(scalable_of, group="apps", kind="Deployment"))
        self.stateful_sets = kept(names.STATEFUL_SETS, partial(scalable_of, group="apps", kind="StatefulSet"))
        self.horizontal = kept(names.HORIZONTAL_POD_AUTOSCALERS, horizontal_facts)
        self.scaled_objects = kept(names.SCALED_OBJECTS, scaled_object_facts)
        self.vertical = kept(VERTICAL_POD_AUTOSCALERS, vertical_facts)

    def start(self) -> Self:
        """Begin to watch, each in a thread of its own."""
        for cache in self.every():
            cache.start()
        return self

    def close(self) -> None:
        """End all watches."""
        for cache in self.every():
            cache.close()

    def wait_settled(self, timeout_s: float) -> bool:
        """Wait until every kind was listed, or is known to be absent or denied. False where that took longer."""
        ends_at = self._clock.monotonic() + timeout_s
        return all(cache.wait_settled(max(0.0, ends_at - self._clock.monotonic())) for cache in self.every())

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def every(self) -> tuple[ListWatch[Any], ...]:
        """All of them."""
        found = (self.pods, self.nodes, self.deployments, self.stateful_sets, *self.autoscaling())
        return tuple(cache for cache in found if cache is not None)

    def autoscaling(self) -> tuple[ListWatch[Autoscaler], ...]:
        """Those that tell of other writers."""
        return self.horizontal, self.scaled_objects, self.vertical

    def scalable(self, kind: str) -> ListWatch[Scalable] | None:
        """The cache of a kind of group `apps`, if it is kept."""
        return {"Deployment": self.deployments, "StatefulSet": self.stateful_sets}.get(kind)

    def node_facts(self, quiet_limit_s: float) -> Mapping[str, NodeFacts] | None:
        """Nodes by name; None where they are not read, or not lately."""
        if self.nodes is None or distrust(self.nodes, quiet_limit_s):
            return None
        return self.nodes.objects()


def distrust(cache: ListWatch[Any], quiet_limit_s: float) -> str:
    """Why what a cache holds is not the truth any more; empty where it is."""
    if not cache.synced:
        return f"{cache.name} have not been read yet: {cache.error or 'the first list is under way'}"
    if cache.quiet_s > quiet_limit_s:
        return f"nothing was heard of {cache.name} for {cache.quiet_s:.0f} s: {cache.error or 'the watch is silent'}"
    return ""


def optional_distrust(cache: ListWatch[Any], quiet_limit_s: float) -> str:
    """The same for a kind that may not be there, or that we may not be let see."""
    return "" if cache.absent or cache.denied else distrust(cache, quiet_limit_s)
