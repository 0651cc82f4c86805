"""YAML, read strictly."""

from __future__ import annotations

import pytest

from controller.observe.yaml_documents import YamlProblem, read_documents


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("22:00", "22:00"),
        ("no", "no"),
        ("on", "on"),
        ("2026-01-01", "2026-01-01"),
        ("1_000", "1_000"),
        ("010", 10),
        ("0o17", 15),
        ("0x1F", 31),
        ("-3", -3),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("true", True),
        ("~", None),
        ("", None),
        ("'5'", "5"),
        ("!!str 5", "5"),
        ("1.2.3", "1.2.3"),
        ("<<", "<<"),
    ],
)
def test_a_scalar_is_what_yaml_1_2_says(written: str, value: object) -> None:
    (document,) = read_documents(f"key: {written}")
    assert document.value == {"key": value}


def test_every_value_knows_its_line_and_a_missing_one_that_of_its_parent() -> None:
    _, document = read_documents("---\na: 1\n---\nspec:\n  variants:\n    - name: v1\n      cost: 2\n")
    assert document.number == 2
    assert document.line(("spec", "variants", 0, "cost")) == 7
    assert document.line(("spec", "variants", 0, "missing", "below")) == 6
    assert document.line(("nowhere",)) == 4


def test_a_merge_brings_what_is_not_given_and_the_nearest_source_wins() -> None:
    (document,) = read_documents("a: &a {x: 1, y: 1}\nb: &b {y: 2, z: 2}\nc: {<<: [*a, *b], z: 3}\n")
    assert document.value == {"a": {"x": 1, "y": 1}, "b": {"y": 2, "z": 2}, "c": {"z": 3, "x": 1, "y": 1}}


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("[" * 100_000, id="flow lists"),
        pytest.param("{a: " * 100_000, id="flow mappings"),
        pytest.param("- " * 100_000, id="block lists"),
        pytest.param("? " * 100_000, id="keys of keys"),
        pytest.param("a: &a [*a]", id="an alias of itself"),
        pytest.param("a: &a {<<: *a}", id="a merge of itself"),
    ],
)
def test_depth_is_refused_before_it_can_hurt(text: str) -> None:
    with pytest.raises(YamlProblem, match="nested more than 32 levels deep"):
        read_documents(text)


@pytest.mark.parametrize("form", ["[{}]", "{{<<: [{}]}}"], ids=["aliases", "merges"])
def test_a_small_text_cannot_become_a_large_one(form: str) -> None:
    start = "a0: &a0 [x, x]\n" if form[0] == "[" else "a0: &a0 {x: 1, y: 2}\n"
    rows = (f"a{i}: &a{i} {form.format(', '.join([f'*a{i - 1}'] * 9))}\n" for i in range(1, 25))
    with pytest.raises(YamlProblem, match="holds more than 500000 values with its aliases"):
        read_documents(start + "".join(rows))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: 1\na: 2", "line 2, column 1: gives `a` a second time (first in line 1); keep one of the two"),
        ("? [1]\n: 2", "uses a list or mapping as a name"),
        ("a: !!int x", "is no int"),
        ("a: !!set {x}", "has the tag !!set, which is not read"),
        ("a: !own 1", "has the tag !own, which is not read"),
        ("a: \x07", "remove characters that cannot be printed"),
        ("a: b: c", "line 1, column 5: is no YAML: mapping values are not allowed here"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_its_place(text: str, said: str) -> None:
    with pytest.raises(YamlProblem) as caught:
        read_documents(text)
    assert said in str(caught.value)
