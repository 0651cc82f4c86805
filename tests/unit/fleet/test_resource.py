"""A Fleet read from the API server is the fleet that was written, without what the cluster added to it."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from controller.model.describe import problems_of
from controller.model.fleet import Fleet
from controller.model.resource import fleet_of_resource

_VARIANT = {"name": "v1", "scaleTargetRef": {"name": "vllm"}, "subset": "v1", "accelerator": "l40s", "costPerHour": 2}


def _resource(**spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "governor.dev/v1alpha1",
        "kind": "Fleet",
        "metadata": {
            "name": "llama",
            "namespace": "llm",
            "labels": {"team": "chat"},
            "annotations": {"note": "ours", "kubectl.kubernetes.io/last-applied-configuration": "{…}"},
            "generation": 7,
            "uid": "6f1c",
            "resourceVersion": "12",
            "creationTimestamp": "2026-11-24T06:00:00Z",
            "managedFields": [{"manager": "kubectl", "operation": "Apply"}],
            "finalizers": ["governor.dev/weights"],
        },
        "spec": {"modelName": "llama", "host": "vllm", "variants": [_VARIANT], **spec},
        "status": {"phase": "Stable"},
    }


def _problems(document: dict[str, Any]) -> list[str]:
    with pytest.raises(ValidationError) as refused:
        fleet_of_resource(document)
    return [str(problem) for problem in problems_of(refused.value, Fleet)]


def test_what_only_the_cluster_writes_is_left_aside() -> None:
    fleet = fleet_of_resource(_resource())
    assert fleet.key == "llm/llama"
    assert (fleet.metadata.generation, fleet.metadata.labels) == (7, {"team": "chat"})
    assert fleet.metadata.annotations == {"note": "ours"}


def test_the_resource_itself_is_not_changed() -> None:
    document = _resource()
    fleet_of_resource(document)
    assert document == _resource()


def test_a_contradiction_is_refused_in_the_words_of_the_file_loader() -> None:
    (problem,) = _problems(_resource(scaling={"maxCostPerHour": 1}))
    assert problem == (
        "spec.scaling.maxCostPerHour: 1 is below the cost of the fewest replicas of all variants, 2 per hour; "
        "raise it, or lower replicas.min"
    )


def test_an_unknown_field_of_the_spec_is_refused() -> None:
    assert _problems(_resource(scalling={})) == ["spec.scalling: is no known field; did you mean `scaling`?"]


def test_texts_are_no_numbers_here_either() -> None:
    (problem,) = _problems(_resource(variants=[_VARIANT | {"costPerHour": "2"}]))
    assert problem.startswith('spec.variants[0].costPerHour: "2" ')


@pytest.mark.parametrize("metadata", [None, "llama", []], ids=["null", "a text", "a list"])
def test_metadata_that_is_no_mapping_is_refused_not_crashed_on(metadata: object) -> None:
    assert _problems(_resource() | {"metadata": metadata})[0].startswith("metadata: ")
