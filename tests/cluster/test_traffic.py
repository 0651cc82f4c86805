"""Weights on the real thing: read from and patched into a VirtualService, and the requests go where they say."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from controller.act.istio import IstioWeightWriter
from controller.cluster.client import PatchKind
from controller.cluster.names import VIRTUAL_SERVICES
from controller.model.decision import OutcomeStatus, WeightWrite
from controller.model.fleet import Fleet
from controller.model.weights import WeightReading
from controller.observe.istio import IstioWeights
from tests.builders import a_split_fleet
from tests.cluster.plane.backends import Backends
from tests.cluster.plane.mesh import MeshGateway
from tests.cluster.plane.plane import ControlPlane

Document = dict[str, Any]
REQUESTS = 2400
NAME = "vllm-routing"


@pytest.fixture
def gateway(plane: ControlPlane, namespace: str) -> Iterator[MeshGateway]:
    """An Envoy before two versions of the fleet and a third one that is not of it."""
    with Backends(("v1", "v2", "other")) as backends, MeshGateway(plane, namespace, backends.ports) as running:
        yield running


def a_fleet_in(namespace: str) -> Fleet:
    fleet = a_split_fleet(weights={"v1": 70, "v2": 30})
    return fleet.model_copy(update={"metadata": fleet.metadata.model_copy(update={"namespace": namespace})})


def routed(gateway: MeshGateway, weights: Mapping[str, int]) -> Document:
    """A header route before the weighted one, an unnamed route behind it, and fields that are nobody's business."""
    found = gateway.virtual_service(weights)
    (primary,) = found["spec"]["http"]
    primary |= {"retries": {"attempts": 0}, "headers": {"response": {"set": {"x-route": "primary"}}}}
    header = {
        "name": "by-header",
        "match": [{"headers": {"x-model-version": {"exact": "v2"}}}],
        "route": [{"destination": gateway.destination("v2"), "weight": 100}],
    }
    rest = {"route": [{"destination": gateway.destination("v1"), "weight": 100}], "timeout": "30s"}
    found["spec"]["http"] = [header, primary, rest]
    return found


def read(gateway: MeshGateway) -> WeightReading:
    fleet = a_fleet_in(gateway.namespace)
    return IstioWeights(gateway.plane.client).weights([fleet])[fleet.key]


def order(gateway: MeshGateway, seen: WeightReading, **weights: int) -> WeightWrite:
    fleet = a_fleet_in(gateway.namespace)
    assert fleet.route is not None
    before, after = tuple(seen.weights.items()), tuple(weights.items())
    return WeightWrite(fleet.key, fleet.route, before, after, seen.resource_version)


def the_object(gateway: MeshGateway) -> Document:
    return gateway.plane.client.get(VIRTUAL_SERVICES.path(gateway.namespace, NAME))


def shares_match(gateway: MeshGateway, weights: Mapping[str, int]) -> None:
    """Every version's share is within four standard deviations of its weight."""
    seen = gateway.shares(REQUESTS)
    assert sum(seen.values()) == REQUESTS
    assert set(seen) <= {name for name, weight in weights.items() if weight}
    for name, weight in weights.items():
        share = weight / 100
        assert abs(seen[name] - share * REQUESTS) <= 4 * math.sqrt(REQUESTS * share * (1 - share)), seen


def without_weights(found: Document, *subsets: str) -> Document:
    """The specification less the weights of these subsets on the named route."""
    spec: Document = copy.deepcopy(found["spec"])
    for entry in next(route for route in spec["http"] if route.get("name") == "primary")["route"]:
        if entry["destination"]["subset"] in subsets:
            entry.pop("weight", None)
    return spec


def test_a_patch_moves_real_requests_and_touches_nothing_else(gateway: MeshGateway) -> None:
    gateway.plane.apply(routed(gateway, {"v1": 90, "v2": 10}))
    gateway.wait_for_weights({"v1": 90, "v2": 10})
    before, seen = the_object(gateway), read(gateway)
    assert dict(seen.weights) == {"v1": 90, "v2": 10}
    shares_match(gateway, {"v1": 90, "v2": 10})

    outcome = IstioWeightWriter(gateway.plane.client).set_weights(order(gateway, seen, v1=70, v2=30))

    assert outcome.status is OutcomeStatus.APPLIED, outcome.detail
    assert without_weights(the_object(gateway), "v1", "v2") == without_weights(before, "v1", "v2")
    assert dict(read(gateway).weights) == {"v1": 70, "v2": 30}
    gateway.wait_for_weights({"v1": 70, "v2": 30})
    shares_match(gateway, {"v1": 70, "v2": 30})
    assert {gateway.ask(headers={"x-model-version": "v2"}) for _ in range(50)} == {"v2"}


def test_a_third_destination_keeps_its_share_and_its_bytes(gateway: MeshGateway) -> None:
    gateway.plane.apply(routed(gateway, {"v1": 81, "v2": 9, "other": 10}))
    before, seen = the_object(gateway), read(gateway)
    assert dict(seen.weights) == {"v1": 90, "v2": 10}

    writer = IstioWeightWriter(gateway.plane.client)
    refused = writer.set_weights(order(gateway, seen, v1=67, v2=33))
    outcome = writer.set_weights(order(gateway, seen, v1=70, v2=30))

    assert (refused.status, outcome.status) == (OutcomeStatus.REFUSED, OutcomeStatus.APPLIED), outcome.detail
    assert without_weights(the_object(gateway), "v1", "v2") == without_weights(before, "v1", "v2")
    gateway.wait_for_weights({"v1": 63, "v2": 27, "other": 10})
    shares_match(gateway, {"v1": 63, "v2": 27, "other": 10})


def test_an_object_that_moved_on_is_a_conflict_and_keeps_its_weights(gateway: MeshGateway) -> None:
    gateway.plane.apply(routed(gateway, {"v1": 90, "v2": 10}))
    seen = read(gateway)
    path = VIRTUAL_SERVICES.path(gateway.namespace, NAME)
    gateway.plane.client.patch(path, {"metadata": {"labels": {"team": "chat"}}}, PatchKind.MERGE)
    moved_on = the_object(gateway)

    outcome = IstioWeightWriter(gateway.plane.client).set_weights(order(gateway, seen, v1=70, v2=30))

    assert outcome.status is OutcomeStatus.CONFLICT
    assert the_object(gateway) == moved_on


def test_the_api_server_itself_refuses_a_patch_made_for_another_version(gateway: MeshGateway) -> None:
    """What guards the moment between our read and our patch: the tests in the patch, not the comparison before it."""
    gateway.plane.apply(routed(gateway, {"v1": 90, "v2": 10}))
    seen, client = read(gateway), gateway.plane.client
    path = VIRTUAL_SERVICES.path(gateway.namespace, NAME)

    class Meddled(IstioWeightWriter):
        def _sent(self, write: WeightWrite) -> Any:
            real = self._services.patch

            def patch(*asked: Any) -> Any:
                client.patch(path, {"metadata": {"labels": {"team": "chat"}}}, PatchKind.MERGE, fieldManager="chat")
                return real(*asked)

            self._services.patch = patch  # type: ignore[assignment,method-assign]
            return super()._sent(write)

    outcome = Meddled(client).set_weights(order(gateway, seen, v1=70, v2=30))

    assert outcome.status is OutcomeStatus.CONFLICT, outcome.detail
    assert dict(read(gateway).weights) == {"v1": 90, "v2": 10}


def test_who_else_writes_the_weights_is_named_until_we_are_the_last_who_did(gateway: MeshGateway) -> None:
    gateway.plane.apply(routed(gateway, {"v1": 90, "v2": 10}))
    first = read(gateway)
    outcome = IstioWeightWriter(gateway.plane.client).set_weights(order(gateway, first, v1=70, v2=30))
    ours = read(gateway)
    path = VIRTUAL_SERVICES.path(gateway.namespace, NAME)
    again = [{"op": "replace", "path": "/spec/http/1/route/0/weight", "value": 95}]
    again += [{"op": "replace", "path": "/spec/http/1/route/1/weight", "value": 5}]
    gateway.plane.client.patch(path, again, PatchKind.JSON, fieldManager="argocd-controller")

    assert outcome.status is OutcomeStatus.APPLIED
    assert first.foreign
    assert ours.foreign == ""
    assert read(gateway).foreign == "argocd-controller"
