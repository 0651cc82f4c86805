"""The patch of a route on random VirtualServices: only our weights change, once, and never on another object."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from controller.model.istio_route import RouteError, split_of, weight_patch
from controller.model.weights import Weights
from tests.json_patch import UnmetError, applied
from tests.unit.istio.virtual_services import REF, Document, a_destination, a_route, a_virtual_service

MANY = settings(max_examples=300, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
HOSTS = ["vllm-server", "vllm-server.llm", "vllm-server.llm.svc.cluster.local"]
EXTRAS: list[dict[str, Any]] = [{}, {"headers": {"request": {"set": {"x": "1"}}}}, {"timeout": "1s", "retries": None}]
wanted_splits = st.integers(0, 100).map(lambda first: (("v1", first), ("v2", 100 - first)))


@st.composite
def routes(draw: st.DrawFn) -> Document:
    """A route over both subsets, with others between them, weights missing, zero or large."""
    weights = st.none() | st.sampled_from([0, 1, 9, 50, 100, 1000])
    ours = [a_destination(s, draw(weights), draw(st.sampled_from(HOSTS))) for s in draw(st.permutations(["v1", "v2"]))]
    others = [
        a_destination(
            draw(st.sampled_from([None, "v1", "v9"])), draw(weights), "other", **draw(st.sampled_from(EXTRAS))
        )
        for _ in range(draw(st.integers(0, 2)))
    ]
    return a_route(*draw(st.permutations([*ours, *others])), **draw(st.sampled_from(EXTRAS)))


@st.composite
def documents(draw: st.DrawFn) -> Document:
    """The route among others that look like it."""
    strangers = [
        a_route(a_destination("v1", 5), a_destination("v2", 95), name=draw(st.sampled_from([None, "beta", "header"])))
        for _ in range(draw(st.integers(0, 3)))
    ]
    return a_virtual_service(*draw(st.permutations([draw(routes()), *strangers])))


def patched(document: Document, weights: Weights) -> Document | None:
    """The document after its patch; None where the wish cannot be written."""
    try:
        return applied(document, weight_patch(document, REF, weights))
    except RouteError:
        return None


def without_our_weights(document: Document) -> Document:
    found = copy.deepcopy(document)
    for route in found["spec"]["http"]:
        for entry in route["route"] if route.get("name") == REF.route else ():
            if entry["destination"]["host"] in HOSTS and entry["destination"].get("subset") in ("v1", "v2"):
                entry.pop("weight", None)
    return found


@MANY
@given(documents(), wanted_splits)
def test_only_weights_of_our_subsets_change_and_they_become_what_was_wanted(
    document: Document, wanted: Weights
) -> None:
    before = copy.deepcopy(document)
    after = patched(document, wanted)

    assert document == before
    if after is not None:
        assert without_our_weights(after) == without_our_weights(document)
        assert split_of(after, REF, ("v1", "v2")) == dict(wanted)


@MANY
@given(documents(), wanted_splits)
def test_once_is_as_good_as_twice(document: Document, wanted: Weights) -> None:
    after = patched(document, wanted)
    if after is not None:
        assert weight_patch(after, REF, wanted) == []


@MANY
@given(documents(), wanted_splits)
def test_the_share_of_every_other_destination_stays_what_it_was(document: Document, wanted: Weights) -> None:
    after = patched(document, wanted)
    if after is None:
        return
    for old, new in zip(document["spec"]["http"], after["spec"]["http"], strict=True):
        totals = [sum(e.get("weight") or 0 for e in route["route"]) for route in (old, new)]
        others = sum(e.get("weight") or 0 for e in old["route"] if e["destination"]["host"] == "other")
        if others:
            assert totals[0] == totals[1]


@MANY
@given(documents(), wanted_splits, st.sampled_from(["version", "name", "swap", "subset"]))
def test_a_changed_object_fails_the_patch(document: Document, wanted: Weights, change: str) -> None:
    try:
        operations = weight_patch(document, REF, wanted)
    except RouteError:
        return
    if not operations:
        return
    other = copy.deepcopy(document)
    route = next(r for r in other["spec"]["http"] if r.get("name") == REF.route)
    ours = [e for e in route["route"] if e["destination"]["host"] in HOSTS]
    if change == "version":
        other["metadata"]["resourceVersion"] = "8"
    elif change == "name":
        route["name"] = "another"
    elif change == "swap":
        ours[0]["destination"], ours[1]["destination"] = ours[1]["destination"], ours[0]["destination"]
    else:
        ours[0]["destination"]["subset"] = "v9"
    with pytest.raises(UnmetError):
        applied(other, operations)
