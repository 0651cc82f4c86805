"""The CRD on a real API server: what it takes, what it refuses and in what words, and what `kubectl` then shows."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from pydantic import ValidationError

from controller.cluster.client import InvalidError, PatchKind, Resource
from controller.model.describe import problems_of
from controller.model.fleet import Fleet
from controller.model.problems import Problem, path_text
from controller.model.resource import fleet_of_resource
from controller.observe.yaml_documents import read_documents
from controller.schedule import check_zones
from tests.cluster.fleet_specs import specs
from tests.cluster.plane.plane import ControlPlane, KubectlError
from tests.unit.fleet.crd_verdicts import FLEETS, VERDICTS, By
from tests.unit.fleet.test_status import STATUS

ROOT = Path(__file__).parents[2]
CRD = ROOT / "deploy" / "controller" / "crd.yaml"
GOOD = [*sorted((FLEETS / "good").glob("*.yaml")), ROOT / "docs" / "fleet.example.yaml"]
FLEET = Resource("governor.dev", "v1alpha1", "fleets")
DEFINITIONS = Resource("apiextensions.k8s.io", "v1", "customresourcedefinitions")
STRICT = {"fieldValidation": "Strict"}


@pytest.fixture(scope="module", autouse=True)
def _definition(plane: ControlPlane) -> None:
    """The CRD is installed: the server found it structural, and its rules within the budget of their cost."""
    plane.apply(CRD)
    plane.kubectl("wait", "--for=condition=Established", "--timeout=50s", "crd/fleets.governor.dev")


def _variant(name: str = "v1", **fields: Any) -> dict[str, Any]:
    target = {"scaleTargetRef": {"name": f"vllm-{name}"}}
    return {"name": name, "subset": name, "accelerator": "l40s", "costPerHour": 2, **target, **fields}


def _fleet(name: str = "llama", **spec: Any) -> dict[str, Any]:
    known = {"modelName": "llama", "host": "vllm", "variants": [_variant()], **spec}
    return {"apiVersion": "governor.dev/v1alpha1", "kind": "Fleet", "metadata": {"name": name}, "spec": known}


def _good_documents() -> list[Any]:
    kinds = {"apiVersion": "governor.dev/v1alpha1", "kind": "Fleet"}
    return [
        pytest.param(kinds | document.value, id=f"{file.stem}-{document.number}")
        for file in GOOD
        for document in read_documents(file.read_text(encoding="utf-8"))
        if isinstance(document.value, dict)
    ]


def _create(plane: ControlPlane, namespace: str, document: Mapping[str, Any], **query: str) -> dict[str, Any]:
    return plane.client.create(FLEET.path(namespace), document, **{**STRICT, **query})


def _refusal(plane: ControlPlane, namespace: str, document: Mapping[str, Any]) -> str:
    with pytest.raises(InvalidError) as refused:
        _create(plane, namespace, document, dryRun="All")
    return str(refused.value)


@pytest.mark.parametrize("document", _good_documents())
def test_a_good_fleet_is_stored_and_read_back_as_the_fleet_that_was_written(
    plane: ControlPlane, namespace: str, document: dict[str, Any]
) -> None:
    written = document | {"metadata": document["metadata"] | {"namespace": namespace}}
    _create(plane, namespace, written)
    stored = plane.client.get(FLEET.path(namespace, written["metadata"]["name"]))
    back, meant = fleet_of_resource(stored), fleet_of_resource(written)
    assert back.spec == meant.spec
    assert (back.key, back.metadata.labels) == (meant.key, meant.metadata.labels)


@pytest.mark.parametrize(("name", "verdict"), VERDICTS.items(), ids=VERDICTS)
def test_a_bad_file_is_refused_by_whom_and_in_the_words_that_the_table_says(
    plane: ControlPlane, name: str, verdict: Any
) -> None:
    file = str(FLEETS / "bad" / f"{name}.yaml")
    if verdict.by in (By.NOBODY, By.DAEMON):
        plane.kubectl("apply", "--dry-run=server", "-f", file)
        return
    with pytest.raises(KubectlError) as refused:
        plane.kubectl("apply", "--dry-run=server", "-f", file)
    said = str(refused.value)
    assert [word for word in verdict.words if word not in said] == [], said
    assert ("strict decoding error" in said) is (verdict.by is By.STRICT), said
    assert "evaluating rule" not in said, "a rule failed instead of saying no"


def test_what_the_server_lets_pass_the_daemon_refuses(plane: ControlPlane, namespace: str) -> None:
    schedule = {"name": "a", "from": "08:00", "to": "18:00", "timezone": "Europe/Berln", "min": 3}
    stored = _create(plane, namespace, _fleet(scaling={"schedules": [schedule]}))
    (problem,) = check_zones(fleet_of_resource(stored))
    assert str(problem) == (
        'spec.scaling.schedules[0].timezone: "Europe/Berln" is no known time zone; did you mean `Europe/Berlin`?'
    )


@given(spec=specs())
@settings(max_examples=300, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_the_server_refuses_exactly_the_contradictions_that_the_model_refuses(
    plane: ControlPlane, spec: dict[str, Any]
) -> None:
    document = _fleet(**spec)
    problems = _problems(document)
    if not problems:
        _create(plane, "default", document, dryRun="All")
        return
    said = _refusal(plane, "default", document)
    assert "evaluating rule" not in said
    assert [str(problem) for problem in problems if not _blamed(problem, said)] == [], said


def _problems(document: dict[str, Any]) -> tuple[Problem, ...]:
    try:
        fleet_of_resource(document)
    except ValidationError as error:
        return problems_of(error, Fleet)
    return ()


def _blamed(problem: Problem, said: str) -> bool:
    """Whether the server's refusal names the field, or the list or mapping by name that it is in."""
    path = problem.path
    first_entry = next((place for place, part in enumerate(path) if isinstance(part, int)), len(path))
    places = [path, path[:first_entry], *([path[:-1]] if path[-2] in ("replicas", "weights") else [])]
    return any(f"{path_text(place)}: Invalid value" in said for place in places)


_NIGHT = {"name": "night", "from": "22:00", "to": "04:00"}
_SINGLE = [
    pytest.param(
        {"scaling": {"schedules": [_NIGHT | {"to": "22:00:00", "min": 1}]}},
        "spec.scaling.schedules[0].to: Invalid value: 22:00:00 equals from, so the window is empty; "
        'write another time; the whole day is "00:00" to "24:00"',
        id="an empty window",
    ),
    pytest.param(
        {"scaling": {"schedules": [_NIGHT]}},
        "spec.scaling.schedules[0]: Invalid value: changes nothing; give it min, max or both",
        id="a schedule without bounds",
    ),
    pytest.param(
        {"scaling": {"schedules": [_NIGHT | {"min": 5, "max": 3}]}},
        "spec.scaling.schedules[0].min: Invalid value: 5 is above max, which is 3; lower min or raise max",
        id="a schedule whose bounds exclude each other",
    ),
    pytest.param(
        {"scaling": {"schedules": [_NIGHT | {"min": 50}]}},
        "spec.scaling.schedules: Invalid value: schedule night: min 50 is above max of variant v1, which is 10; "
        "lower min, or give the schedule a max as well",
        id="a schedule above the variant's max",
    ),
    pytest.param(
        {"scaling": {"schedules": [_NIGHT | {"min": 1, "variant": "v2"}]}},
        'spec.scaling.schedules: Invalid value: schedule night: v2 is the name of no variant; write one of ["v1"]',
        id="a schedule of nobody",
    ),
    pytest.param(
        {"scaling": {"schedules": [_NIGHT | {"min": 5}], "maxCostPerHour": 8}},
        "spec.scaling.schedules: Invalid value: schedule night: min 5 costs 10 per hour with the other variants, "
        "above maxCostPerHour, 8; lower min or raise maxCostPerHour",
        id="a schedule that the budget does not pay",
    ),
    pytest.param(
        {"variants": [_variant(), _variant("v2", scaleTargetRef={"name": "vllm-v1", "kind": "Deployment"})]},
        "spec.variants: Invalid value: vllm-v1 is scaled by more than one variant; "
        "name an object of its own for each variant",
        id="two variants of one object",
    ),
]


@pytest.mark.parametrize(("spec", "words"), _SINGLE)
def test_a_single_contradiction_is_refused_in_exactly_these_words(
    plane: ControlPlane, namespace: str, spec: dict[str, Any], words: str
) -> None:
    said = _refusal(plane, namespace, _fleet(**spec))
    assert said == f'the API server refused (422): Fleet.governor.dev "llama" is invalid: {words}'


def test_the_largest_fleet_stays_within_the_server_s_budget_for_rules(plane: ControlPlane, namespace: str) -> None:
    variants = [_variant(f"v{index}", replicas={"min": 0, "max": 9}) for index in range(16)]
    names = [variant["name"] for variant in variants]
    edges = [f"{index}.000001s" for index in range(1, 201)]
    schedules = [
        {"name": f"s{index}", "from": "08:00", "to": "18:00", "variant": names[index % 16], "min": 1, "max": 20}
        for index in range(64)
    ]
    objective = {"threshold": edges[-1], "bucketEdges": edges}
    override = {"replicas": dict.fromkeys(names, 20), "until": "2026-12-24T18:00:00Z", "reason": "launch"}
    rollout = {"virtualService": {"name": "vllm", "route": "primary"}, "steps": list(range(1, 101))}
    document = _fleet(
        variants=variants,
        objectives={"ttft": objective, "tpot": objective},
        scaling={"schedules": schedules, "override": override, "maxCostPerHour": 2},
        rollout=rollout,
    )
    stored = _create(plane, namespace, document)
    assert fleet_of_resource(stored).spec == fleet_of_resource(document).spec


def test_days_are_counted_exactly(plane: ControlPlane, namespace: str) -> None:
    said = _refusal(plane, namespace, _fleet(scaling={"coldStart": "36h", "startDeadline": "1.5d"}))
    assert "spec.scaling.startDeadline: Invalid value: 1.5d is not longer than coldStart, which is 36h" in said
    _create(plane, namespace, _fleet(scaling={"coldStart": "36h", "startDeadline": "1.5d0.001ms"}))


@pytest.mark.parametrize("text", ["366d", "8761h", "31536000001ms", "999999999999d"])
def test_no_duration_is_above_a_year(plane: ControlPlane, namespace: str, text: str) -> None:
    said = _refusal(plane, namespace, _fleet(scaling={"idleAfter": text}))
    assert "spec.scaling.idleAfter: Invalid value" in said
    assert "is above 365d; write at most 365d" in said


def test_an_unknown_field_is_refused_where_strictness_is_asked_for_and_else_pruned(
    plane: ControlPlane, namespace: str
) -> None:
    document = _fleet(bananas=3)
    assert 'unknown field "spec.bananas"' in _refusal(plane, namespace, document)
    stored = _create(plane, namespace, document, fieldValidation="Ignore")
    assert "bananas" not in stored["spec"]
    assert fleet_of_resource(stored).key == f"{namespace}/llama"


def test_an_empty_value_takes_its_default(plane: ControlPlane, namespace: str) -> None:
    stored = _create(plane, namespace, _fleet(scaling={"policy": None, "stabilization": None, "override": None}))
    assert stored["spec"]["scaling"]["policy"] == "slo"
    assert stored["spec"]["scaling"]["stabilization"] == {"down": "5m", "up": "0s"}
    assert "override" not in stored["spec"]["scaling"]


@pytest.mark.parametrize("what", ["definition", "fleet"])
def test_applied_twice_nothing_changes(plane: ControlPlane, namespace: str, what: str) -> None:
    example = json.dumps(_example(namespace))
    apply = ("apply", "--server-side", "--namespace", namespace, "-f", str(CRD) if what == "definition" else "-")
    path = DEFINITIONS.path(name="fleets.governor.dev") if what == "definition" else FLEET.path(namespace, "llama-8b")
    versions = []
    for _ in range(2):
        plane.kubectl(*apply, stdin=None if what == "definition" else example)
        versions.append(plane.client.get(path)["metadata"]["resourceVersion"])
    assert versions[0] == versions[1]


def test_two_may_own_different_fields_of_one_variant(plane: ControlPlane, namespace: str) -> None:
    apply = ("apply", "--server-side", "--force-conflicts", "-f", "-")
    plane.kubectl(*apply, stdin=json.dumps(_example(namespace)))
    before = plane.client.get(FLEET.path(namespace, "llama-8b"))["spec"]
    part = _example(namespace) | {"spec": {"variants": [{"name": "v2", "replicas": {"max": 30}}]}}
    plane.kubectl(*apply, "--field-manager", "team", stdin=json.dumps(part))
    after = plane.client.get(FLEET.path(namespace, "llama-8b"))["spec"]
    assert [variant["name"] for variant in after["variants"]] == ["v1", "v1-h100", "v2"]
    assert after["variants"][2] == before["variants"][2] | {"replicas": {"min": 0, "max": 30}}


def _example(namespace: str) -> dict[str, Any]:
    (document,) = read_documents((ROOT / "docs" / "fleet.example.yaml").read_text(encoding="utf-8"))
    assert isinstance(document.value, dict)
    return document.value | {"metadata": {"name": "llama-8b", "namespace": namespace}}


def test_kubectl_shows_the_state_of_a_fleet_in_one_line(plane: ControlPlane, namespace: str) -> None:
    _create(plane, namespace, _fleet())
    path = FLEET.path(namespace, "llama", "status")
    summary = {"summary": {"replicas": "3/4", "weight": "v1 100", "attainment": "99.4%"}}
    plane.client.patch(path, {"status": STATUS.document() | summary}, PatchKind.MERGE, **STRICT)
    for word in ("fleets", "flt", "governor"):
        header, row = plane.kubectl("get", word, "--namespace", namespace).splitlines()
        assert header.split() == ["NAME", "PHASE", "REPLICAS", "WEIGHT", "ATTAINMENT", "REASON", "AGE"]
        assert row.split()[-8:-1][-7:] == ["llama", "Stable", "3/4", "v1", "100", "99.4%", "Demand"]
    wide = plane.kubectl("get", "fleets", "--namespace", namespace, "-o", "wide")
    assert "v1 3 → 4" in wide


def test_a_status_is_written_beside_the_spec_and_neither_disturbs_the_other(
    plane: ControlPlane, namespace: str
) -> None:
    stored = _create(plane, namespace, _fleet() | {"status": {"phase": "Failed"}})
    assert "status" not in stored
    path = FLEET.path(namespace, "llama", "status")
    spec = {"spec": {"host": "elsewhere"}, "status": STATUS.document()}
    changed = plane.client.patch(path, spec, PatchKind.MERGE, **STRICT)
    assert changed["spec"] == stored["spec"]
    assert changed["metadata"]["generation"] == stored["metadata"]["generation"] == 1
    assert type(STATUS).model_validate(changed["status"]) == STATUS


def test_every_field_is_explained(plane: ControlPlane) -> None:
    said = plane.kubectl("explain", "fleet.spec.scaling.headroom")
    assert "Share of learned capacity kept free." in said
    assert set(Fleet.model_fields) == {"api_version", "kind", "metadata", "spec"}
