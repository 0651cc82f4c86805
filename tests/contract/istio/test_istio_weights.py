"""Weights read from and written to VirtualServices over HTTP: one list to read, one guarded patch to write."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from kubernetes.client import ApiClient, Configuration

from controller.act.istio import IstioWeightWriter
from controller.cluster.client import ClusterClient
from controller.errors import TransientError
from controller.model.decision import OutcomeStatus, WeightWrite
from controller.model.fleet import Fleet
from controller.model.weights import WeightReading
from controller.observe.istio import IstioWeights
from tests.builders import a_fleet, a_split_fleet
from tests.contract.istio.mesh_server import MeshServer
from tests.unit.istio.virtual_services import (
    REF,
    a_destination,
    a_route,
    a_virtual_service,
    split_between,
    written_by,
)

FLEET = a_split_fleet(weights={"v1": 70, "v2": 30})
ORDER = WeightWrite(FLEET.key, REF, (("v1", 90), ("v2", 10)), (("v1", 70), ("v2", 30)), "7")


@pytest.fixture
def mesh() -> Iterator[MeshServer]:
    with MeshServer() as server:
        server.put(a_virtual_service())
        yield server


def named(name: str, namespace: str = "llm", fleet: Fleet = FLEET) -> Fleet:
    return fleet.model_copy(
        update={"metadata": fleet.metadata.model_copy(update={"name": name, "namespace": namespace})}
    )


def weights_in(mesh: MeshServer) -> list[Any]:
    return [d.get("weight") for d in mesh.objects["llm", "vllm-routing"]["spec"]["http"][0]["route"]]


def test_the_split_is_read_with_its_version_and_who_else_wrote_it(mesh: MeshServer) -> None:
    mesh.put(a_virtual_service(managers=[written_by("argocd-controller", "2026-01-01T00:00:00Z")]))

    found = IstioWeights(mesh.client()).weights([FLEET, named("plain", fleet=a_fleet())])

    assert found == {FLEET.key: WeightReading({"v1": 90, "v2": 10}, "7", "argocd-controller")}


def test_fleets_of_one_namespace_take_one_list_however_many_they_are(mesh: MeshServer) -> None:
    mesh.page = 2
    for n in range(5):
        mesh.put(a_virtual_service() | {"metadata": {"name": f"other-{n}", "namespace": "llm"}})

    found = IstioWeights(mesh.client()).weights([named(f"fleet-{n}") for n in range(20)])

    assert all(reading.weights == {"v1": 90, "v2": 10} for reading in found.values())
    assert len(found) == 20
    assert mesh.requests == ["GET /apis/networking.istio.io/v1/namespaces/llm/virtualservices"] * 3


def test_fleets_of_many_namespaces_take_one_list_of_the_cluster(mesh: MeshServer) -> None:
    fleets = [named("chat", f"team-{n}") for n in range(12)]
    for n in range(12):
        mesh.put(_in_namespace(f"team-{n}"))

    found = IstioWeights(mesh.client()).weights(fleets)

    assert all(reading.weights == {"v1": 90, "v2": 10} for reading in found.values())
    assert mesh.requests == ["GET /apis/networking.istio.io/v1/virtualservices"]


def test_where_the_cluster_may_not_be_listed_namespaces_are_and_that_is_remembered(mesh: MeshServer) -> None:
    fleets = [named("chat", f"team-{n}") for n in range(6)]
    for n in range(6):
        mesh.put(_in_namespace(f"team-{n}"))
    mesh.forbidden = {""}
    reader = IstioWeights(mesh.client())

    assert all(reading.weights for reading in reader.weights(fleets).values())
    mesh.requests.clear()
    assert all(reading.weights for reading in reader.weights(fleets).values())
    assert len(mesh.requests) == 6


def test_a_role_that_allows_objects_by_their_names_is_enough_to_read_and_to_write(mesh: MeshServer) -> None:
    mesh.unlisted = {"llm"}

    found = IstioWeights(mesh.client()).weights([FLEET])

    assert found[FLEET.key].weights == {"v1": 90, "v2": 10}
    assert IstioWeightWriter(mesh.client()).set_weights(ORDER).status is OutcomeStatus.APPLIED


def _in_namespace(namespace: str) -> Any:
    found = a_virtual_service()
    found["metadata"]["namespace"] = namespace
    return found


@pytest.mark.parametrize("served", [("v1beta1", "v1alpha3"), ("v1alpha3",)], ids=["v1beta1", "v1alpha3"])
def test_where_v1_is_not_served_the_newest_version_that_is_will_do(mesh: MeshServer, served: tuple[str, ...]) -> None:
    mesh.served = served
    reader, writer = IstioWeights(mesh.client()), IstioWeightWriter(mesh.client())

    assert reader.weights([FLEET])[FLEET.key].weights == {"v1": 90, "v2": 10}
    assert writer.set_weights(ORDER).status is OutcomeStatus.APPLIED
    asked = len(mesh.requests)
    assert reader.weights([FLEET])[FLEET.key].weights == {"v1": 70, "v2": 30}
    assert len(mesh.requests) == asked + 1


def test_a_cluster_without_istio_is_a_transient_error_with_the_remedy(mesh: MeshServer) -> None:
    mesh.served = ()

    with pytest.raises(TransientError, match="install Istio's definitions"):
        IstioWeights(mesh.client()).weights([FLEET])
    outcome = IstioWeightWriter(mesh.client()).set_weights(ORDER)
    assert (outcome.status, "install Istio's definitions" in outcome.detail) == (OutcomeStatus.FAILED, True)


def test_a_namespace_that_may_not_be_read_is_the_problem_of_its_fleets_alone(mesh: MeshServer) -> None:
    mesh.forbidden = {"secret"}

    found = IstioWeights(mesh.client()).weights([FLEET, named("hidden", "secret")])

    assert found[FLEET.key].weights
    assert not found["secret/hidden"].weights
    assert "forbidden" in found["secret/hidden"].problem


def test_when_no_namespace_can_be_read_it_is_a_transient_error(mesh: MeshServer) -> None:
    mesh.forbidden = {"llm"}

    with pytest.raises(TransientError, match="forbidden"):
        IstioWeights(mesh.client()).weights([FLEET])


@pytest.mark.parametrize(
    ("document", "weights", "said"),
    [
        pytest.param(None, {}, "there is no VirtualService llm/vllm-routing", id="no object"),
        pytest.param(a_virtual_service(a_route(name="beta")), {}, "there is beta", id="no route"),
        pytest.param(
            a_virtual_service(a_route(a_destination("v1", 100))),
            {"v1": 100, "v2": 0},
            "no destination for subset v2",
            id="no destination for a subset that is wanted",
        ),
        pytest.param(split_between(4, 1, 1), {"v1": 80, "v2": 20}, "no whole weight", id="not to be written exactly"),
    ],
)
def test_what_is_wrong_with_a_route_is_said_in_its_reading(
    mesh: MeshServer, document: Any, weights: dict[str, int], said: str
) -> None:
    mesh.objects.clear()
    if document is not None:
        mesh.put(document)

    found = IstioWeights(mesh.client()).weights([FLEET])[FLEET.key]

    assert found.weights == weights
    assert said in found.problem


def test_an_order_is_one_patch_in_our_name(mesh: MeshServer) -> None:
    outcome = IstioWeightWriter(mesh.client()).set_weights(ORDER)

    assert outcome.status is OutcomeStatus.APPLIED
    assert weights_in(mesh) == [70, 30]
    assert [(who, [o["op"] for o in patch]) for who, patch in mesh.patches] == [
        ("vllm-governor", ["test"] * 6 + ["replace"] * 2)
    ]


def test_an_order_for_what_is_already_so_is_applied_without_a_patch(mesh: MeshServer) -> None:
    same = replace(ORDER, weights=ORDER.before)

    assert IstioWeightWriter(mesh.client()).set_weights(same).status is OutcomeStatus.APPLIED
    assert not mesh.patches


def test_the_same_order_sent_twice_takes_effect_once(mesh: MeshServer) -> None:
    writer = IstioWeightWriter(mesh.client())

    assert writer.set_weights(ORDER).status is OutcomeStatus.APPLIED
    assert writer.set_weights(ORDER).status is OutcomeStatus.CONFLICT
    assert len(mesh.patches) == 1


def test_an_object_that_moved_on_before_the_order_is_a_conflict(mesh: MeshServer) -> None:
    mesh.put(a_virtual_service(version="8"))

    outcome = IstioWeightWriter(mesh.client()).set_weights(ORDER)

    assert outcome.status is OutcomeStatus.CONFLICT
    assert "is at version 8, the order was made for 7" in outcome.detail
    assert weights_in(mesh) == [90, 10]


def test_an_object_that_moves_on_between_read_and_patch_is_a_conflict_too(mesh: MeshServer) -> None:
    mesh.before_patch = [a_virtual_service(version="8")]

    outcome = IstioWeightWriter(mesh.client()).set_weights(ORDER)

    assert outcome.status is OutcomeStatus.CONFLICT
    assert weights_in(mesh) == [90, 10]


def test_what_a_webhook_says_is_a_failure_in_its_words(mesh: MeshServer) -> None:
    mesh.rejection = "total destination weight = 0"

    outcome = IstioWeightWriter(mesh.client()).set_weights(ORDER)

    assert outcome.status is OutcomeStatus.FAILED
    assert "total destination weight = 0" in outcome.detail


def test_a_route_that_allows_no_such_split_is_refused(mesh: MeshServer) -> None:
    mesh.put(split_between(4, 1, 1))

    outcome = IstioWeightWriter(mesh.client()).set_weights(ORDER)

    assert outcome.status is OutcomeStatus.REFUSED
    assert "no whole weight" in outcome.detail
    assert not mesh.patches


def test_nobody_who_answers_is_a_transient_error_to_the_reader_and_a_failure_to_the_writer() -> None:
    settings = Configuration()
    settings.host, settings.retries = "http://127.0.0.1:9", False
    client = ClusterClient(ApiClient(settings), timeout_s=1.0)

    with pytest.raises(TransientError, match="does not answer"):
        IstioWeights(client).weights([FLEET])
    assert IstioWeightWriter(client).set_weights(ORDER).status is OutcomeStatus.FAILED
