"""Which pods make a replica, and where it is in its life."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Mapping
from typing import Any

import pytest

from controller.cluster.client import Json
from controller.model.snapshot import Replica, ReplicaPhase
from controller.observe.cluster_facts import NodeFacts, node_facts, pod_facts
from controller.observe.pods import replicas_of
from tests.contract.cluster.objects import NO_GPU, T0, a_condition, a_node, a_pod, waiting

LWS = "leaderworkerset.sigs.k8s.io"


def nodes(*raw: Json) -> Mapping[str, NodeFacts]:
    return {each["metadata"]["name"]: node_facts(each) for each in (a_node(), *raw)}


def seen(*pods: Json, desired: int = 1, nodes: Mapping[str, NodeFacts] | None = None) -> tuple[Replica, ...]:
    return replicas_of([pod_facts(pod) for pod in pods], desired, nodes)


def one(pod: Json, **more: Any) -> Replica:
    (replica,) = seen(pod, **more)
    return replica


def unschedulable() -> Json:
    message = f"{NO_GPU} preemption: 0/3 nodes are available: 3 No preemption victims found."
    return a_pod(
        node="",
        phase="Pending",
        conditions=[a_condition("PodScheduled", true=False, reason="Unschedulable", message=message)],
    )


def test_a_ready_pod_is_a_ready_replica_since_its_condition_turned() -> None:
    replica = one(a_pod("a", created_s=5.0, ready_s=65.0))
    assert replica == Replica("a", ReplicaPhase.READY, T0 + 5, T0 + 65, address="10.1.0.7:8000")


def test_a_pod_that_no_node_takes_is_pending_in_the_schedulers_words() -> None:
    replica = one(unschedulable())
    assert (replica.phase, replica.detail) == (ReplicaPhase.PENDING, NO_GPU)


def test_a_pod_that_was_not_looked_at_yet_is_pending() -> None:
    assert one(a_pod(node="", phase="Pending")).phase is ReplicaPhase.PENDING


def test_a_pod_with_a_node_is_starting_until_it_is_ready() -> None:
    replica = one(a_pod(ready=False, container=waiting("ContainerCreating")))
    assert (replica.phase, replica.ready_at, replica.detail) == (
        ReplicaPhase.STARTING,
        None,
        "vllm: ContainerCreating",
    )
    assert one(a_pod(ready=False)) == Replica("vllm-v1-abc-1", ReplicaPhase.STARTING, T0, address="10.1.0.7:8000")


@pytest.mark.parametrize("reason", ["CrashLoopBackOff", "ImagePullBackOff", "CreateContainerConfigError"])
def test_a_pod_that_fails_before_it_was_ever_ready_has_failed(reason: str) -> None:
    replica = one(a_pod(ready=False, container=waiting(reason)))
    assert (replica.phase, replica.detail) == (ReplicaPhase.FAILED, f"vllm: {reason}")


def test_the_reason_of_a_crash_is_told_without_names_of_pods() -> None:
    ended = {"lastState": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}, "restartCount": 4}
    crash = waiting("CrashLoopBackOff", "back-off 40s restarting failed container=vllm pod=vllm-v1-abc-1_llm", **ended)
    assert one(a_pod(ready=False, container=crash)).detail == "vllm: CrashLoopBackOff, last exit 137 (OOMKilled)"


def test_an_image_that_cannot_be_pulled_is_named() -> None:
    pulling = waiting("ImagePullBackOff", 'Back-off pulling image "vllm:typo"')
    assert one(a_pod(ready=False, container=pulling)).detail == (
        'vllm: ImagePullBackOff, Back-off pulling image "vllm:typo"'
    )


def test_a_container_that_crashes_again_and_again_has_failed_while_it_runs_too() -> None:
    looping = {"restartCount": 3, "lastState": {"terminated": {"exitCode": 1}}, "state": {"running": {}}}
    assert one(a_pod(ready=False, container=looping)).phase is ReplicaPhase.FAILED
    assert one(a_pod(ready=False, container={**looping, "restartCount": 1})).phase is ReplicaPhase.STARTING


def test_an_init_container_that_crashes_fails_the_replica() -> None:
    pod = a_pod(
        ready=False,
        container=waiting("PodInitializing"),
        initContainerStatuses=[{"name": "fetch", **waiting("CrashLoopBackOff")}],
    )
    assert (one(pod).phase, one(pod).detail) == (ReplicaPhase.FAILED, "fetch: CrashLoopBackOff")


def test_a_pod_that_was_ready_and_is_no_more_is_on_its_way_again() -> None:
    lost = a_condition("Ready", true=False, at_s=300.0)
    replica = one(a_pod(ready=False, conditions=[lost], container=waiting("CrashLoopBackOff")))
    assert (replica.phase, replica.ready_at) == (ReplicaPhase.STARTING, None)
    assert replica.detail == "was ready before; vllm: CrashLoopBackOff"


def test_a_pod_that_was_asked_to_leave_is_draining() -> None:
    assert one(a_pod(deleting=True)).phase is ReplicaPhase.DRAINING
    assert one(a_pod(deleting=True, ready=False, container=waiting("CrashLoopBackOff"))).phase is ReplicaPhase.DRAINING


def test_a_pod_that_is_being_evicted_is_counted_out_before_it_is_deleted() -> None:
    eviction = a_condition(
        "DisruptionTarget", true=True, reason="EvictionByEvictionAPI", message="Eviction API: evicting"
    )
    replica = one(a_pod(conditions=[eviction]))
    assert (replica.phase, replica.detail) == (ReplicaPhase.DRAINING, "Eviction API: evicting")


@pytest.mark.parametrize(
    ("taint", "why"),
    [
        ("aws-node-termination-handler/spot-itn", "node gpu-1: its spot instance is about to be taken back"),
        ("cloud.google.com/impending-node-termination", "node gpu-1: its machine is about to be terminated"),
        ("karpenter.sh/disrupted", "node gpu-1: Karpenter removes its node"),
        ("ToBeDeletedByClusterAutoscaler", "node gpu-1: the cluster autoscaler removes its node"),
    ],
)
def test_a_node_that_was_given_notice_counts_its_replicas_out(taint: str, why: str) -> None:
    replica = one(a_pod(), nodes=nodes(a_node(taints=[taint])))
    assert (replica.phase, replica.detail, replica.ready_at) == (ReplicaPhase.DRAINING, why, T0 + 30)


def test_a_cordon_alone_sends_nobody_away() -> None:
    cordoned = nodes(a_node(cordoned=True))
    assert one(a_pod(), nodes=cordoned).phase is ReplicaPhase.READY
    assert one(a_pod(deleting=True), nodes=cordoned).detail == "node gpu-1 is drained"


def test_a_node_that_is_silent_or_gone_has_no_replicas() -> None:
    assert one(a_pod(), nodes=nodes(a_node(ready="Unknown"))).detail == "node gpu-1 does not answer"
    assert one(a_pod(node="gpu-9"), nodes=nodes()).detail == "node gpu-9 is gone"
    assert one(a_pod(node="gpu-9"), nodes=None).phase is ReplicaPhase.READY
    assert one(a_pod(node="gpu-9", ready=False), nodes=nodes()).phase is ReplicaPhase.STARTING


def test_pods_that_have_ended_are_no_replicas() -> None:
    evicted = a_pod("a", ready=False, phase="Failed", reason="Evicted")
    done = a_pod("b", ready=False, phase="Succeeded")
    assert seen(evicted, done, a_pod("c"), desired=3) == (one(a_pod("c")),)


def test_a_pod_that_was_refused_by_its_node_counts_until_another_takes_its_place() -> None:
    refused = a_pod("a", ready=False, phase="Failed", reason="UnexpectedAdmissionError", message="no GPU is healthy")
    failed, _ = seen(refused, a_pod("b", created_s=9.0), desired=2)
    assert (failed.phase, failed.detail) == (ReplicaPhase.FAILED, "UnexpectedAdmissionError: no GPU is healthy")
    assert [r.name for r in seen(refused, a_pod("b"), a_pod("c"), desired=2)] == ["b", "c"]


def test_both_revisions_of_a_template_that_changes_are_there_and_named() -> None:
    old = a_pod("a", labels={"pod-template-hash": "aaa"})
    new = a_pod("b", labels={"pod-template-hash": "bbb"}, created_s=50.0, ready=False)
    assert [r.detail for r in seen(old, new, desired=2)] == ["revision aaa", "revision bbb"]
    assert one(old).detail == ""


def member(index: int, group: int = 0, **more: Any) -> Json:
    labels = {f"{LWS}/name": "big", f"{LWS}/group-index": str(group), f"{LWS}/worker-index": str(index)}
    suffix = f"-{index}" if index else ""
    return a_pod(f"big-{group}{suffix}", labels=labels, annotations={f"{LWS}/size": "3"}, **more)


def test_leader_and_workers_are_one_replica_once_all_are_ready() -> None:
    (whole,) = seen(member(0), member(1), member(2, ready_s=90.0))
    assert (whole.name, whole.phase, whole.ready_at) == ("big-0", ReplicaPhase.READY, T0 + 90)
    (part,) = seen(member(0), member(1, ready=False), member(2))
    assert (part.phase, part.ready_at) == (ReplicaPhase.STARTING, None)


def test_a_group_is_starting_until_all_its_pods_are_there() -> None:
    (replica,) = seen(member(0), member(1))
    assert (replica.phase, replica.detail) == (ReplicaPhase.STARTING, "2 of its 3 pods are there")


def test_a_group_is_as_well_as_its_worst_pod() -> None:
    crash = member(1, ready=False, container=waiting("CrashLoopBackOff"))
    assert seen(member(0), crash, member(2))[0].phase is ReplicaPhase.FAILED
    assert seen(member(0), member(1, node="", phase="Pending"), member(2))[0].phase is ReplicaPhase.PENDING
    spot = nodes(a_node("spot", taints=["karpenter.sh/disrupted"]))
    assert seen(member(0), member(1, node="spot"), member(2), nodes=spot)[0].phase is ReplicaPhase.DRAINING


def test_a_group_leaves_with_its_leader_and_starts_anew_beside_old_workers() -> None:
    (leaving,) = seen(member(0, deleting=True), member(1), member(2))
    assert leaving.phase is ReplicaPhase.DRAINING
    (anew,) = seen(member(0, ready=False), member(1, deleting=True), member(2, deleting=True))
    assert anew.phase is ReplicaPhase.STARTING


def test_two_groups_are_two_replicas() -> None:
    pods = [member(index, group) for group in range(2) for index in range(3)]
    assert [r.name for r in seen(*pods, desired=2)] == ["big-0", "big-1"]


def test_facts_of_a_pod_keep_what_others_need() -> None:
    facts = pod_facts(a_pod(annotations={"controller.kubernetes.io/pod-deletion-cost": "-10"}))
    assert (facts.gpus, facts.deletion_cost, facts.owner) == (2, "-10", ("ReplicaSet", "vllm-v1-abc"))


def test_what_is_kept_of_a_pod_is_small() -> None:
    raw = [json.dumps(a_pod(f"vllm-v1-abc-{n}", ready_s=30.0 + n)) for n in range(500)]
    tracemalloc.start()
    kept = [pod_facts(json.loads(each)) for each in raw]
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert size / len(kept) < 2_500, "10,000 pods would take more than 25 MB"


@pytest.mark.parametrize("raw", [{}, {"metadata": None, "status": {"conditions": "?"}}, {"spec": {"containers": [7]}}])
def test_a_pod_that_makes_no_sense_is_pending_and_nothing_breaks(raw: Json) -> None:
    assert one(raw).phase is ReplicaPhase.PENDING
    assert not node_facts(raw).leaving
