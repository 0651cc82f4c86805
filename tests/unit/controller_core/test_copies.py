"""Copies of frozen values are what the standard library would make."""

from __future__ import annotations

import dataclasses

import pytest

from controller.model.copies import replace
from controller.model.memory import FleetMemory
from controller.model.snapshot import Freshness, Reading


@dataclasses.dataclass(frozen=True, slots=True)
class _One:
    number: int


@pytest.mark.parametrize(
    ("value", "changes"),
    [
        pytest.param(Reading(1.0, Freshness.FRESH, 2.0, "x"), {"value": None}, id="one field"),
        pytest.param(Reading(1.0, Freshness.FRESH), {}, id="none"),
        pytest.param(FleetMemory.empty("a/b"), {"stable": "v1", "started_at": 5.0}, id="several"),
        pytest.param(_One(1), {"number": 2}, id="a value of a single field"),
    ],
)
def test_a_copy_differs_in_the_changed_fields_alone(value: Reading, changes: dict[str, object]) -> None:
    assert replace(value, **changes) == dataclasses.replace(value, **changes)  # type: ignore[arg-type]


def test_the_original_stays_as_it_was() -> None:
    value = Reading(1.0, Freshness.FRESH)
    replace(value, value=2.0)

    assert value.value == 1.0


def test_an_unknown_field_is_refused() -> None:
    with pytest.raises(TypeError, match="nothing"):
        replace(_One(1), nothing=3)  # type: ignore[call-arg]
