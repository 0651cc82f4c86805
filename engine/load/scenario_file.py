"""Find and read scenarios: shipped ones by name, a user's own by path. Errors name path, value, reason and remedy."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path

import yaml
from pydantic import ValidationError

from controller.errors import UsageError
from controller.model.describe import problems_of
from engine.load.scenario import Scenario

_BIGGEST_FILE = 1_000_000


def shipped_scenarios() -> tuple[str, ...]:
    """Names of the scenarios that come with the project."""
    folder = resources.files("engine.load").joinpath("scenarios")
    return tuple(sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml")))


def load_scenario(name_or_path: str) -> Scenario:
    """The shipped scenario of that name, else the file at that path. Raises UsageError."""
    if name_or_path in shipped_scenarios():
        entry = resources.files("engine.load").joinpath("scenarios", f"{name_or_path}.yaml")
        return parse_scenario(entry.read_text(encoding="utf-8"), name_or_path)
    return parse_scenario(_read(Path(name_or_path)), name_or_path)


def _read(path: Path) -> str:
    if not path.is_file():
        known = ", ".join(shipped_scenarios())
        raise UsageError(f"scenario {str(path)!r}: neither a shipped one nor a file; give one of {known}, or a path")
    try:
        if path.stat().st_size > _BIGGEST_FILE:
            raise UsageError(f"{path}: too large for a scenario; give a YAML file below 1 MB")
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: is not UTF-8; save it in that encoding") from error
    except OSError as error:
        raise UsageError(f"{path}: cannot read the scenario: {error.strerror or error}") from error


def parse_scenario(text: str, where: str) -> Scenario:
    """A scenario from YAML text. `where` names the file in errors. Raises UsageError with every mistake, one a line."""
    document = _document(text, where)
    try:
        # As JSON: the reading that refuses durations without a unit.
        return Scenario.model_validate_json(json.dumps(document, default=str))
    except ValidationError as error:
        raise UsageError("\n".join(f"{where}: {problem}" for problem in problems_of(error, Scenario))) from error


def _document(text: str, where: str) -> object:
    try:
        document = yaml.safe_load(text)
        if isinstance(document, dict):
            json.dumps(document, default=str)
            return document
    except (yaml.YAMLError, RecursionError, ValueError, TypeError) as error:
        raise UsageError(f"{where}: not valid YAML: {' '.join(str(error).split())}; mend that place") from error
    raise UsageError(f"{where}: no scenario; write a mapping with name, description, stack, lengths, phases and fleet")
