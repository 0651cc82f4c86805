"""Which bounds hold while schedules are active."""

from __future__ import annotations

from typing import Any

import pytest

from controller.model.bounds import EffectiveBounds, effective_bounds
from controller.model.fleet import Fleet

DAY = {"from": "08:00", "to": "18:00"}


@pytest.fixture
def fleet() -> Fleet:
    def variant(name: str) -> dict[str, Any]:
        target = {"name": name}
        bounds = {"min": 2, "max": 10}
        return {"name": name, "scaleTargetRef": target, "subset": name, "accelerator": "a", "costPerHour": 1} | {
            "replicas": bounds
        }

    return Fleet.model_validate(
        {
            "metadata": {"name": "llama"},
            "spec": {
                "modelName": "llama",
                "host": "vllm",
                "variants": [variant("v1"), variant("v2")],
                "scaling": {
                    "schedules": [
                        {"name": "floor", "min": 5, **DAY},
                        {"name": "night", "min": 0, "max": 1, **DAY},
                        {"name": "sale", "min": 8, "max": 30, "variant": "v1", **DAY},
                        {"name": "off", "min": 0, "max": 0, "variant": "v2", **DAY},
                    ]
                },
            },
        }
    )


@pytest.mark.parametrize(
    ("variant", "active", "expected"),
    [
        pytest.param("v1", [], EffectiveBounds(2, 10, "replicas of variant v1"), id="its own without any"),
        pytest.param("v1", ["floor"], EffectiveBounds(5, 10, "schedule floor"), id="what is unset stays its own"),
        pytest.param("v1", ["night"], EffectiveBounds(0, 1, "schedule night"), id="a schedule may lower both"),
        pytest.param("v1", ["sale"], EffectiveBounds(8, 30, "schedule sale"), id="a schedule may raise both"),
        pytest.param("v2", ["sale"], EffectiveBounds(2, 10, "replicas of variant v2"), id="not of another variant"),
        pytest.param("v2", ["off"], EffectiveBounds(0, 0, "schedule off"), id="switched off"),
        pytest.param(
            "v1", ["night", "floor"], EffectiveBounds(5, 10, "schedules floor and night"), id="overlap: highest win"
        ),
        pytest.param(
            "v2", ["off", "night"], EffectiveBounds(0, 1, "schedules night and off"), id="overlap: none takes away"
        ),
        pytest.param("v1", ["gone"], EffectiveBounds(2, 10, "replicas of variant v1"), id="unknown names are passed"),
    ],
)
def test_effective_bounds(fleet: Fleet, variant: str, active: list[str], expected: EffectiveBounds) -> None:
    assert effective_bounds(fleet, variant, active) == expected


def test_an_unknown_variant_is_a_key_error(fleet: Fleet) -> None:
    with pytest.raises(KeyError):
        effective_bounds(fleet, "v3", [])
