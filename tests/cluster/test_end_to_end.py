"""From an empty API server to a governed fleet: nothing is mocked, and clients notice nothing but good answers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.load.records import JudgedObjectives, Status
from tests.cluster.conftest import AddNode
from tests.cluster.living_fleet import ROOT, LivingFleet, fleet, living_fleet
from tests.cluster.plane.plane import ControlPlane
from tests.cluster.plane.waiting import wait_until

QUIET_RPS, BUSY_RPS = 1.5, 7.0
"""What one simulated L40S carries with ease, and what takes three."""


@pytest.fixture(scope="module", autouse=True)
def _installed(plane: ControlPlane) -> None:
    """What an administrator applies."""
    plane.apply(ROOT / "deploy" / "controller")
    plane.kubectl("wait", "--for=condition=Established", "--timeout=50s", "crd/fleets.governor.dev")


@pytest.fixture
def alive(plane: ControlPlane, namespace: str, gpu_node: AddNode, tmp_path: Path) -> Iterator[LivingFleet]:
    with living_fleet(plane, namespace, tmp_path, {"v1": 1}, gpu_node(gpus=8)) as found:
        yield found


@pytest.mark.timeout(420)
def test_a_fleet_is_governed_from_an_empty_cluster_on(alive: LivingFleet) -> None:
    with alive.controller():
        alive.plane.apply(fleet(alive.namespace))
        wait_until("the fleet is ready", lambda: alive.condition("Ready").get("status") == "True", timeout_s=60)

        results = alive.load([(20, QUIET_RPS), (70, BUSY_RPS), (90, QUIET_RPS)])

        wait_until("the fleet is at its floor again", lambda: alive.ready() == 1, timeout_s=90)
        table = alive.plane.kubectl("get", "fleets", "-n", alive.namespace)
        story = alive.plane.kubectl("describe", "fleet", "llama-8b", "-n", alive.namespace)

    inside = sum(r.inside(JudgedObjectives()) for r in results.requests)
    assert [r for r in results.requests if r.status is not Status.OK] == []
    assert inside / len(results.requests) > 0.8
    assert max(alive.kubelet.ready_counts) >= 3
    assert "llama-8b" in table
    assert "1/1" in table
    assert "requests/s take v1" in story
    assert alive.kubelet.faults == []
    status: dict[str, Any] = alive.read()["status"]
    assert status["observedGeneration"] == alive.read()["metadata"]["generation"]
