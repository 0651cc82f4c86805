"""The status is written as Kubernetes writes: camelCase, instants as texts, and what is unknown is left out."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from pydantic import ValidationError

from controller.model.crd import custom_resource_definition
from controller.model.status import FleetStatus, LastDecision, StatusCondition, Summary, VariantReplicas
from tests.unit.fleet.structural import faults, unknown_fields

AT = datetime(2026, 11, 24, 6, 0, tzinfo=UTC)
STATUS = FleetStatus(
    phase="Stable",
    stable="v1",
    weights={"v1": 100, "v2": 0},
    replicas=(VariantReplicas(name="v1", desired=4, ready=3, starting=1), VariantReplicas(name="v2")),
    ready_replicas=3,
    summary=Summary(replicas="3/4", weight="v1 100, v2 0"),
    last_decision=LastDecision(at=AT, action="Up", reason="Demand", sentence="v1 3 → 4", after={"v1": 4}),
    conditions=(StatusCondition(type="Ready", status="True", reason="Observed", last_transition_time=AT),),
    observed_generation=7,
)


def test_what_was_not_read_is_left_out_never_zero() -> None:
    document = STATUS.document()
    assert document["replicas"][1] == {"name": "v2"}
    assert "canary" not in document
    assert document["weights"] == {"v1": 100, "v2": 0}


def test_instants_are_texts_and_names_are_camel_case() -> None:
    document = STATUS.document()
    assert document["lastDecision"]["at"] == "2026-11-24T06:00:00Z"
    assert document["conditions"][0]["lastTransitionTime"] == "2026-11-24T06:00:00Z"


@pytest.mark.parametrize("status", [STATUS, FleetStatus()], ids=["full", "empty"])
def test_it_passes_the_schema_of_the_crd_and_reads_back_as_it_was(status: FleetStatus) -> None:
    version = custom_resource_definition()["spec"]["versions"][0]
    schema = version["schema"]["openAPIV3Schema"]["properties"]["status"]
    document = status.document()
    assert not [*faults(document, schema), *unknown_fields(document, schema)]
    assert FleetStatus.model_validate(document) == status


def test_a_field_of_a_newer_daemon_is_passed_over() -> None:
    assert FleetStatus.model_validate({"phase": "Stable", "fuel": "full"}) == FleetStatus(phase="Stable")


def test_an_instant_without_its_offset_is_refused() -> None:
    with pytest.raises(ValidationError):
        LastDecision.model_validate({"at": "2026-11-24T06:00:00", "action": "Up", "reason": "Demand", "sentence": ""})
