"""How a route of a VirtualService splits requests over a fleet's subsets, and what is said where it does not."""

from __future__ import annotations

import pytest

from controller.model.istio_route import RouteError, split_of, weight_patch, writers
from tests.json_patch import UnmetError, applied
from tests.unit.istio.virtual_services import (
    REF,
    SUBSETS,
    Document,
    a_destination,
    a_route,
    a_virtual_service,
    split_between,
    written_by,
)


@pytest.mark.parametrize(
    ("document", "split"),
    [
        pytest.param(split_between(90, 10), {"v1": 90, "v2": 10}, id="percentages"),
        pytest.param(split_between(9, 1), {"v1": 90, "v2": 10}, id="relative weights"),
        pytest.param(split_between(1, 2), {"v1": 33, "v2": 67}, id="no whole percentages"),
        pytest.param(split_between(100, None), {"v1": 100, "v2": 0}, id="a missing weight is none"),
        pytest.param(split_between(63, 27, 10), {"v1": 70, "v2": 30}, id="of what others leave"),
        pytest.param(
            a_virtual_service(a_route(a_destination("v2"))), {"v1": 0, "v2": 100}, id="alone without a weight"
        ),
        pytest.param(
            a_virtual_service(a_route(a_destination("v1", 0))), {"v1": 100, "v2": 0}, id="alone with weight 0"
        ),
        pytest.param(
            a_virtual_service(a_route(a_destination("v2", 100), name=None), split_between(60, 40)["spec"]["http"][0]),
            {"v1": 60, "v2": 40},
            id="other routes do not matter",
        ),
    ],
)
def test_the_split_is_read_in_percent(document: Document, split: dict[str, int]) -> None:
    assert split_of(document, REF, SUBSETS) == split


@pytest.mark.parametrize(
    "host", ["vllm-server", "vllm-server.llm", "vllm-server.llm.svc", "vllm-server.llm.svc.cluster.local"]
)
def test_the_host_may_be_written_in_every_form(host: str) -> None:
    document = a_virtual_service(a_route(a_destination("v1", 50, host), a_destination("v2", 50, host)))

    assert split_of(document, REF, SUBSETS) == {"v1": 50, "v2": 50}


def test_a_short_name_in_another_namespace_is_another_host() -> None:
    elsewhere = REF.__class__("mesh", "vllm-routing", "primary", "vllm-server.llm")

    with pytest.raises(RouteError, match="sends nothing to subsets of"):
        split_of(a_virtual_service(), elsewhere, SUBSETS)


@pytest.mark.parametrize(
    ("document", "said"),
    [
        pytest.param({"spec": {}}, "there is no route primary of VirtualService llm/vllm-routing", id="no routes"),
        pytest.param(
            a_virtual_service(a_route(name="main"), a_route(name="beta")), "there is main, beta", id="another name"
        ),
        pytest.param(a_virtual_service(a_route(name=None)), "none of its http routes has a name", id="no name"),
        pytest.param(
            a_virtual_service(a_route(a_destination("v1")), a_route(a_destination("v1"))), "2 times", id="twice"
        ),
        pytest.param(a_virtual_service({"name": "primary", "redirect": {}}), "has no destinations", id="redirect"),
        pytest.param(split_between(0, 0), "sends nothing to subsets", id="all weights are zero"),
        pytest.param(split_between(0, 0, 100), "sends nothing to subsets", id="all goes to others"),
        pytest.param(split_between(-1, 101), "has weight -1", id="a negative weight"),
        pytest.param(
            a_virtual_service(a_route(a_destination("v1", 50), a_destination("v1", 50))),
            "several destinations of subset v1",
            id="a subset twice",
        ),
        pytest.param(a_virtual_service({"name": "primary", "route": ["v1"]}), "destination 0", id="no destination"),
        pytest.param({"spec": {"http": "none"}}, "there is no route", id="no list"),
    ],
)
def test_a_route_that_is_not_as_the_fleet_says_is_told_in_a_sentence(document: Document, said: str) -> None:
    with pytest.raises(RouteError, match=said):
        split_of(document, REF, SUBSETS)


def test_a_patch_tests_version_route_and_destinations_before_it_changes_weights() -> None:
    assert weight_patch(split_between(90, None, None), REF, (("v1", 70), ("v2", 30))) == [
        {"op": "test", "path": "/metadata/resourceVersion", "value": "7"},
        {"op": "test", "path": "/spec/http/0/name", "value": "primary"},
        {"op": "test", "path": "/spec/http/0/route/0/destination/host", "value": "vllm-server"},
        {"op": "test", "path": "/spec/http/0/route/0/destination/subset", "value": "v1"},
        {"op": "test", "path": "/spec/http/0/route/1/destination/host", "value": "vllm-server"},
        {"op": "test", "path": "/spec/http/0/route/1/destination/subset", "value": "v2"},
        {"op": "replace", "path": "/spec/http/0/route/0/weight", "value": 70},
        {"op": "add", "path": "/spec/http/0/route/1/weight", "value": 30},
    ]


def test_weights_that_are_so_already_need_no_patch() -> None:
    assert weight_patch(split_between(90, 10), REF, (("v1", 90), ("v2", 10))) == []
    assert weight_patch(split_between(100, None), REF, (("v1", 100), ("v2", 0))) == []


def test_a_third_destination_keeps_its_share() -> None:
    before = split_between(81, 9, 10)

    after = applied(before, weight_patch(before, REF, (("v1", 70), ("v2", 30))))

    assert [d["weight"] for d in after["spec"]["http"][0]["route"]] == [63, 27, 10]


@pytest.mark.parametrize(
    ("document", "weights", "said"),
    [
        pytest.param(
            split_between(81, 9, 10), (67, 33), "67 % of that for v1 is no whole weight", id="no whole weight"
        ),
        pytest.param(split_between(81, 9, 10), (67, 33), "write multiples of 10 %", id="which would be"),
        pytest.param(
            a_virtual_service(a_route(a_destination("v1", 100))),
            (90, 10),
            "no destination for subset v2 of vllm-server.llm: add one with weight 0",
            id="a destination is missing",
        ),
    ],
)
def test_weights_that_cannot_be_written_exactly_are_refused(
    document: Document, weights: tuple[int, int], said: str
) -> None:
    with pytest.raises(RouteError, match=said):
        weight_patch(document, REF, tuple(zip(SUBSETS, weights, strict=True)))


def test_a_patch_of_another_object_fails_as_a_whole() -> None:
    operations = weight_patch(split_between(90, 10), REF, (("v1", 70), ("v2", 30)))
    moved_on = a_virtual_service(version="8")
    route = a_route(a_destination("v2", 10), a_destination("v1", 90))

    for other in (moved_on, a_virtual_service(route), a_virtual_service(a_route(a_destination("v1")), name_of_first())):
        with pytest.raises(UnmetError):
            applied(other, operations)


def name_of_first() -> Document:
    return split_between(90, 10)["spec"]["http"][0]


def test_who_else_wrote_the_routes_is_told_newest_first() -> None:
    managers = [
        written_by("kubectl", "2026-01-01T00:00:00Z"),
        written_by("vllm-governor", "2026-03-01T00:00:00Z"),
        written_by("argocd-controller", "2026-02-01T00:00:00Z"),
        written_by("pilot", "2026-04-01T00:00:00Z", {"f:status": {}}),
    ]

    assert writers(a_virtual_service(managers=managers), "vllm-governor") == "argocd-controller, kubectl"
    assert writers({"metadata": {}}, "vllm-governor") == ""
