"""Replicas of a cluster as a `ReplicaReader`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from controller.cluster import names
from controller.cluster.client import Json, Resource
from controller.errors import TransientError
from controller.model.fleet import Fleet
from controller.model.snapshot import ReplicaPhase, ScaleTarget
from controller.observe.cluster_caches import VERTICAL_POD_AUTOSCALERS, ClusterCaches
from controller.observe.cluster_replicas import ClusterReplicas
from controller.ports import VariantKey
from tests.builders import a_fleet, a_variant
from tests.contract.cluster.api_server import ApiServer
from tests.contract.cluster.conditions import FAST, PATIENCE_S, eventually
from tests.contract.cluster.objects import (
    a_deployment,
    a_node,
    a_pod,
    an_autoscaler,
    owning,
)

V1: VariantKey = ("llm/llama-8b", "v1")
LWS = "leaderworkerset.sigs.k8s.io"


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.at_s = 1000.0

    def now(self) -> float:
        return self.at_s

    def monotonic(self) -> float:
        return self.at_s


class Rig:
    """A server, the caches on it and a reader over them."""

    def __init__(self, server: ApiServer, **more: Any) -> None:
        self.server = server
        self.clock = Clock()
        server.absent |= {names.SCALED_OBJECTS.plural, VERTICAL_POD_AUTOSCALERS.plural}
        self.caches = ClusterCaches(server.client(), pace=FAST, clock=self.clock, **more)
        self.reader = ClusterReplicas(server.client(), self.caches, clock=self.clock)

    def started(self) -> Rig:
        self.caches.start()
        for cache in self.caches.every():
            assert cache.wait_settled(PATIENCE_S), cache.name
        return self

    def close(self) -> None:
        self.reader.close()
        self.caches.close()

    def put(self, resource: Resource, *objects: Json) -> None:
        for each in objects:
            self.server.store.put(resource, each)

    def read(self, *fleets: Fleet) -> Mapping[VariantKey, ScaleTarget]:
        return self.reader.read(fleets or (fleet(),))

    def target(self) -> ScaleTarget:
        return self.read()[V1]

    def writer(self) -> str:
        found = self.read().get(V1)
        return found.foreign_writer if found is not None else "unread"


@pytest.fixture
def server() -> Iterator[ApiServer]:
    with ApiServer() as started:
        yield started


@pytest.fixture
def rig(server: ApiServer) -> Iterator[Rig]:
    found = Rig(server)
    found.put(names.DEPLOYMENTS, a_deployment())
    found.put(names.NODES, a_node())
    yield found.started()
    found.close()


def fleet(kind: str = "Deployment", api: str = "apps/v1", name: str = "vllm-v1") -> Fleet:
    return a_fleet(a_variant(scaleTargetRef={"apiVersion": api, "kind": kind, "name": name}))


def test_a_deployment_is_read_without_a_request_of_its_own(rig: Rig, server: ApiServer) -> None:
    rig.put(names.PODS, a_pod("a"), a_pod("b", ready=False), a_pod("c", labels={"app": "other"}))
    eventually(lambda: len(rig.target().replicas) == 2)
    asked = len(server.requests)
    target = rig.target()
    assert (target.desired, target.chooses_victims, target.foreign_writer) == (2, True, "")
    assert [(r.name, r.phase) for r in target.replicas] == [("a", ReplicaPhase.READY), ("b", ReplicaPhase.STARTING)]
    stored = server.store.get(("apps", "v1", "deployments"), ("llm", "vllm-v1"))
    assert target.resource_version == stored["metadata"]["resourceVersion"]
    assert len(server.requests) == asked


def test_a_change_of_the_count_shows_with_its_version(rig: Rig, server: ApiServer) -> None:
    before = rig.target()
    server.store.change(names.DEPLOYMENTS, "llm", "vllm-v1", lambda one: one["spec"].update(replicas=5))
    eventually(lambda: rig.target().desired == 5)
    assert int(rig.target().resource_version) > int(before.resource_version)


def test_pods_of_another_deployment_with_the_same_labels_are_not_counted(rig: Rig) -> None:
    stranger = a_pod("x", owner=("ReplicaSet", "other-abc"))
    adopted = a_pod("y", owner=("ReplicaSet", "made-by-hand"))
    rig.put(names.PODS, a_pod("a"), stranger, adopted, a_pod("z", owner=("Job", "bench")))
    eventually(lambda: len(rig.caches.pods.objects()) == 4)
    assert [r.name for r in rig.target().replicas] == ["a", "y"]


def test_a_stateful_set_does_not_choose_who_leaves(rig: Rig) -> None:
    rig.put(names.STATEFUL_SETS, a_deployment("big", replicas=1))
    rig.put(names.PODS, a_pod("big-0", owner=("StatefulSet", "big")), a_pod("other-0", owner=("StatefulSet", "other")))
    eventually(lambda: rig.read(fleet("StatefulSet", name="big")).get(V1))
    eventually(lambda: len(rig.caches.pods.objects()) == 2)
    target = rig.read(fleet("StatefulSet", name="big"))[V1]
    assert (target.chooses_victims, [r.name for r in target.replicas]) == (False, ["big-0"])


def test_a_node_that_was_given_notice_counts_its_replicas_out(rig: Rig) -> None:
    rig.put(names.PODS, a_pod("a"))
    eventually(lambda: rig.target().ready == 1)
    rig.put(names.NODES, a_node(taints=["aws-node-termination-handler/spot-itn"]))
    eventually(lambda: rig.target().ready == 0)
    assert rig.target().in_phase(ReplicaPhase.DRAINING)


def test_a_target_that_does_not_exist_is_missing_and_named(rig: Rig) -> None:
    both = a_fleet(a_variant(scaleTargetRef={"name": "vllm-v1"}), a_variant("v2", scaleTargetRef={"name": "typo"}))
    assert set(rig.read(both)) == {V1}
    assert rig.reader.problems == {
        ("llm/llama-8b", "v2"): "Deployment llm/typo does not exist: create it, or mend scaleTargetRef"
    }


def leader_worker_set(**metadata: Any) -> Json:
    return {
        "metadata": {"name": "big", "namespace": "llm", **metadata},
        "spec": {"replicas": 2},
        "status": {"hpaPodSelector": f"{LWS}/name=big,{LWS}/worker-index=0"},
    }


def worker(group: int, index: int, **more: Any) -> Json:
    labels = {f"{LWS}/name": "big", f"{LWS}/group-index": str(group), f"{LWS}/worker-index": str(index)}
    return a_pod(f"big-{group}-{index}", labels=labels, annotations={f"{LWS}/size": "2"}, **more)


def test_a_leader_worker_set_is_read_by_its_scale_subresource_and_counted_by_groups(
    rig: Rig, server: ApiServer
) -> None:
    wanted = fleet("LeaderWorkerSet", "leaderworkerset.x-k8s.io/v1", "big")
    rig.put(names.LEADER_WORKER_SETS, leader_worker_set(managedFields=[owning("argocd-controller", "Apply")]))
    rig.put(names.PODS, worker(0, 0), worker(0, 1), worker(1, 0), worker(1, 1, ready=False))
    eventually(lambda: len(rig.caches.pods.objects()) == 4)
    target = rig.read(wanted)[V1]
    assert [(r.name, r.phase) for r in target.replicas] == [
        ("big-0-0", ReplicaPhase.READY),
        ("big-1-0", ReplicaPhase.STARTING),
    ]
    assert (target.desired, target.chooses_victims) == (2, False)
    assert target.foreign_writer == "field manager argocd-controller (Apply)"
    asked = len(server.requests)
    assert rig.read(wanted)[V1] == target
    assert len(server.requests) == asked + 1, "the object itself is read again only when it has changed"


THINGS = Resource("x.dev", "v1", "thingies")


def test_the_plural_of_an_unknown_kind_is_asked_once(rig: Rig, server: ApiServer) -> None:
    server.discovery["/apis/x.dev/v1"] = [
        {"name": "thingies", "kind": "Thing"},
        {"name": "thingies/scale", "kind": "Scale"},
    ]
    thing = {"metadata": {"name": "t", "namespace": "llm"}, "spec": {"replicas": 3}, "status": {"selector": "app=vllm"}}
    rig.put(THINGS, thing)
    rig.put(names.PODS, a_pod("a", owner=("Thing", "t")))
    eventually(rig.caches.pods.objects)
    for _ in range(3):
        target = rig.read(fleet("Thing", "x.dev/v1", "t"))[V1]
    assert (target.desired, [r.name for r in target.replicas]) == (3, ["a"])
    assert sum(request == "GET /apis/x.dev/v1" for request in server.requests) == 1


@pytest.mark.parametrize(
    ("kind", "api", "told"),
    [
        ("Thing", "x.dev/v2", "this cluster has no API x.dev/v2; install its CRD, or mend scaleTargetRef"),
        ("Other", "x.dev/v1", "x.dev/v1 has no kind Other; mend scaleTargetRef"),
        ("Thing", "x.dev/v1", "has no scale subresource, or is not there"),
        ("Mute", "x.dev/v1", "has no selector that tells its pods"),
    ],
)
def test_a_kind_that_cannot_be_scaled_is_missing_and_named(
    rig: Rig, server: ApiServer, kind: str, api: str, told: str
) -> None:
    server.discovery["/apis/x.dev/v1"] = [
        {"name": "thingies", "kind": "Thing"},
        {"name": "mutes", "kind": "Mute"},
    ]
    rig.put(Resource("x.dev", "v1", "mutes"), {"metadata": {"name": "t", "namespace": "llm"}, "spec": {"replicas": 3}})
    both = a_fleet(
        a_variant(scaleTargetRef={"name": "vllm-v1"}),
        a_variant("v2", scaleTargetRef={"apiVersion": api, "kind": kind, "name": "t"}),
    )
    assert set(rig.read(both)) == {V1}
    assert told in rig.reader.problems["llm/llama-8b", "v2"]


def test_an_autoscaler_is_the_foreign_writer_until_it_is_gone(rig: Rig, server: ApiServer) -> None:
    assert rig.writer() == ""
    rig.put(names.HORIZONTAL_POD_AUTOSCALERS, an_autoscaler("llama"))
    eventually(lambda: rig.writer() == "HorizontalPodAutoscaler llm/llama")
    server.store.remove(names.HORIZONTAL_POD_AUTOSCALERS, "llm", "llama")
    eventually(lambda: rig.writer() == "")


def test_a_scaled_object_is_seen_once_keda_is_installed(rig: Rig, server: ApiServer) -> None:
    rig.put(names.SCALED_OBJECTS, an_autoscaler("llama"))
    server.absent.clear()
    eventually(lambda: rig.writer() == "ScaledObject llm/llama")


def test_a_manager_that_applies_replicas_is_the_foreign_writer(rig: Rig) -> None:
    rig.put(names.DEPLOYMENTS, a_deployment(managed=[owning("kustomize-controller", "Apply")]))
    eventually(lambda: rig.writer() == "field manager kustomize-controller (Apply)")


def test_a_person_who_scales_is_told_and_not_opposed(rig: Rig) -> None:
    rig.put(names.DEPLOYMENTS, a_deployment(replicas=7, managed=[owning("kubectl", subresource="scale")]))
    eventually(lambda: rig.target().desired == 7)
    assert rig.writer() == ""
    assert rig.reader.by_hand == {V1: "kubectl"}


def test_a_vertical_autoscaler_is_warned_about_and_not_opposed(rig: Rig, server: ApiServer) -> None:
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "vllm-v1"}
    rig.put(VERTICAL_POD_AUTOSCALERS, {"metadata": {"name": "v", "namespace": "llm"}, "spec": {"targetRef": target}})
    server.absent.clear()
    eventually(lambda: rig.writer() == "" and rig.reader.warnings)
    assert "VerticalPodAutoscaler llm/v (updateMode Auto) may evict" in rig.reader.warnings[V1][0]


def another(name: str, target: str = "vllm-v1") -> Fleet:
    found = fleet(name=target)
    return found.model_copy(update={"metadata": found.metadata.model_copy(update={"name": name})})


def test_two_fleets_with_one_target_name_each_other(rig: Rig) -> None:
    found = rig.read(fleet(), another("other"))
    assert found[V1].foreign_writer == "variant v1 of fleet llm/other"
    assert found["llm/other", "v1"].foreign_writer == "variant v1 of fleet llm/llama-8b"


def test_a_reading_of_some_fleets_knows_of_all_that_are_declared(rig: Rig) -> None:
    declared = [fleet(), another("other"), another("lost", target="typo")]
    reader = ClusterReplicas(rig.server.client(), rig.caches, declared=lambda: declared, clock=rig.clock)
    reader.read(declared)
    assert set(reader.problems) == {("llm/lost", "v1")}
    assert reader.read([fleet()])[V1].foreign_writer == "variant v1 of fleet llm/other"
    assert set(reader.problems) == {("llm/lost", "v1")}, "it was not looked at again"
    del declared[1:]
    assert reader.read([fleet()])[V1].foreign_writer == ""
    assert not reader.problems
    reader.close()


def test_nothing_is_claimed_before_all_was_listed(server: ApiServer) -> None:
    rig = Rig(server)
    rig.put(names.DEPLOYMENTS, a_deployment())
    with pytest.raises(TransientError, match="pods have not been read yet: the first list is under way"):
        rig.read()
    server.refuse(names.HORIZONTAL_POD_AUTOSCALERS.plural, 403, "Forbidden")
    rig.started()
    with pytest.raises(TransientError, match=r"horizontalpodautoscalers have not been read yet: .* \(403\)"):
        rig.read()
    rig.close()


def test_a_server_that_is_silent_for_too_long_is_not_believed(rig: Rig, server: ApiServer) -> None:
    assert rig.target().desired == 2
    server.stop()
    eventually(lambda: "does not answer: [Errno 111] Connection refused" in rig.caches.pods.error)
    rig.clock.at_s += 40.0
    assert rig.target().desired == 2
    rig.clock.at_s += 10.0
    with pytest.raises(TransientError, match=r"nothing was heard of pods for 50 s: pods: .*does not answer"):
        rig.read()
    server.start()
    eventually(lambda: not any(cache.error for cache in rig.caches.every() if not cache.absent))
    assert rig.target().desired == 2


def test_deployments_alone_that_cannot_be_read_are_missing(rig: Rig, server: ApiServer) -> None:
    rig.put(names.STATEFUL_SETS, a_deployment("big", replicas=1))
    both = a_fleet(
        a_variant(scaleTargetRef={"name": "vllm-v1"}),
        a_variant("v2", scaleTargetRef={"kind": "StatefulSet", "name": "big"}),
    )
    eventually(lambda: len(rig.read(both)) == 2)
    server.refuse(names.DEPLOYMENTS.plural, 403, "Forbidden")
    server.end_watches()
    eventually(lambda: rig.caches.deployments.denied)
    rig.clock.at_s += 50.0
    others = (rig.caches.pods, rig.caches.stateful_sets, rig.caches.horizontal)
    eventually(lambda: server.bookmark() or all(cache.quiet_s < 1 for cache in others))
    assert set(rig.read(both)) == {("llm/llama-8b", "v2")}
    assert "nothing was heard of deployments for 50 s" in rig.reader.problems[V1]
    with pytest.raises(TransientError, match="Deployment llm/vllm-v1 cannot be read"):
        rig.read()


def test_without_the_right_to_see_nodes_replicas_are_read_all_the_same(server: ApiServer) -> None:
    server.refuse("nodes", 403, "Forbidden")
    server.refuse(names.SCALED_OBJECTS.plural, 403, "Forbidden")
    rig = Rig(server)
    rig.put(names.DEPLOYMENTS, a_deployment())
    rig.put(names.PODS, a_pod("a"))
    rig.started()
    assert rig.target().ready == 1
    rig.close()


def test_one_namespace_is_read_with_the_rights_of_a_role(server: ApiServer) -> None:
    rig = Rig(server, namespace="llm")
    rig.put(names.DEPLOYMENTS, a_deployment())
    rig.started()
    assert rig.target().desired == 2
    paths = [request.split("?")[0] for request in server.requests]
    assert all("/namespaces/llm/" in path for path in paths)
    rig.close()


def test_no_fleets_need_no_cluster(server: ApiServer) -> None:
    rig = Rig(server)
    assert rig.reader.read([]) == {}
    rig.close()


def test_a_reading_that_nothing_changed_is_the_same_again(rig: Rig) -> None:
    rig.put(names.PODS, a_pod("a"), a_pod("b"))
    eventually(lambda: rig.target().ready == 2)
    assert rig.target().replicas is rig.target().replicas
