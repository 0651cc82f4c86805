"""Leadership on a real API server: one leads, a successor follows, and a frozen leader's write does no harm."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from controller.act.cluster_scale import ClusterReplicaWriter
from controller.cluster.client import ClusterClient
from controller.cluster.election import Timing
from controller.cluster.lease import Lease
from controller.cluster.names import DEPLOYMENTS, LEASES
from controller.model.decision import OutcomeStatus, ScaleWrite
from controller.model.variant import ScaleTargetRef
from tests.cluster.frozen_leader import TIMING
from tests.cluster.plane.plane import ControlPlane
from tests.cluster.plane.waiting import wait_until

ROOT = Path(__file__).parents[2]
LONG = Timing(duration_s=60, renew_s=0.5, margin_s=1.0, poll_s=0.1)


def deployment(name: str, replicas: int) -> dict[str, Any]:
    """One whose pods no node takes: only its number counts here."""
    labels = {"app": name}
    spec = {"nodeSelector": {"nowhere": "true"}, "containers": [{"name": "vllm", "image": "vllm"}]}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": spec},
        },
    }


def settled(client: ClusterClient, namespace: str, name: str) -> dict[str, Any]:
    """The Deployment once its controller has seen it and writes no more of its status for it."""

    def seen() -> dict[str, Any] | None:
        found = client.get(DEPLOYMENTS.path(namespace, name))
        status = found.get("status", {})
        done = status.get("observedGeneration") == found["metadata"]["generation"]
        return found if done and status.get("replicas", 0) == found["spec"]["replicas"] else None

    wait_until(f"{name} is settled", seen)
    before = ""
    while (found := client.get(DEPLOYMENTS.path(namespace, name)))["metadata"]["resourceVersion"] != before:
        before = found["metadata"]["resourceVersion"]
        wait_until("a moment", iter([None, None, None, True]).__next__)
    return found


@contextmanager
def ended(process: subprocess.Popen[str]) -> Iterator[None]:
    """Whatever happens, the process is no more afterwards, frozen or not."""
    try:
        yield
    finally:
        process.kill()
        process.wait(10)


@pytest.fixture
def contender(plane: ControlPlane, namespace: str) -> Iterator[Callable[[str, Timing], Lease]]:
    leases = []

    def start(name: str, timing: Timing) -> Lease:
        client = ClusterClient.of_environment(plane.kubeconfig, timeout_s=2.0)
        leases.append(Lease(client, namespace, "governor", name, timing))
        leases[-1].start()
        return leases[-1]

    yield start
    for lease in leases:
        lease.close()


def test_one_leads_and_when_it_ends_the_other_follows_without_waiting_for_the_lease_to_end(
    plane: ControlPlane, namespace: str, contender: Callable[[str, Timing], Lease]
) -> None:
    one = contender("one", LONG)
    wait_until("one leads", one.held)
    two = contender("two", LONG)
    path = LEASES.path(namespace, "governor")
    first = plane.client.get(path)["spec"]["renewTime"]
    wait_until("it is renewed", lambda: plane.client.get(path)["spec"]["renewTime"] > first)
    both = (one.held(), two.held())

    one.close()

    assert both == (True, False)
    assert not one.held()
    wait_until("two leads", two.held, timeout_s=30)
    spec = plane.client.get(path)["spec"]
    assert (spec["holderIdentity"], spec["leaseTransitions"]) == ("two", two.generation)
    assert two.generation == one.generation + 1


def test_a_holder_that_vanished_is_succeeded_after_its_lease_ended(
    contender: Callable[[str, Timing], Lease],
) -> None:
    one = contender("one", TIMING)
    wait_until("one leads", one.held)
    one._stop.set()  # a process that is no more: its thread ends without a word
    two = contender("two", TIMING)

    wait_until("two leads", two.held, timeout_s=60)

    assert not one.held()


def test_a_lease_that_somebody_deleted_is_made_anew(
    plane: ControlPlane, namespace: str, contender: Callable[[str, Timing], Lease]
) -> None:
    one = contender("one", LONG)
    wait_until("one leads", one.held)

    plane.client.delete(LEASES.path(namespace, "governor"))

    wait_until("it is there again", lambda: plane.client.get(LEASES.path(namespace, "governor")))
    wait_until("one leads", one.held)


def test_the_write_of_a_leader_that_was_frozen_before_it_sent_it_meets_a_conflict_after_its_successors(
    plane: ControlPlane, namespace: str, contender: Callable[[str, Timing], Lease]
) -> None:
    plane.client.create(DEPLOYMENTS.path(namespace), deployment("vllm", 2))
    settled(plane.client, namespace, "vllm")
    argv = [sys.executable, "-m", "tests.cluster.frozen_leader", str(plane.kubeconfig), namespace]
    with subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE, text=True) as old, ended(old):
        assert old.stdout is not None
        assert old.stdout.readline() == "frozen\n"
        wait_until("it is stopped", lambda: psutil.Process(old.pid).status() == psutil.STATUS_STOPPED)
        new = contender("new", TIMING)
        wait_until("the successor leads", new.held, timeout_s=60)
        found = settled(plane.client, namespace, "vllm")
        order = ScaleWrite("llm/llama", "v1", 2, 7, found["metadata"]["resourceVersion"])
        writer = ClusterReplicaWriter(
            plane.client, lambda *_key: (namespace, ScaleTargetRef(name="vllm")), lambda *_kind: ""
        )
        taken = writer.scale(order)

        old.send_signal(signal.SIGCONT)
        said = json.loads(old.stdout.readline())

    assert taken.status is OutcomeStatus.APPLIED
    assert said["held"] is False, "a thawed process knows at once that it leads no more"
    assert said["status"] == "Conflict"
    assert plane.client.get(DEPLOYMENTS.path(namespace, "vllm"))["spec"]["replicas"] == 7
