"""From an empty API server to a governed fleet: nothing is mocked, and clients notice nothing but good answers."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from controller.cluster.names import VIRTUAL_SERVICES
from engine.load.records import JudgedObjectives, Status
from tests.cluster.conftest import AddNode
from tests.cluster.living_fleet import ROOT, fleet, living_fleet
from tests.cluster.plane.plane import ControlPlane
from tests.cluster.plane.waiting import wait_until

QUIET_RPS, BUSY_RPS = 1.5, 7.0
"""What one simulated L40S carries with ease, and what takes three."""
SPLIT_RPS = 5.0
"""Four fifths of it take two replicas."""
KNOWN_S = 25.0
"""Of load, until the window of the daemon's rates is full of it."""


@pytest.fixture(scope="module", autouse=True)
def _installed(plane: ControlPlane) -> None:
    """What an administrator applies."""
    plane.apply(ROOT / "deploy" / "controller")
    plane.kubectl("wait", "--for=condition=Established", "--timeout=50s", "crd/fleets.governor.dev")


@pytest.mark.timeout(420)
def test_a_fleet_is_governed_from_an_empty_cluster_on(
    plane: ControlPlane, namespace: str, gpu_node: AddNode, tmp_path: Path
) -> None:
    with living_fleet(plane, namespace, tmp_path, gpu_node(gpus=8), {"v1": 1}) as alive, alive.controller():
        plane.apply(fleet(namespace))
        wait_until("the fleet is ready", lambda: alive.condition("Ready").get("status") == "True", timeout_s=60)

        with alive.loading([(20, QUIET_RPS), (70, BUSY_RPS), (70, QUIET_RPS)]) as load:
            results = load.results()

        wait_until("the fleet is at its floor again", lambda: alive.ready() == 1, timeout_s=90)
        wait_until("the status says so", lambda: "1/1" in plane.kubectl("get", "fleets", "-n", namespace), timeout_s=90)
        story = plane.kubectl("describe", "fleet", "llama-8b", "-n", namespace)

    inside = sum(r.inside(JudgedObjectives()) for r in results.requests)
    assert [r for r in results.requests if r.status is not Status.OK] == []
    assert inside / len(results.requests) > 0.8
    assert max(alive.kubelet.ready_counts) >= 3
    assert "requests/s take v1" in story
    assert alive.kubelet.faults == []
    found: dict[str, Any] = alive.read()
    assert found["status"]["observedGeneration"] == found["metadata"]["generation"]


def weights(plane: ControlPlane, namespace: str) -> dict[str, int]:
    """As the VirtualService has them."""
    found = plane.client.get(VIRTUAL_SERVICES.path(namespace, "vllm-routing"))
    return {each["destination"]["subset"]: each.get("weight", 0) for each in found["spec"]["http"][0]["route"]}


@pytest.mark.timeout(420)
def test_traffic_that_is_set_by_hand_moves_when_its_version_has_the_capacity(
    plane: ControlPlane, namespace: str, gpu_node: AddNode, tmp_path: Path
) -> None:
    kinds = {"v1": "Deployment", "v2": "StatefulSet"}
    route = {"virtualService": {"name": "vllm-routing", "route": "primary"}}
    seen: list[tuple[dict[str, int], int]] = []

    def moved() -> bool:
        ready = sum(e.ready and e.labels["version"] == "v2" for e in alive.kubelet.endpoints())
        seen.append((weights(plane, namespace), ready))
        return seen[-1][0] == {"v1": 20, "v2": 80}

    with (
        living_fleet(plane, namespace, tmp_path, gpu_node(gpus=8), {"v1": 2, "v2": 1}, kinds) as alive,
        alive.controller(),
    ):
        plane.apply(fleet(namespace, kinds, traffic={**route, "weights": {"v1": 100, "v2": 0}}))
        wait_until("the fleet is ready", lambda: alive.condition("Ready").get("status") == "True", timeout_s=60)

        with alive.loading([(150, SPLIT_RPS)]) as load:
            time.sleep(KNOWN_S)
            patch = {"spec": {"traffic": {"weights": {"v1": 20, "v2": 80}}}}
            plane.kubectl("patch", "fleet", "llama-8b", "-n", namespace, "--type=merge", "-p", json.dumps(patch))
            wait_until("the condition tells", lambda: alive.condition("TrafficInSync").get("status") == "False")
            waiting = alive.condition("TrafficInSync")
            wait_until("traffic has moved", moved, timeout_s=90, every_s=0.2)
            wait_until("the condition is true", lambda: alive.condition("TrafficInSync").get("status") == "True")
            results = load.results()

    assert waiting["reason"] == "WaitingForCapacity"
    assert {tuple(sorted(split.items())) for split, _ in seen} <= {(("v1", 100), ("v2", 0)), (("v1", 20), ("v2", 80))}
    assert seen[-1][1] >= 2
    assert [r for r in results.requests if r.status is not Status.OK] == []
    assert alive.kubelet.faults == []
