"""Whatever a file holds: fleets or sentences, never a crash."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from controller.observe.fleet_documents import read_file
from controller.observe.yaml_documents import YamlProblem, read_documents

EXAMPLE = Path(__file__).parents[3] / "docs" / "fleet.example.yaml"
(DOCUMENT,) = read_documents(EXAMPLE.read_text(encoding="utf-8"))
PATHS = sorted(DOCUMENT.lines, key=str)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["v1", "1s", "24:00"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


def with_value(document: Any, path: tuple[str | int, ...], value: object) -> Any:
    if not path:
        return value
    changed = copy.deepcopy(document)
    part = changed
    for step in path[:-1]:
        part = part[step]
    part[path[-1]] = value
    return changed


def problems_of(text: str) -> list[YamlProblem]:
    try:
        read_documents(text)
    except YamlProblem as problem:
        return [problem]
    return []


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fleet") / "fleet.yaml"


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(path=st.sampled_from(PATHS), value=VALUES)
def test_any_value_in_any_place_is_read_or_refused_with_its_place(
    scratch: Path, path: tuple[str | int, ...], value: object
) -> None:
    text = json.dumps(with_value(DOCUMENT.value, path, value)).replace("Infinity", ".inf").replace("NaN", ".nan")
    scratch.write_text(text, encoding="utf-8")
    for entry in read_file(scratch):
        assert (entry.fleet is None) == bool(entry.problems)
        assert all(problem.startswith(f"{scratch}:") and problem.isprintable() for problem in entry.problems)


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet=st.sampled_from(list("ab:-? \n\t[]{}&*<>!|'\"#%,.0123\\~@`\x00é")), max_size=40))
def test_any_text_is_yaml_or_refused_with_a_line(text: str) -> None:
    places = [(problem.line, problem.column) for problem in problems_of(text)]
    assert all(line >= 1 and column >= 1 for line, column in places)
