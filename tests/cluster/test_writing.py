"""Writing to a real API server: replicas with chosen victims, conflicts, status, Events and memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from controller.act.cluster_scale import ClusterReplicaWriter
from controller.clock import SystemClock
from controller.cluster.client import ConflictError, PatchKind
from controller.cluster.names import CONFIG_MAPS, DEPLOYMENTS, EVENTS, FLEETS, PODS, STATEFUL_SETS
from controller.errors import TransientError
from controller.model.decision import OutcomeStatus, ScaleWrite
from controller.model.fleet import Fleet
from controller.model.status import FleetStatus
from controller.model.variant import ScaleTargetRef
from controller.ports import CycleRecord
from controller.record.cluster_board import ClusterBoard
from controller.record.cluster_events import ClusterEvents
from controller.record.cluster_memory import ClusterMemory
from controller.record.cluster_status import ClusterStatus
from tests.cluster.conftest import AddNode
from tests.cluster.plane.plane import ControlPlane
from tests.cluster.plane.waiting import wait_until
from tests.cluster.test_lease import settled
from tests.unit.record.cycles import T0, a_condition, a_cycle, a_decision, a_fleet, a_memory, an_outcome

CRD = Path(__file__).parents[2] / "deploy" / "controller" / "crd.yaml"
ORDER = ScaleWrite("llm/llama-8b", "v1", 1, 3, "7")


def workload(kind: str, name: str, replicas: int, node: dict[str, str]) -> dict[str, Any]:
    labels = {"app": name}
    spec = {"nodeSelector": dict(node), "containers": [{"name": "vllm", "image": "vllm"}]}
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": spec},
        }
        | ({"serviceName": name} if kind == "StatefulSet" else {}),
    }


def writer(plane: ControlPlane, namespace: str, kind: str = "Deployment") -> ClusterReplicaWriter:
    ref = ScaleTargetRef(kind=kind, name="vllm")
    return ClusterReplicaWriter(plane.client, lambda *_key: (namespace, ref), lambda *_kind: "")


def ready_pods(plane: ControlPlane, namespace: str) -> set[str]:
    found = plane.client.get(PODS.path(namespace), labelSelector="app=vllm")["items"]
    return {
        pod["metadata"]["name"]
        for pod in found
        if not pod["metadata"].get("deletionTimestamp")
        and any(c["type"] == "Ready" and c["status"] == "True" for c in pod.get("status", {}).get("conditions", ()))
    }


def running(plane: ControlPlane, namespace: str, replicas: int, node: dict[str, str]) -> dict[str, Any]:
    """A Deployment all of whose pods are ready, as it stands then."""
    plane.client.create(DEPLOYMENTS.path(namespace), workload("Deployment", "vllm", replicas, node))
    wait_until("its pods are ready", lambda: len(ready_pods(plane, namespace)) == replicas, timeout_s=90)
    return settled(plane.client, namespace, "vllm")


def test_the_pods_that_were_chosen_leave_and_the_others_stay(
    plane: ControlPlane, namespace: str, gpu_node: AddNode
) -> None:
    found = running(plane, namespace, 5, dict(gpu_node()))
    pods = sorted(ready_pods(plane, namespace))
    victims = (pods[3], pods[1])
    order = ScaleWrite("llm/llama", "v1", 5, 3, found["metadata"]["resourceVersion"], victims)

    outcome = writer(plane, namespace).scale(order)

    assert outcome.status is OutcomeStatus.APPLIED, outcome.detail
    wait_until("two have left", lambda: len(ready_pods(plane, namespace)) == 3, timeout_s=90)
    assert ready_pods(plane, namespace) == set(pods) - set(victims)


def test_a_victim_whose_reduction_met_a_conflict_is_one_no_more_at_the_next(
    plane: ControlPlane, namespace: str, gpu_node: AddNode
) -> None:
    found = running(plane, namespace, 3, dict(gpu_node()))
    first, second, third = sorted(ready_pods(plane, namespace))
    write = writer(plane, namespace)
    order = ScaleWrite("llm/llama", "v1", 3, 2, found["metadata"]["resourceVersion"], (first,))
    pods = write._victims.pods(namespace, "app=vllm")
    write._victims.mark(namespace, pods, (first,))  # then the scale write met a conflict

    outcome = write.scale(replace(order, victims=(second,)))

    assert outcome.status is OutcomeStatus.APPLIED, outcome.detail
    wait_until("one has left", lambda: len(ready_pods(plane, namespace)) == 2, timeout_s=90)
    assert ready_pods(plane, namespace) == {first, third}
    assert not plane.client.get(PODS.path(namespace, first))["metadata"].get("annotations")


def test_an_order_onto_an_older_version_is_a_conflict(plane: ControlPlane, namespace: str) -> None:
    plane.client.create(DEPLOYMENTS.path(namespace), workload("Deployment", "vllm", 2, {"nowhere": "true"}))
    found = settled(plane.client, namespace, "vllm")
    plane.client.patch(DEPLOYMENTS.path(namespace, "vllm"), {"metadata": {"annotations": {"a": "b"}}}, PatchKind.MERGE)

    outcome = writer(plane, namespace).scale(ScaleWrite("llm/llama", "v1", 2, 4, found["metadata"]["resourceVersion"]))

    assert outcome.status is OutcomeStatus.CONFLICT
    assert "has been modified" in outcome.detail
    assert plane.client.get(DEPLOYMENTS.path(namespace, "vllm"))["spec"]["replicas"] == 2


@pytest.mark.parametrize("kind", ["Deployment", "StatefulSet"])
def test_an_order_is_written_in_our_name_through_the_scale_subresource_and_again_changes_nothing(
    plane: ControlPlane, namespace: str, kind: str
) -> None:
    resource = DEPLOYMENTS if kind == "Deployment" else STATEFUL_SETS
    created = plane.client.create(resource.path(namespace), workload(kind, "vllm", 0, {"nowhere": "true"}))
    path = resource.path(namespace, "vllm")
    generation = created["metadata"]["generation"]
    found = wait_until(
        "its controller has seen it",
        lambda: f if (f := plane.client.get(path)).get("status", {}).get("observedGeneration") == generation else None,
    )
    order = ScaleWrite("llm/llama", "v1", 0, 2, found["metadata"]["resourceVersion"])

    outcome = writer(plane, namespace, kind).scale(order)

    assert outcome.status is OutcomeStatus.APPLIED, outcome.detail
    after = plane.client.get(path)
    assert after["spec"]["replicas"] == 2
    ours = [m for m in after["metadata"]["managedFields"] if m["manager"] == "vllm-governor"]
    assert [m.get("subresource") for m in ours] == ["scale"]
    again = replace(order, resource_version=after["metadata"]["resourceVersion"])
    assert writer(plane, namespace, kind).scale(again).status in (OutcomeStatus.APPLIED, OutcomeStatus.CONFLICT)
    assert plane.client.get(path)["metadata"]["generation"] == after["metadata"]["generation"]


def test_a_target_that_is_not_there_failed_in_the_words_of_the_api_server(plane: ControlPlane, namespace: str) -> None:
    outcome = writer(plane, namespace).scale(ScaleWrite("llm/llama", "v1", 1, 2, "1"))

    assert outcome.status is OutcomeStatus.FAILED
    assert 'deployments.apps "vllm" not found' in outcome.detail


# Status, Events -------------------------------------------------------------------------------------------------------


@pytest.fixture
def fleet(plane: ControlPlane, namespace: str) -> Fleet:
    plane.apply(CRD)
    plane.kubectl("wait", "--for=condition=Established", "--timeout=50s", "crd/fleets.governor.dev")
    wanted = a_fleet(namespace=namespace, generation=1)
    body = wanted.model_dump(mode="json", by_alias=True, exclude_unset=True)
    body |= {"apiVersion": "governor.dev/v1alpha1", "kind": "Fleet"}
    body["metadata"] = {"name": wanted.metadata.name, "namespace": namespace}
    plane.client.create(FLEETS.path(namespace), body, fieldValidation="Strict")
    return wanted


@pytest.fixture
def board(plane: ControlPlane) -> Callable[[CycleRecord], None]:
    status = ClusterStatus(plane.client, SystemClock())
    events = ClusterEvents(plane.client, SystemClock(), "governor-0_abc", status.uid)

    def show(record: CycleRecord) -> None:
        outcomes = [an_outcome(record)] if record.plan.writes else []
        both = ClusterBoard(status, events)
        both.publish([record], outcomes, 0.1)
        both.start()
        both.close(30.0)

    return show


def test_kubectl_shows_what_a_cycle_saw_and_did(
    plane: ControlPlane, namespace: str, fleet: Fleet, board: Callable[[CycleRecord], None]
) -> None:
    decision = a_decision(fleet, before=3, after=5, conditions=[a_condition("Ready", "False", T0 - 60, "3 of 5")])

    board(a_cycle(fleet, decision=decision))

    status = plane.client.get(FLEETS.path(namespace, "llama-8b"))["status"]
    assert FleetStatus.model_validate(status).document() == status, "the schema keeps every field"
    table = plane.kubectl("get", "fleets", "-n", namespace)
    assert "Stable" in table
    assert "3/3" in table
    assert "v1 100" in table
    described = plane.kubectl("describe", "fleet", "llama-8b", "-n", namespace)
    assert "ScaledUp" in described
    assert "v1: 3 → 5 replicas." in described
    waited = plane.kubectl("wait", "--for=condition=Ready=false", "fleet/llama-8b", "-n", namespace, "--timeout=5s")
    assert "condition met" in waited


def test_a_status_keeps_up_with_its_owners_changes_and_leaves_the_spec_alone(
    plane: ControlPlane, namespace: str, fleet: Fleet, board: Callable[[CycleRecord], None]
) -> None:
    board(a_cycle(fleet))
    path = FLEETS.path(namespace, "llama-8b")
    changed = plane.client.patch(path, {"spec": {"scaling": {"paused": True}}}, PatchKind.MERGE)

    board(a_cycle(a_fleet(namespace=namespace, generation=2), after=4))

    found = plane.client.get(path)
    assert found["status"]["observedGeneration"] == 2
    assert found["status"]["lastDecision"]["action"] == "Up"
    assert found["spec"] == changed["spec"]
    assert found["metadata"]["generation"] == 2, "a status is no change of what is wanted"


def test_a_status_that_was_compared_with_an_older_version_is_not_written(
    plane: ControlPlane, namespace: str, fleet: Fleet, board: Callable[[CycleRecord], None]
) -> None:
    path = FLEETS.path(namespace, "llama-8b")
    before = plane.client.get(path)["metadata"]["resourceVersion"]
    board(a_cycle(fleet))
    late = {"metadata": {"resourceVersion": before}, "status": {"phase": "Late"}}

    with pytest.raises(ConflictError):
        plane.client.patch(FLEETS.path(namespace, "llama-8b", "status"), late, PatchKind.MERGE)

    assert plane.client.get(path)["status"]["phase"] == "Stable"


def test_the_same_fact_counts_up_its_event(plane: ControlPlane, namespace: str, fleet: Fleet) -> None:
    record = a_cycle(fleet, before=3, after=5)
    minute = iter(range(0, 10_000, 61))

    class Minutes(SystemClock):
        def monotonic(self) -> float:
            return float(next(minute))

    events = ClusterEvents(plane.client, Minutes(), "governor-0_abc")
    for _ in range(3):
        events.note([record], [an_outcome(record, OutcomeStatus.CONFLICT)])
        events.send()

    (event,) = plane.client.get(EVENTS.path(namespace))["items"]
    assert event["series"]["count"] >= 2
    assert events.dropped == 0


# Memory -----------------------------------------------------------------------------------------------------------


def test_memory_is_in_the_cluster_and_a_deposed_writer_meets_a_conflict(plane: ControlPlane, namespace: str) -> None:
    fleet = a_fleet()
    first = {fleet.key: replace(a_memory(fleet), intent=(ORDER,))}
    leads = iter([True, True, False])
    old = ClusterMemory(plane.client, namespace, SystemClock(), held=lambda: next(leads, False))
    new = ClusterMemory(plane.client, namespace, SystemClock())
    old.save(first)
    assert new.load() == first
    second = {fleet.key: replace(a_memory(fleet), intent=(replace(ORDER, replicas=4),))}
    new.save(second)

    with pytest.raises(TransientError, match="not the leader"):
        old.save({fleet.key: replace(a_memory(fleet), intent=(replace(ORDER, replicas=9),))})

    assert ClusterMemory(plane.client, namespace, SystemClock()).load() == second
    new.forget(fleet.key)
    assert not [
        found
        for found in plane.client.get(CONFIG_MAPS.path(namespace))["items"]
        if found["metadata"]["name"].startswith("memory-")
    ]
    for store in (old, new):
        store.close()
