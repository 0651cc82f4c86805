"""Replicas read from a real control plane: real scheduler and controllers; KWOK plays the kubelets."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from controller.cluster.cache import ListWatch
from controller.cluster.client import ExpiredError, Json, PatchKind
from controller.cluster.names import DEPLOYMENTS, PODS
from controller.model.snapshot import ReplicaPhase
from controller.observe.cluster_facts import pod_facts
from controller.observe.cluster_replicas import ClusterReplicas
from tests.cluster.conftest import AddNode
from tests.cluster.plane.plane import ControlPlane
from tests.cluster.plane.stages import COLD_START, DRAIN, KUBELET
from tests.cluster.plane.waiting import wait_until
from tests.cluster.reading import FAST, NAME, Reader, a_workload, create, scale, unread

SPOT = "aws-node-termination-handler/spot-itn"
MOST_BYTES = 10 * 2**20
"""For 2,000 pods."""


@pytest.fixture
def reader(plane: ControlPlane, namespace: str) -> Iterator[Reader]:
    found = Reader(plane.client, namespace)
    with found.caches:
        assert found.caches.wait_settled(30)
        yield found
    found.replicas.close()


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
            wait_until("it is no more after a second", lambda: unread(impatient, reader.fleet()))
            assert "nothing was heard of " in unread(impatient, reader.fleet())
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
