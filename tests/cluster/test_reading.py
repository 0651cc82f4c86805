"""Replicas read from a real control plane: real scheduler, controllers and managed fields; KWOK plays the kubelets."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from controller.cluster.cache import ListWatch, Pace
from controller.cluster.client import ClusterClient, ExpiredError, Json, PatchKind, Resource
from controller.cluster.names import (
    DEPLOYMENTS,
    FIELD_MANAGER,
    HORIZONTAL_POD_AUTOSCALERS,
    PODS,
    STATEFUL_SETS,
)
from controller.errors import TransientError
from controller.model.fleet import Fleet
from controller.model.snapshot import Replica, ReplicaPhase, ScaleTarget
from controller.observe.cluster_caches import ClusterCaches
from controller.observe.cluster_facts import pod_facts
from controller.observe.cluster_replicas import ClusterReplicas
from tests.builders import a_fleet, a_variant
from tests.cluster.conftest import AddNode
from tests.cluster.plane.plane import ControlPlane
from tests.cluster.plane.stages import COLD_START, DRAIN, KUBELET
from tests.cluster.plane.waiting import wait_until

NAME = "vllm-v1"
LABELS = {"app": "vllm", "version": "v1"}
SPOT = "aws-node-termination-handler/spot-itn"
FAST = Pace(watch_s=10.0, retry_s=0.1, retry_most_s=0.5)
MOST_BYTES = 10 * 2**20
"""For 2,000 pods."""


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


@pytest.fixture
def reader(plane: ControlPlane, namespace: str) -> Iterator[Reader]:
    found = Reader(plane.client, namespace)
    with found.caches:
        assert found.caches.wait_settled(30)
        yield found
    found.replicas.close()


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


def test_replicas_without_a_gpu_are_pending_in_the_schedulers_words_and_the_others_start(
    plane: ControlPlane, namespace: str, gpu_node: AddNode, reader: Reader
) -> None:
    create(plane, namespace, a_workload(gpu_node(gpus=2), 3, **{COLD_START: "4s", DRAIN: "30s"}))
    reader.wait_for({ReplicaPhase.STARTING: 2, ReplicaPhase.PENDING: 1})
    replicas = reader.wait_for({ReplicaPhase.READY: 2, ReplicaPhase.PENDING: 1})
    (waits,) = (each for each in replicas if each.phase is ReplicaPhase.PENDING)
    assert "Insufficient nvidia.com/gpu" in waits.detail
    for each in replicas:
        if each.phase is ReplicaPhase.READY:
            assert each.ready_at is not None
            assert each.ready_at - each.created_at >= 3, "instants are cut to whole seconds"
            assert each.address.endswith(":8000")
    scale(plane, namespace, 1)
    replicas = reader.wait_for({ReplicaPhase.READY: 1, ReplicaPhase.DRAINING: 1})
    assert {each.detail for each in replicas} == {"", "it was asked to leave"}


def test_the_replicas_of_both_revisions_are_there_while_the_template_changes(
    plane: ControlPlane, namespace: str, gpu_node: AddNode, reader: Reader
) -> None:
    node = gpu_node(gpus=4)
    create(plane, namespace, a_workload(node, 2))
    reader.wait_for({ReplicaPhase.READY: 2})
    changed = {"spec": {"template": {"metadata": {"annotations": {COLD_START: "60s"}}}}}
    plane.client.patch(DEPLOYMENTS.path(namespace, NAME), changed, PatchKind.MERGE)
    replicas = reader.wait_for({ReplicaPhase.READY: 2, ReplicaPhase.STARTING: 1})
    assert len({each.detail for each in replicas}) == 2
    assert all(each.detail.startswith("revision ") for each in replicas)


def test_a_node_that_is_drained_or_given_notice_counts_its_replicas_out(
    plane: ControlPlane, namespace: str, gpu_node: AddNode, reader: Reader
) -> None:
    node = gpu_node(gpus=1)
    create(plane, namespace, a_workload(node, 1, **{DRAIN: "60s"}))
    (replica,) = reader.wait_for({ReplicaPhase.READY: 1})
    name = f"{namespace}-node"
    plane.kubectl("taint", "node", name, f"{SPOT}=soon:NoSchedule")
    (warned,) = reader.wait_for({ReplicaPhase.DRAINING: 1})
    assert warned.detail == f"node {name}: its spot instance is about to be taken back"
    plane.kubectl("taint", "node", name, f"{SPOT}-")
    assert reader.wait_for({ReplicaPhase.READY: 1}) == (replica,)
    plane.kubectl("cordon", name)
    wait_until("the cordon is seen", lambda: _cordoned(reader, name))
    assert reader.phases() == {ReplicaPhase.READY: 1}
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": replica.name}}
    plane.client.create(PODS.path(namespace, replica.name, "eviction"), eviction)
    gone, anew = reader.wait_for({ReplicaPhase.DRAINING: 1, ReplicaPhase.PENDING: 1})
    assert (gone.name, "evict" in gone.detail) == (replica.name, True)
    assert "unschedulable" in anew.detail


def _cordoned(reader: Reader, name: str) -> bool:
    nodes = reader.caches.nodes
    return nodes is not None and nodes.objects()[name].cordoned


def test_a_replica_that_crashes_before_it_was_ready_has_failed(
    plane: ControlPlane, namespace: str, gpu_node: AddNode, reader: Reader
) -> None:
    create(plane, namespace, a_workload(gpu_node(), 1, **{KUBELET: "true"}))
    (replica,) = reader.wait_for({ReplicaPhase.STARTING: 1})
    _play(plane, namespace, replica.name, ready=False, reason="CrashLoopBackOff")
    (replica,) = reader.wait_for({ReplicaPhase.FAILED: 1})
    assert replica.detail == "vllm: CrashLoopBackOff, last exit 137 (OOMKilled)"
    _play(plane, namespace, replica.name, ready=True)
    reader.wait_for({ReplicaPhase.READY: 1})
    _play(plane, namespace, replica.name, ready=False, reason="CrashLoopBackOff", at="2099-01-01T00:01:00Z")
    (replica,) = reader.wait_for({ReplicaPhase.STARTING: 1})
    assert replica.detail.startswith("was ready before; ")


def _play(
    plane: ControlPlane,
    namespace: str,
    pod: str,
    *,
    ready: bool,
    reason: str = "",
    at: str = "2099-01-01T00:00:00Z",
) -> None:
    """What a kubelet says of the pod."""
    ended = {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}
    state = {"waiting": {"reason": reason}} if reason else {"running": {}}
    status = {
        "phase": "Running",
        "startTime": "2099-01-01T00:00:00Z",
        "conditions": [{"type": "Ready", "status": str(ready), "lastTransitionTime": at}],
        "containerStatuses": [
            {
                "name": "vllm",
                "image": "vllm",
                "imageID": "",
                "ready": ready,
                "restartCount": 2,
                "state": state,
                "lastState": ended if reason else {},
            }
        ],
    }
    plane.client.patch(PODS.path(namespace, pod, "status"), {"status": status}, PatchKind.MERGE)


def test_a_stateful_set_is_read_and_does_not_choose_who_leaves(
    plane: ControlPlane, namespace: str, gpu_node: AddNode, reader: Reader
) -> None:
    create(plane, namespace, a_workload(gpu_node(), 2, kind="StatefulSet"))

    def whole() -> ScaleTarget | None:
        target = reader.target("StatefulSet")
        return target if target is not None and target.ready == 2 else None

    target = wait_until("both are ready", whole)
    assert [each.name for each in target.replicas] == [f"{NAME}-0", f"{NAME}-1"]
    assert (target.desired, target.chooses_victims) == (2, False)


def test_a_kind_that_is_not_watched_is_read_by_its_scale_subresource(
    plane: ControlPlane, namespace: str, gpu_node: AddNode, reader: Reader
) -> None:
    """A ReplicationController stands for any: its plural is known by the server alone."""
    workload = a_workload(gpu_node(), 2)
    controllers = Resource("", "v1", "replicationcontrollers")
    spec = {**workload["spec"], "selector": LABELS}
    plane.client.create(controllers.path(namespace), {"metadata": {"name": NAME}, "spec": spec})

    def whole() -> ScaleTarget | None:
        target = reader.target("ReplicationController", "v1")
        return target if target is not None and target.ready == 2 else None

    target = wait_until("both are ready", whole)
    stored = plane.client.get(controllers.path(namespace, NAME))
    assert (target.desired, target.resource_version) == (2, stored["metadata"]["resourceVersion"])


def test_an_autoscaler_is_named_as_the_foreign_writer_until_it_is_gone(
    plane: ControlPlane, namespace: str, gpu_node: AddNode, reader: Reader
) -> None:
    create(plane, namespace, a_workload(gpu_node(), 1))
    reader.wait_for_writer("")
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": NAME}
    spec = {"scaleTargetRef": target, "minReplicas": 2, "maxReplicas": 3}
    plane.client.create(HORIZONTAL_POD_AUTOSCALERS.path(namespace), {"metadata": {"name": "llama"}, "spec": spec})
    reader.wait_for_writer(f"HorizontalPodAutoscaler {namespace}/llama")
    # It has written by then: what it leaves in the managed fields opposes nobody.
    wait_until("it scales to its minimum", lambda: (found := reader.target()) and found.desired == 2, timeout_s=60)
    plane.client.delete(HORIZONTAL_POD_AUTOSCALERS.path(namespace, "llama"))
    reader.wait_for_writer("")


def test_owners_of_the_count_are_told_apart_by_the_servers_own_book_keeping(
    plane: ControlPlane, namespace: str, gpu_node: AddNode, reader: Reader
) -> None:
    workload, key = a_workload(gpu_node(), 1), (f"{namespace}/llama-8b", "v1")
    plane.kubectl("apply", "--namespace", namespace, "-f", "-", stdin=json.dumps(workload))
    reader.wait_for_writer("")
    assert "holds spec.replicas" in reader.replicas.warnings[key][0]
    scale(plane, namespace, 2)
    _wait_for_count(reader, 2)
    assert not reader.replicas.by_hand
    plane.kubectl("scale", "--namespace", namespace, f"deployment/{NAME}", "--replicas=3")
    _wait_for_count(reader, 3)
    reader.wait_for_writer("")
    assert reader.replicas.by_hand == {key: "kubectl"}
    scale(plane, namespace, 4, manager="keda")
    reader.wait_for_writer("field manager keda (Update)")
    apply = ("apply", "--server-side", "--force-conflicts", "--namespace", namespace)
    plane.kubectl(*apply, "--field-manager", "argocd-controller", "-f", "-", stdin=json.dumps(workload))
    reader.wait_for_writer("field manager argocd-controller (Apply)")
    scale(plane, namespace, 5)
    reader.wait_for_writer("")


def _wait_for_count(reader: Reader, count: int) -> None:
    wait_until(f"{count} are wanted", lambda: (found := reader.target()) is not None and found.desired == count)


def test_one_namespace_is_read_with_a_role_and_not_without_the_right_to_see_autoscalers(
    plane: ControlPlane, namespace: str, gpu_node: AddNode
) -> None:
    create(plane, namespace, a_workload(gpu_node(), 1))
    some = {"": ["pods"], "apps": ["deployments", "statefulsets"]}
    blind = _as_account(plane, namespace, "blind", some)
    sighted = _as_account(plane, namespace, "sighted", {**some, "autoscaling": ["horizontalpodautoscalers"]})
    for client, told in ((sighted, ""), (blind, 'cannot list resource "horizontalpodautoscalers"')):
        reader = Reader(client, namespace, only=namespace)
        with reader.caches:
            assert reader.caches.wait_settled(30)
            if told:
                assert told in _unread(reader.replicas, reader.fleet())
            else:
                reader.wait_for({ReplicaPhase.READY: 1})
        reader.replicas.close()


def _as_account(plane: ControlPlane, namespace: str, name: str, may: Mapping[str, list[str]]) -> ClusterClient:
    """A client of a service account that may list and watch these resources, by group, in its namespace."""
    group, metadata = "rbac.authorization.k8s.io", {"name": name}
    rules = [{"apiGroups": [at], "resources": what, "verbs": ["list", "watch"]} for at, what in may.items()]
    role = {"apiGroup": group, "kind": "Role", "name": name}
    subjects = [{"kind": "ServiceAccount", "name": name, "namespace": namespace}]
    plane.apply(
        [
            {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata},
            {"apiVersion": f"{group}/v1", "kind": "Role", "metadata": metadata, "rules": rules},
            {
                "apiVersion": f"{group}/v1",
                "kind": "RoleBinding",
                "metadata": metadata,
                "roleRef": role,
                "subjects": subjects,
            },
        ],
        namespace,
    )
    client = plane.client_for(namespace, name)
    wait_until("the role is in force", lambda: client.get(PODS.path(namespace)))
    return client


def test_a_cache_whose_version_was_forgotten_lists_again(plane: ControlPlane, namespace: str) -> None:
    """A server that was started anew remembers nothing of what was before."""
    plane.client.create(PODS.path(namespace), {"metadata": {"name": "a"}, "spec": _no_node()})
    plane.stop_api_server()
    plane.start_api_server()
    with pytest.raises(ExpiredError):
        list(plane.client.watch(PODS.path(namespace), "1", timeout_s=2.0))
    cache = ListWatch(plane.client, PODS, pod_facts, namespace=namespace, pace=FAST)
    cache._version = "1"
    cache.start()
    try:
        wait_until("the pod is known", lambda: set(cache.objects()) == {f"{namespace}/a"})
        assert cache.synced
    finally:
        cache.close()


def test_an_outage_of_the_api_server_is_told_and_outlived(
    plane: ControlPlane, namespace: str, gpu_node: AddNode
) -> None:
    create(plane, namespace, a_workload(gpu_node(), 2))
    reader = Reader(plane.client, namespace)
    impatient = ClusterReplicas(plane.client, reader.caches, quiet_limit_s=1.0)
    with reader.caches:
        before = {each.name for each in reader.wait_for({ReplicaPhase.READY: 2})}
        plane.stop_api_server()
        try:
            assert {each.name for each in reader.seen()} == before, "what was read a moment ago is still the truth"
            wait_until("it is no more after a second", lambda: _unread(impatient, reader.fleet()))
            assert "nothing was heard of " in _unread(impatient, reader.fleet())
        finally:
            plane.start_api_server()
        for name in before:
            plane.client.delete(PODS.path(namespace, name))

        def anew() -> bool:
            now = {each.name for each in reader.seen()}
            return len(now) == 2 and not now & before and reader.phases() == {ReplicaPhase.READY: 2}

        wait_until("the new pods are read, and no old one", anew, timeout_s=90)
    reader.replicas.close()
    impatient.close()


def _unread(replicas: ClusterReplicas, fleet: Fleet) -> str:
    try:
        replicas.read([fleet])
    except TransientError as error:
        return str(error)
    return ""


def _no_node() -> Json:
    return {"schedulerName": "nobody", "containers": [{"name": "vllm", "image": "vllm"}]}


def test_two_thousand_pods_are_kept_in_a_few_megabytes(plane: ControlPlane, namespace: str) -> None:
    workload = a_workload({}, 2000)
    workload["spec"]["template"]["spec"] = _no_node()
    create(plane, namespace, workload)
    deployed = DEPLOYMENTS.path(namespace, NAME)

    def made() -> bool:
        return bool(plane.client.get(deployed).get("status", {}).get("replicas") == 2000)

    wait_until("2,000 pods were made", made, timeout_s=240)
    size = _allocated(lambda: ListWatch(plane.client, PODS, pod_facts, namespace=namespace, pace=FAST))
    assert size < MOST_BYTES
    plane.client.delete(deployed, {"propagationPolicy": "Background"})
    # The server takes its time for each: not all in one request.
    wait_until("they are gone", lambda: not _fewer(plane, namespace), timeout_s=120)


def _fewer(plane: ControlPlane, namespace: str) -> list[Json]:
    plane.client.delete(PODS.path(namespace), {"gracePeriodSeconds": 0}, limit="200")
    return list(plane.client.get(PODS.path(namespace), limit="1")["items"])


def _allocated(make: Callable[[], ListWatch[Any]]) -> int:
    """Bytes that a cache holds once it is synced."""
    tracemalloc.start()
    cache = make().start()
    try:
        assert cache.wait_synced(60)
        assert len(cache.objects()) == 2000
        return tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
        cache.close()
