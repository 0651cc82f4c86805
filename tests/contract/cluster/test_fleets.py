"""Fleets of a cluster as a `FleetSource`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from controller.cluster.client import Json
from controller.cluster.names import FLEETS
from controller.observe.cluster_fleets import ClusterFleets, fleet_facts
from tests.contract.cluster.api_server import ApiServer
from tests.contract.cluster.conditions import FAST, PATIENCE_S, eventually
from tests.contract.cluster.objects import a_fleet_document


@pytest.fixture
def server() -> Iterator[ApiServer]:
    with ApiServer() as started:
        yield started


@pytest.fixture
def fleets(server: ApiServer) -> Iterator[ClusterFleets]:
    with ClusterFleets(server.client(), pace=FAST) as source:
        assert source.cache.wait_synced(PATIENCE_S)
        yield source


def put(server: ApiServer, document: Json) -> str:
    return str(server.store.put(FLEETS, document)["metadata"]["resourceVersion"])


def keys(fleets: ClusterFleets) -> list[str]:
    return [fleet.key for fleet in fleets.fleets()]


def highest(fleets: ClusterFleets) -> int:
    (fleet,) = fleets.fleets()
    return fleet.spec.variants[0].replicas.max


def broken(**more: object) -> Json:
    return a_fleet_document(high=0, **more)  # type: ignore[arg-type]


def test_fleets_come_and_go_as_their_resources_do(server: ApiServer, fleets: ClusterFleets) -> None:
    assert keys(fleets) == []
    put(server, a_fleet_document("b"))
    put(server, a_fleet_document("a"))
    eventually(lambda: keys(fleets) == ["llm/a", "llm/b"])
    server.store.remove(FLEETS, "llm", "a")
    eventually(lambda: keys(fleets) == ["llm/b"])


def test_a_change_is_taken_over(server: ApiServer, fleets: ClusterFleets) -> None:
    put(server, a_fleet_document(high=4))
    eventually(lambda: keys(fleets) and highest(fleets) == 4)
    put(server, a_fleet_document(high=7))
    eventually(lambda: highest(fleets) == 7)


def test_what_the_cluster_writes_into_a_resource_is_no_problem(server: ApiServer, fleets: ClusterFleets) -> None:
    own = {"creationTimestamp": "2026-03-01T10:00:00Z", "managedFields": [], "finalizers": ["governor.dev/fleet"]}
    put(server, {**a_fleet_document(**own), "status": {"phase": "Steady"}})
    eventually(lambda: keys(fleets) == ["llm/llama-8b"])
    assert not fleets.problems()


def test_a_fleet_that_turned_bad_keeps_its_last_good_version(server: ApiServer, fleets: ClusterFleets) -> None:
    put(server, a_fleet_document(high=4))
    eventually(lambda: keys(fleets))
    put(server, broken())
    eventually(fleets.problems)
    assert highest(fleets) == 4
    assert "spec.variants[0].replicas.max" in fleets.problems()["llm/llama-8b"]
    put(server, a_fleet_document(high=5))
    eventually(lambda: highest(fleets) == 5)
    assert not fleets.problems()


def test_one_bad_fleet_does_not_stop_the_others(server: ApiServer, fleets: ClusterFleets) -> None:
    put(server, broken(name="a"))
    put(server, {"metadata": {"name": "b", "namespace": "llm"}})
    put(server, a_fleet_document("c"))
    eventually(lambda: keys(fleets) == ["llm/c"])
    assert sorted(fleets.problems()) == ["llm/a", "llm/b"]


def test_a_fleet_that_was_made_anew_has_no_good_version_of_the_old_one(
    server: ApiServer, fleets: ClusterFleets
) -> None:
    put(server, a_fleet_document())
    eventually(lambda: keys(fleets))
    server.store.remove(FLEETS, "llm", "llama-8b")
    put(server, broken())
    eventually(fleets.problems)
    assert keys(fleets) == []


def test_a_fleet_that_is_being_deleted_is_listed_apart(server: ApiServer, fleets: ClusterFleets) -> None:
    put(server, a_fleet_document(finalizers=["governor.dev/fleet"]))
    eventually(lambda: keys(fleets))
    server.client().delete(FLEETS.path("llm", "llama-8b"))
    eventually(lambda: list(fleets.deleting()) == ["llm/llama-8b"])
    assert keys(fleets) == []
    assert fleets.deleting()["llm/llama-8b"].finalizers == ("governor.dev/fleet",)


def test_the_version_that_a_status_is_written_against_is_the_newest_one(
    server: ApiServer, fleets: ClusterFleets
) -> None:
    first = put(server, a_fleet_document(generation=3))
    eventually(lambda: keys(fleets))
    version = fleets.document_version("llm/llama-8b")
    assert version is not None
    assert (version.resource_version, version.generation) == (first, 3)
    fleet = fleets.fleets()[0]
    newest = put(server, {**a_fleet_document(generation=3), "status": {"phase": "Steady"}})
    eventually(lambda: (found := fleets.document_version("llm/llama-8b")) and found.resource_version == newest)
    assert fleets.fleets()[0] is fleet, "a status is no reason to read the fleet again"
    assert fleets.document_version("llm/other") is None


def test_fleets_stay_while_the_server_does_not_answer(server: ApiServer, fleets: ClusterFleets) -> None:
    put(server, a_fleet_document())
    eventually(lambda: keys(fleets))
    server.stop()
    eventually(lambda: fleets.cache.error)
    assert keys(fleets) == ["llm/llama-8b"]


@pytest.mark.parametrize("raw", [{}, {"metadata": None, "spec": 7}, {"metadata": {"finalizers": "?", "labels": 3}}])
def test_facts_of_what_makes_no_sense_break_nothing(raw: Json) -> None:
    assert fleet_facts(raw).version.finalizers == ()
