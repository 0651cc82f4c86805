"""Targets of every kind, and who else writes them, read from a real API server with its own book-keeping."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

import pytest

from controller.cluster.client import ClusterClient, PatchKind, Resource
from controller.cluster.names import HORIZONTAL_POD_AUTOSCALERS, PODS
from controller.model.snapshot import ReplicaPhase, ScaleTarget
from tests.cluster.conftest import AddNode
from tests.cluster.plane.plane import ControlPlane
from tests.cluster.plane.waiting import wait_until
from tests.cluster.reading import LABELS, NAME, Reader, a_workload, create, scale, unread


@pytest.fixture
def reader(plane: ControlPlane, namespace: str) -> Iterator[Reader]:
    found = Reader(plane.client, namespace)
    with found.caches:
        assert found.caches.wait_settled(30)
        yield found
    found.replicas.close()


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


LWS = "leaderworkerset.sigs.k8s.io"
LWS_GROUP = "leaderworkerset.x-k8s.io"


@pytest.fixture
def groups(plane: ControlPlane) -> Iterator[Resource]:
    """The definition of LeaderWorkerSets as far as scaling goes: its controller is played by the test."""
    resource = Resource(LWS_GROUP, "v1", "leaderworkersets")
    paths = {
        "specReplicasPath": ".spec.replicas",
        "statusReplicasPath": ".status.replicas",
        "labelSelectorPath": ".status.hpaPodSelector",
    }
    anything = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    version = {"name": "v1", "served": True, "storage": True, "schema": anything}
    plane.apply(
        {
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {
                "name": f"leaderworkersets.{LWS_GROUP}",
                "annotations": {"api-approved.kubernetes.io": "test"},
            },
            "spec": {
                "group": LWS_GROUP,
                "scope": "Namespaced",
                "names": {"plural": "leaderworkersets", "kind": "LeaderWorkerSet"},
                "versions": [{**version, "subresources": {"status": {}, "scale": paths}}],
            },
        }
    )
    plane.kubectl("wait", "--for=condition=Established", "--timeout=50s", f"crd/leaderworkersets.{LWS_GROUP}")
    yield resource
    plane.kubectl("delete", f"crd/leaderworkersets.{LWS_GROUP}")


def test_a_leader_and_its_workers_are_one_replica(
    plane: ControlPlane, namespace: str, gpu_node: AddNode, reader: Reader, groups: Resource
) -> None:
    node = gpu_node(gpus=4)
    kind = {"apiVersion": f"{LWS_GROUP}/v1", "kind": "LeaderWorkerSet"}
    plane.client.create(groups.path(namespace), {**kind, "metadata": {"name": NAME}, "spec": {"replicas": 2}})
    status = {"replicas": 2, "hpaPodSelector": f"{LWS}/name={NAME},{LWS}/worker-index=0"}
    plane.client.patch(groups.path(namespace, NAME, "status"), {"status": status}, PatchKind.MERGE)
    for group, index in ((0, 0), (0, 1), (1, 0)):
        pod = a_workload(node)["spec"]["template"]
        labels = {f"{LWS}/name": NAME, f"{LWS}/group-index": str(group), f"{LWS}/worker-index": str(index)}
        pod["metadata"] = {"name": f"{NAME}-{group}-{index}", "labels": labels, "annotations": {f"{LWS}/size": "2"}}
        plane.client.create(PODS.path(namespace), pod)

    def seen() -> ScaleTarget | None:
        target = reader.target("LeaderWorkerSet", f"{LWS_GROUP}/v1")
        return target if target is not None and target.ready == 1 and len(target.replicas) == 2 else None

    target = wait_until("one group is ready and the other on its way", seen)
    assert (target.desired, target.chooses_victims, target.foreign_writer) == (2, False, "")
    assert {each.name: each.detail for each in target.replicas} == {
        f"{NAME}-0-0": "",
        f"{NAME}-1-0": "1 of its 2 pods are there",
    }


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
                assert told in unread(reader.replicas, reader.fleet())
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
