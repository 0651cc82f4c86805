"""The place that a cluster is: Fleet resources, scale targets and pods, Istio's routes, memory in ConfigMaps."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import structlog

from controller.act.cluster_scale import ClusterReplicaWriter
from controller.act.istio import IstioWeightWriter
from controller.cli.place import Place
from controller.cli.profiles import Profiles
from controller.clock import Clock
from controller.cluster.client import ClusterClient
from controller.cluster.discovery import Plurals
from controller.cluster.lease import Lease, own_identity
from controller.errors import UsageError
from controller.model.variant import ScaleTargetRef
from controller.observe.cluster_caches import ClusterCaches
from controller.observe.cluster_fleets import ClusterFleets
from controller.observe.cluster_replicas import ClusterReplicas
from controller.observe.istio import IstioWeights
from controller.ports import FleetSource
from controller.record.cluster_board import ClusterBoard
from controller.record.cluster_events import ClusterEvents
from controller.record.cluster_memory import ClusterMemory
from controller.record.cluster_status import ClusterStatus
from controller.record.encoded import MemoryEncoder

_log = structlog.get_logger("governor")

_NAMESPACE_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
_DEFAULT_NAMESPACE = "vllm-governor"
_LEASE_CALL_S = 2.0
"""Longest wait of the lease for an answer: two tries have to fit into a lease."""
_SETTLE_S = 20.0
"""Longest wait at the start for the caches to be filled."""


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


class _Cluster:
    """The adapters, with their common beginning and end."""

    def __init__(self, options: ClusterOptions, clock: Clock, encoder: MemoryEncoder) -> None:
        self.client = _client(options)
        own = options.own_namespace or _own_namespace()
        self.identity = own_identity()
        self.lease = Lease(_client(options, _LEASE_CALL_S), own, options.lease_name, self.identity)
        held = self.lease.held
        self.fleets = ClusterFleets(self.client, namespace=options.namespace, clock=clock)
        self.caches = ClusterCaches(self.client, namespace=options.namespace, clock=clock)
        self.replicas = ClusterReplicas(self.client, self.caches, clock=clock)
        self.memory = ClusterMemory(self.client, own, clock, encoder, held)
        status = ClusterStatus(self.client, clock, held)
        events = ClusterEvents(self.client, clock, self.identity, status.uid, held)
        self.board = ClusterBoard(status, events)
        self.writer = ClusterReplicaWriter(
            self.client, _targets(self.fleets), Plurals(self.client), held, clock.monotonic
        )

    def start(self) -> None:
        """Fill the caches, then contend for the lease. Raises UsageError where the cluster cannot serve fleets."""
        self.fleets.start()
        self.caches.start()
        self.fleets.cache.wait_settled(_SETTLE_S)
        if self.fleets.cache.absent:
            self.close()
            remedy = "install them with `governor crd | kubectl apply --server-side -f -`"
            raise UsageError(f"the cluster at {self.client.server} knows no Fleets: {remedy}")
        for cache in self.caches.every():
            if not cache.wait_settled(_SETTLE_S):
                _log.warning("cluster not read yet", resource=cache.name, error=cache.error)
        self.board.start()
        self.lease.start()

    def close(self) -> None:
        """What waits is sent while the lease is still held; a successor starts where this one ended."""
        self.board.close()
        self.memory.close()
        self.lease.close()
        self.caches.close()
        self.fleets.close()
        self.replicas.close()


def cluster_place(options: ClusterOptions, clock: Clock, profiles: Path | None, encoder: MemoryEncoder) -> Place:
    """Raises UsageError where there is no cluster to talk to."""
    cluster = _Cluster(options, clock, encoder)
    return Place(
        fleets=cluster.fleets,
        profiles=Profiles(profiles),
        reader=cluster.replicas,
        writer=cluster.writer,
        weights=IstioWeights(cluster.client),
        weight_writer=IstioWeightWriter(cluster.client),
        store=cluster.memory,
        memory_error=lambda: cluster.memory.error,
        boards=(cluster.board,),
        leading=cluster.lease.held,
        start=cluster.start,
        close=cluster.close,
    )


def _client(options: ClusterOptions, timeout_s: float = 5.0) -> ClusterClient:
    return ClusterClient.of_environment(options.kubeconfig, options.context, timeout_s)


def _own_namespace() -> str:
    """Where this pod runs, as Kubernetes tells it; outside a pod a name of its own."""
    if os.environ.get("POD_NAMESPACE"):
        return os.environ["POD_NAMESPACE"]
    try:
        return _NAMESPACE_FILE.read_text("ascii").strip() or _DEFAULT_NAMESPACE
    except (OSError, UnicodeDecodeError):
        return _DEFAULT_NAMESPACE


def _targets(source: FleetSource) -> Callable[[str, str], tuple[str, ScaleTargetRef] | None]:
    """Namespace and scale target of a variant, as its fleet says now."""

    def found(key: str, variant: str) -> tuple[str, ScaleTargetRef] | None:
        fleet = next((fleet for fleet in source.fleets() if fleet.key == key), None)
        if fleet is None:
            return None
        try:
            return fleet.metadata.namespace, fleet.variant(variant).scale_target_ref
        except KeyError:
            return None

    return found
