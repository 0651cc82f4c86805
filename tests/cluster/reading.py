"""A reader of one namespace's replicas on a real control plane, and what it reads."""

from __future__ import annotations

from collections.abc import Mapping

from controller.cluster.cache import Pace
from controller.cluster.client import ClusterClient, Json, PatchKind
from controller.cluster.names import DEPLOYMENTS, FIELD_MANAGER, STATEFUL_SETS
from controller.errors import TransientError
from controller.model.fleet import Fleet
from controller.model.snapshot import Replica, ReplicaPhase, ScaleTarget
from controller.observe.cluster_caches import ClusterCaches
from controller.observe.cluster_replicas import ClusterReplicas
from tests.builders import a_fleet, a_variant
from tests.cluster.plane.plane import ControlPlane
from tests.cluster.plane.waiting import wait_until

NAME = "vllm-v1"
LABELS = {"app": "vllm", "version": "v1"}
FAST = Pace(watch_s=10.0, retry_s=0.1, retry_most_s=0.5)


class Reader:
    """A `ClusterReplicas` of one namespace's fleet, whose only variant is the target called `NAME`."""

    def __init__(self, client: ClusterClient, namespace: str, only: str = "") -> None:
        self.namespace = namespace
        self.caches = ClusterCaches(client, namespace=only, pace=FAST)
        self.replicas = ClusterReplicas(client, self.caches)

    def fleet(self, kind: str = "Deployment", api: str = "apps/v1") -> Fleet:
        found = a_fleet(a_variant(scaleTargetRef={"apiVersion": api, "kind": kind, "name": NAME}))
        metadata = found.metadata.model_copy(update={"namespace": self.namespace})
        return found.model_copy(update={"metadata": metadata})

    def target(self, kind: str = "Deployment", api: str = "apps/v1") -> ScaleTarget | None:
        """None where it is not there yet."""
        fleet = self.fleet(kind, api)
        try:
            return self.replicas.read([fleet]).get((fleet.key, "v1"))
        except TransientError:
            return None

    def seen(self) -> tuple[Replica, ...]:
        target = self.target()
        return target.replicas if target is not None else ()

    def phases(self) -> Mapping[ReplicaPhase, int]:
        found = [replica.phase for replica in self.seen()]
        return {phase: found.count(phase) for phase in set(found)}

    def wait_for(self, phases: Mapping[ReplicaPhase, int]) -> tuple[Replica, ...]:
        """The replicas, once they are exactly in these phases."""
        wait_until(f"replicas are {phases}", lambda: self.phases() == phases)
        return self.seen()

    def wait_for_writer(self, writer: str) -> None:
        def named() -> bool:
            target = self.target()
            return target is not None and target.foreign_writer == writer

        wait_until(f"the foreign writer is {writer or 'nobody'}", named)


def a_workload(
    node: Mapping[str, str], replicas: int | None = 1, *, kind: str = "Deployment", gpus: int = 1, **annotations: str
) -> Json:
    container = {"name": "vllm", "image": "vllm", "resources": {"limits": {"nvidia.com/gpu": str(gpus)}}}
    container["ports"] = [{"name": "http", "containerPort": 8000}]
    spec: Json = {
        "selector": {"matchLabels": LABELS},
        "template": {
            "metadata": {"labels": LABELS, "annotations": annotations},
            "spec": {"nodeSelector": dict(node), "containers": [container]},
        },
    }
    if replicas is not None:
        spec["replicas"] = replicas
    return {"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": NAME}, "spec": spec}


def create(plane: ControlPlane, namespace: str, workload: Json) -> None:
    resource = STATEFUL_SETS if workload["kind"] == "StatefulSet" else DEPLOYMENTS
    plane.client.create(resource.path(namespace), workload)


def scale(plane: ControlPlane, namespace: str, replicas: int, manager: str = FIELD_MANAGER) -> None:
    path = DEPLOYMENTS.path(namespace, NAME, "scale")
    plane.client.patch(path, {"spec": {"replicas": replicas}}, PatchKind.MERGE, fieldManager=manager)


def unread(replicas: ClusterReplicas, fleet: Fleet) -> str:
    """Why the fleet's replicas cannot be read; empty where they can."""
    try:
        replicas.read([fleet])
    except TransientError as error:
        return str(error)
    return ""
