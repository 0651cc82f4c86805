"""The place that a cluster is: Fleet resources, scale targets and pods, Istio's routes, memory in ConfigMaps."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import structlog

from controller.act.cluster_scale import ClusterReplicaWriter
from controller.act.dry_run import DryRunReplicaWriter, DryRunWeightWriter
from controller.act.istio import IstioWeightWriter
from controller.cli.place import MEMORY_NAME, ClusterOptions, Place
from controller.cli.profiles import Profiles
from controller.clock import Clock, SystemClock
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
from controller.record.memory import MemoryFile
from controller.settings import Settings

_log = structlog.get_logger("governor")

_NAMESPACE_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
_DEFAULT_NAMESPACE = "vllm-governor"
_LEASE_CALL_S = 2.0
"""Longest wait of the lease for an answer: two tries have to fit into a lease."""
_SETTLE_S = 20.0
"""Longest wait at the start for the caches to be filled."""


class _Reading:
    """What is read of a cluster, with a common beginning and end."""

    def __init__(self, options: ClusterOptions, clock: Clock) -> None:
        self.client = _client(options)
        self.fleets = ClusterFleets(self.client, namespace=options.namespace, clock=clock)
        self.caches = ClusterCaches(self.client, namespace=options.namespace, clock=clock)
        self.replicas = ClusterReplicas(self.client, self.caches, declared=self.fleets.fleets, clock=clock)

    def start(self) -> None:
        """Fill the caches. Raises UsageError where the cluster knows no Fleets."""
        self.fleets.start()
        self.caches.start()
        self.fleets.cache.wait_settled(_SETTLE_S)
        if self.fleets.cache.absent:
            remedy = "install them with `governor crd | kubectl apply --server-side -f -`"
            raise UsageError(f"the cluster at {self.client.server} knows no Fleets: {remedy}")
        for cache in self.caches.every():
            if not cache.wait_settled(_SETTLE_S):
                _log.warning("cluster not read yet", resource=cache.name, error=cache.error)

    def close(self) -> None:
        """End the watches."""
        self.caches.close()
        self.fleets.close()
        self.replicas.close()


class _Writing:
    """What is written besides replicas and weights: who leads, what is remembered, what is shown."""

    def __init__(self, options: ClusterOptions, reading: _Reading, clock: Clock, encoder: MemoryEncoder) -> None:
        own = options.own_namespace or _own_namespace()
        identity = own_identity()
        self.lease = Lease(_client(options, _LEASE_CALL_S), own, options.lease_name, identity)
        self.memory = ClusterMemory(reading.client, own, clock, encoder, self.lease.held)
        status = ClusterStatus(reading.client, clock, self.lease.held)
        events = ClusterEvents(reading.client, clock, identity, status.uid, self.lease.held)
        self.board = ClusterBoard(status, events)

    def start(self) -> None:
        """Contend for the lease."""
        self.board.start()
        self.lease.start()

    def close(self) -> None:
        """What waits is sent while the lease is still held; a successor starts where this one ended."""
        self.board.close()
        self.memory.close()
        self.lease.close()


def cluster_place(options: ClusterOptions, settings: Settings, profiles: Path | None, encoder: MemoryEncoder) -> Place:
    """The place; a dry run's writes nothing at all to the cluster, and remembers in its own folder.

    Raises UsageError where there is no cluster to talk to.
    """
    clock = SystemClock(settings.clock_offset_s)
    reading = _Reading(options, clock)
    file = MemoryFile(settings.state_dir / MEMORY_NAME, encoder)
    dry = Place(
        fleets=reading.fleets,
        profiles=Profiles(profiles),
        reader=reading.replicas,
        writer=DryRunReplicaWriter(),
        weights=IstioWeights(reading.client),
        weight_writer=DryRunWeightWriter(),
        store=file,
        memory_error=lambda: file.error,
        start=reading.start,
        close=reading.close,
    )
    return dry if settings.dry_run else _written(dry, reading, _Writing(options, reading, clock, encoder), clock)


def _written(place: Place, reading: _Reading, writing: _Writing, clock: Clock) -> Place:
    """The place with writers."""
    client, held = reading.client, writing.lease.held

    def start() -> None:
        reading.start()
        writing.start()

    def close() -> None:
        writing.close()
        reading.close()

    return replace(
        place,
        writer=ClusterReplicaWriter(client, _targets(reading.fleets), Plurals(client), held, clock.monotonic),
        weight_writer=IstioWeightWriter(client),
        store=writing.memory,
        memory_error=lambda: writing.memory.error,
        boards=(writing.board,),
        leading=held,
        term=lambda: writing.lease.generation,
        start=start,
        close=close,
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
