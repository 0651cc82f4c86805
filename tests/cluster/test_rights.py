"""The rights of deploy/controller are those that the controller uses: none is missing, none is granted for nothing.

Read from the API server's own audit log of this tier's end-to-end runs, so it has to come after them.
"""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from tests.cluster.living_fleet import OWN, ROOT
from tests.cluster.plane.audit import AuditEvent
from tests.cluster.plane.plane import ControlPlane

Right = tuple[str, str, str]
"""(API group, resource with its sub-resource, verb)"""
USER = f"system:serviceaccount:{OWN}:{OWN}"
UNUSED: dict[Right, str] = {
    ("keda.sh", "scaledobjects", "watch"): "KEDA is not installed here: its list answers that there is no such kind",
    ("autoscaling.k8s.io", "verticalpodautoscalers", "watch"): "neither is the VerticalPodAutoscaler",
    ("events.k8s.io", "events", "patch"): "an Event is counted up when its fact is seen again minutes later",
    ("", "configmaps", "get"): "asked only after somebody else wrote the memory of a fleet",
    ("", "configmaps", "delete"): "memories leave a day after their fleet",
    ("networking.istio.io", "virtualservices", "get"): "asked only after a refused write",
    ("governor.dev", "fleets", "get"): "asked only after a status was written by somebody else",
}
"""Rights that these runs have no occasion to use, each with the occasion."""


def granted() -> set[Right]:
    documents = yaml.safe_load_all((ROOT / "deploy" / "controller" / "rbac.yaml").read_text())
    rules: list[dict[str, Any]] = [rule for document in documents for rule in document.get("rules", ())]
    return {(g, r, v) for rule in rules for g in rule["apiGroups"] for r in rule["resources"] for v in rule["verbs"]}


def right_of(event: AuditEvent) -> Right:
    resource = f"{event.resource}/{event.subresource}" if event.subresource else event.resource
    return event.group, resource, event.verb


@pytest.fixture
def asked(plane: ControlPlane) -> list[AuditEvent]:
    events = [event for event in plane.audit() if event.user == USER and event.resource]
    if not events:
        pytest.fail("the end-to-end runs come before this test: run the whole tier, `make test-cluster`")
    return events


def test_nothing_that_the_controller_asked_was_forbidden(asked: list[AuditEvent]) -> None:
    assert {right_of(event) for event in asked if event.code == 403} == set()


def test_every_right_was_used_or_says_for_which_occasion_it_is_there(asked: list[AuditEvent]) -> None:
    used = {right_of(event) for event in asked}
    assert granted() - used - UNUSED.keys() == set()
    assert UNUSED.keys() <= granted(), "reasons for rights that are not granted"
