"""The runs of `governor local` that the tests look at."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from engine.profile_files import SHIPPED
from tests.live.local_runs import Case

COLD_START_S = 15.0
STEP_AT_S = 60.0
STEP_END_S = 210.0
_SCENARIOS = Path(__file__).parents[2] / "engine" / "load" / "scenarios"


def shipped(name: str) -> dict[str, Any]:
    """A shipped scenario as it is written."""
    found: dict[str, Any] = yaml.safe_load((_SCENARIOS / f"{name}.yaml").read_text())
    return found


def write_yaml(path: Path, document: Mapping[str, Any]) -> Path:
    """The document as a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(dict(document), sort_keys=False))
    return path


def static_case(folder: Path) -> Case:
    """The step's traffic, up to the end of the load, on a fleet that nobody changes."""
    scenario = shipped("step")
    del scenario["phases"][2]
    scenario["stack"]["answerTimeout"] = "1s"
    path = write_yaml(folder / "static.yaml", scenario)
    return Case("static", ("--scenario", str(path), "--policy", "static"), limit_s=270)


def stretched_case(folder: Path, name: str, factor: float) -> Case:
    """A shorter step, and a daemon whose prior has every term of the step law multiplied."""
    scenario = shipped("step")
    scenario["phases"] = [
        {"name": "before", "kind": "constant", "duration": "30s", "rps": 4.68},
        {"name": "step", "kind": "step", "duration": "100s", "rps": 14.04, "within": "1s", "load": True},
    ]
    fleet = scenario["fleet"]
    prior = yaml.safe_load((SHIPPED / "l40s-8b.yaml").read_text())
    prior |= {"name": f"l40s-{name}", "step": {term: value * factor for term, value in prior["step"].items()}}
    fleet["spec"]["variants"][0]["profile"] = f"{name}-prior.yaml"
    write_yaml(folder / f"{name}-prior.yaml", prior)
    arguments = ("--scenario", str(write_yaml(folder / f"{name}.yaml", scenario)))
    return Case(name, (*arguments, "--fleet", str(write_yaml(folder / f"{name}-fleet.yaml", fleet))), limit_s=240)


def thresholds_case() -> Case:
    """The operator's rule."""
    return Case("thresholds", ("--scenario", "thresholds"), limit_s=360)
