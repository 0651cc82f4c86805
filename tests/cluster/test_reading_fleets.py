"""Fleets read from a real API server that has the CRD."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from controller.cluster.client import Json, PatchKind
from controller.cluster.names import FLEETS
from controller.observe.cluster_fleets import ClusterFleets
from tests.cluster.plane.plane import ControlPlane
from tests.cluster.plane.waiting import wait_until

CRD = Path(__file__).parents[2] / "deploy" / "controller" / "crd.yaml"
NIGHT = {"name": "night", "from": "22:00", "to": "06:00", "timezone": "Mars/Olympus", "min": 1}
"""A time zone that only whoever has the database of zones can tell from a real one."""


@pytest.fixture
def fleets(plane: ControlPlane, namespace: str) -> Iterator[ClusterFleets]:
    plane.apply(CRD)
    plane.kubectl("wait", "--for=condition=Established", "--timeout=50s", "crd/fleets.governor.dev")
    with ClusterFleets(plane.client, namespace=namespace) as source:
        assert source.cache.wait_synced(30)
        yield source


def a_fleet(name: str, namespace: str, **metadata: object) -> Json:
    variant = {"name": "v1", "scaleTargetRef": {"name": f"vllm-{name}"}, "subset": "v1"}
    spec = {"modelName": name, "host": "vllm", "variants": [{**variant, "accelerator": "l40s", "costPerHour": 2}]}
    return {
        "apiVersion": "governor.dev/v1alpha1",
        "kind": "Fleet",
        "metadata": {"name": name, "namespace": namespace, **metadata},
        "spec": spec,
    }


def test_fleets_are_read_as_they_are_declared_changed_and_deleted(
    plane: ControlPlane, namespace: str, fleets: ClusterFleets
) -> None:
    key, path = f"{namespace}/llama", FLEETS.path(namespace, "llama")
    plane.client.create(FLEETS.path(namespace), a_fleet("llama", namespace, finalizers=["governor.dev/test"]))
    (fleet,) = wait_until("the fleet is read", fleets.fleets)
    assert (fleet.key, fleet.metadata.generation) == (key, 1)

    stored = plane.client.patch(f"{path}/status", {"status": {"phase": "Steady"}}, PatchKind.MERGE)
    version = stored["metadata"]["resourceVersion"]
    wait_until("its status is seen", lambda: _version(fleets, key) == version)
    assert fleets.fleets()[0] is fleet

    plane.client.patch(path, {"spec": {"modelName": "other"}}, PatchKind.MERGE)
    wait_until("its change is seen", lambda: fleets.fleets()[0].spec.model_name == "other")

    plane.client.delete(path)
    wait_until("it is listed apart", lambda: list(fleets.deleting()) == [key])
    assert not fleets.fleets()
    assert fleets.deleting()[key].finalizers == ("governor.dev/test",)
    plane.client.patch(path, {"metadata": {"finalizers": None}}, PatchKind.MERGE)
    wait_until("it is gone", lambda: not fleets.deleting())


def test_a_change_that_only_the_daemon_can_judge_leaves_the_last_good_version(
    plane: ControlPlane, namespace: str, fleets: ClusterFleets
) -> None:
    for name in ("bad", "good"):
        plane.client.create(FLEETS.path(namespace), a_fleet(name, namespace))
    wait_until("both are read", lambda: len(fleets.fleets()) == 2)
    before = fleets.fleets()
    path = FLEETS.path(namespace, "bad")
    plane.client.patch(path, {"spec": {"scaling": {"schedules": [NIGHT]}}}, PatchKind.MERGE)
    wait_until("the problem is told", fleets.problems)
    assert list(fleets.problems()) == [f"{namespace}/bad"]
    assert "Mars/Olympus" in fleets.problems()[f"{namespace}/bad"]
    assert fleets.fleets() == before


def _version(fleets: ClusterFleets, key: str) -> str:
    version = fleets.document_version(key)
    return version.resource_version if version is not None else ""
