"""The CRD says what the model says, in the dialect that the API server takes, and the committed file is its output."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from controller.cli.crd import yaml_text
from controller.cli.main import main
from controller.model.crd import custom_resource_definition
from controller.model.field_tree import fields_of, model_in
from controller.model.fields import parse_duration_s
from controller.model.fleet import Fleet, FleetSpec
from controller.model.resource import fleet_of_resource
from controller.model.status import FleetStatus
from controller.observe.yaml_documents import read_documents
from tests.unit.fleet.crd_verdicts import FLEETS, VERDICTS, By
from tests.unit.fleet.structural import admitted, faults, parts, unknown_fields

ROOT = Path(__file__).parents[3]
GOOD = [*sorted((FLEETS / "good").glob("*.yaml")), ROOT / "docs" / "fleet.example.yaml"]
CRD = custom_resource_definition()
VERSION = CRD["spec"]["versions"][0]
SCHEMA = VERSION["schema"]["openAPIV3Schema"]
PARTS = list(parts(SCHEMA))
_UNREADABLE = ("syntax_python_tag", "nested_too_deeply")
"""Our reader refuses as YAML what kubectl reads."""
KNOWN_KEYS = {
    *("type", "description", "default", "required", "properties", "items", "additionalProperties", "enum"),
    *("format", "pattern", "minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties"),
    *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"),
    *("x-kubernetes-list-type", "x-kubernetes-list-map-keys", "x-kubernetes-validations"),
}


def _documents(file: Path) -> list[Any]:
    return [document.value for document in read_documents(file.read_text(encoding="utf-8"))]


def _complete(document: dict[str, Any]) -> dict[str, Any]:
    """A fleet file may leave out what every Kubernetes object must say."""
    return {"apiVersion": "governor.dev/v1alpha1", "kind": "Fleet"} | document


def test_the_committed_file_is_what_the_command_prints(monkeypatch: Any, capsys: Any) -> None:
    monkeypatch.setattr(sys, "argv", ["governor", "crd"])
    with pytest.raises(SystemExit) as ended:
        main()
    printed = capsys.readouterr().out
    assert not ended.value.code
    assert printed == (ROOT / "deploy" / "controller" / "crd.yaml").read_text(encoding="utf-8") == yaml_text()


def test_as_json_it_is_the_same_resource(monkeypatch: Any, capsys: Any) -> None:
    monkeypatch.setattr(sys, "argv", ["governor", "crd", "--output", "json"])
    with pytest.raises(SystemExit):
        main()
    assert json.loads(capsys.readouterr().out) == yaml.safe_load(yaml_text()) == CRD


def test_nothing_is_shared_between_two_calls_or_two_places() -> None:
    assert custom_resource_definition()["spec"]["versions"][0] is not VERSION
    assert "&id" not in yaml_text()


def test_names_and_columns_are_those_of_kubectl_get_fleets() -> None:
    assert CRD["metadata"]["name"] == "fleets.governor.dev"
    columns = VERSION["additionalPrinterColumns"]
    shown = [column["name"] for column in columns if not column.get("priority")]
    assert shown == ["Phase", "Replicas", "Weight", "Attainment", "Reason", "Age"]
    paths = {path for path, _ in PARTS}
    assert {column["jsonPath"] for column in columns} - paths == {".metadata.creationTimestamp"}


@pytest.mark.parametrize(("path", "part"), PARTS, ids=[path or "root" for path, _ in PARTS])
def test_every_part_keeps_to_the_dialect_and_has_a_greatest_size(path: str, part: dict[str, Any]) -> None:
    assert set(part) <= KNOWN_KEYS
    assert all(isinstance(part[limit], bool) for limit in ("exclusiveMinimum", "exclusiveMaximum") if limit in part)
    if part["type"] == "string" and path not in (".apiVersion", ".kind"):
        assert "enum" in part or "maxLength" in part
    if part["type"] == "array":
        assert "maxItems" in part
    if "additionalProperties" in part:
        assert "maxProperties" in part


def _model_paths(model: type[BaseModel], prefix: str) -> Iterator[str]:
    for name, info in fields_of(model).items():
        yield f"{prefix}.{name}"
        inner = model_in(info.annotation)
        if inner is not None:
            entry = "[]" if "tuple" in str(info.annotation) else ""
            yield from _model_paths(inner, f"{prefix}.{name}{entry}")


@pytest.mark.parametrize(("model", "prefix"), [(FleetSpec, ".spec"), (FleetStatus, ".status")], ids=["spec", "status"])
def test_every_field_of_the_model_is_there_with_a_description_and_no_other(model: type[BaseModel], prefix: str) -> None:
    described = {path for path, part in PARTS if part.get("description")}
    wanted = set(_model_paths(model, prefix))
    assert wanted <= described
    known = {f"{path}.{name}" for path, part in PARTS for name in part.get("properties", {})}
    assert {path for path in known if path.startswith(f"{prefix}.")} == wanted


@pytest.mark.parametrize("file", GOOD, ids=lambda file: file.stem)
def test_a_good_fleet_passes_and_comes_back_as_it_was_after_pruning_and_defaults(file: Path) -> None:
    for document in map(_complete, _documents(file)):
        stored = admitted(document, SCHEMA)
        assert not [*unknown_fields(document, SCHEMA), *faults(stored, SCHEMA)]
        assert fleet_of_resource(stored) == fleet_of_resource(document)


def test_the_defaults_are_those_of_the_model() -> None:
    (minimal,) = map(_complete, _documents(FLEETS / "good" / "minimal.yaml"))
    written = fleet_of_resource(minimal).model_dump(mode="json", by_alias=True, exclude_none=True)
    assert admitted(minimal, SCHEMA)["spec"] == written["spec"]


def test_every_bad_file_has_its_verdict_and_few_are_left_to_the_daemon() -> None:
    assert set(VERDICTS) == {file.stem for file in (FLEETS / "bad").glob("*.yaml")}
    assert [name for name, verdict in VERDICTS.items() if verdict.by is By.DAEMON] == ["schedule_time_zone"]


@pytest.mark.parametrize(
    "name",
    [
        name
        for name, verdict in VERDICTS.items()
        if verdict.by in (By.SCHEMA, By.RULE, By.STRICT, By.DAEMON) and name not in _UNREADABLE
    ],
)
def test_the_schema_alone_refuses_what_the_table_says_it_refuses(name: str) -> None:
    documents = _documents(FLEETS / "bad" / f"{name}.yaml")
    stored = [admitted(document, SCHEMA) for document in documents]
    refused = list(chain.from_iterable(faults(document, SCHEMA) for document in stored))
    unknown = list(chain.from_iterable(unknown_fields(document, SCHEMA) for document in documents))
    by = VERDICTS[name].by
    assert bool(unknown) is (by is By.STRICT)
    if not unknown:
        assert bool(refused) is (by is By.SCHEMA)


def _patterns() -> list[str]:
    return sorted({part["pattern"] for _, part in PARTS if "(ms|s|m|h)" in part.get("pattern", "")})


@given(st.sampled_from(_patterns()).flatmap(lambda pattern: st.from_regex(pattern.replace("$", r"\Z"))))
@settings(max_examples=300)
def test_every_duration_that_the_schema_takes_is_one_for_the_model_too(text: str) -> None:
    if 2 <= len(text) <= 32:
        assert parse_duration_s(text) >= 0


def test_every_rule_blames_a_field_that_is_there_and_says_what_to_do() -> None:
    paths = {path for path, _ in PARTS}
    for path, part in PARTS:
        for rule in part.get("x-kubernetes-validations", ()):
            assert f"{path}{rule.get('fieldPath', '')}" in paths
            assert rule["reason"] == "FieldValueInvalid"
            assert "; " in rule["message"]
            assert "\n" not in rule["message"] + rule["rule"] + rule.get("messageExpression", "")


def test_every_pattern_is_one_for_go_as_well() -> None:
    """RE2 knows no look-around and no back-reference."""
    for _, part in PARTS:
        pattern = part.get("pattern", "^$")
        assert re.compile(pattern)
        assert pattern.startswith("^")
        assert pattern.endswith("$")
        assert not re.search(r"\(\?[=!<]|\\[1-9Zz]", pattern)


def test_the_fleet_itself_has_no_status_and_the_status_no_unknown_spelling() -> None:
    assert "status" not in fields_of(Fleet)
    assert SCHEMA["properties"]["status"]["properties"]["lastDecision"]["required"] == [
        "at",
        "action",
        "reason",
        "sentence",
    ]
