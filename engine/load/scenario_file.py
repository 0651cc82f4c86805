"""Find and read scenarios: shipped ones by name, a user's own by path. Errors name path, value, reason and remedy."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from controller.errors import UsageError
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
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: cannot read the scenario: {error}") from error


def parse_scenario(text: str, where: str) -> Scenario:
    """A scenario from YAML text. `where` names the file in errors. Raises UsageError with every mistake, one a line."""
    try:
        document = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError) as error:
        raise UsageError(f"{where}: not valid YAML: {' '.join(str(error).split())}; mend that place") from error
    if not isinstance(document, dict):
        raise UsageError(f"{where}: a scenario is a mapping with name, stack, lengths, phases and fleet")
    try:
        return Scenario.model_validate(document)
    except ValidationError as error:
        raise UsageError("\n".join(_sentence(where, dict(detail)) for detail in error.errors())) from error


def _sentence(where: str, detail: Mapping[str, Any]) -> str:
    """One mistake: file, path, value, reason, remedy."""
    path, kind = _path(detail["loc"]), detail["type"]
    if kind == "extra_forbidden":
        return f"{where}: {path}: unknown field; {_nearest(str(detail['loc'][-1]))}"
    if kind == "missing":
        return f"{where}: {path}: missing; add it"
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        context = detail["ctx"]
        tag = context.get("tag", "nothing")
        return (
            f"{where}: {path}.{str(context['discriminator']).strip(chr(39))}: {tag!r} is not known; use one of "
            + str(context.get("expected_tags", _KINDS))
        )
    reason = str(detail["msg"]).removeprefix("Value error, ")
    value = repr(detail["input"])
    shown = f" {value[:60]}" if not isinstance(detail["input"], dict | list) else ""
    return f"{where}: {path or 'scenario'}:{shown} {reason[:1].lower()}{reason[1:]}; correct it"


_KINDS = "those in the shipped scenarios"


def _path(location: tuple[str | int, ...]) -> str:
    """`phases[1].rps` of ("phases", 1, "step", "rps"): the tag of a phase's kind is no part of the file's path."""
    parts: list[str] = []
    for before, part in zip((None, *location), location, strict=False):
        if isinstance(part, int):
            parts.append(f"[{part}]")
        elif isinstance(before, int) and before is not None and location[0] == "phases":
            continue
        else:
            parts.append(f".{part}")
    return "".join(parts).lstrip(".")


def _nearest(field: str) -> str:
    known = sorted(_field_names(Scenario, set()))
    near = difflib.get_close_matches(field, known, n=1, cutoff=0.5)
    return f"did you mean {near[0]!r}?" if near else "remove it"


def _field_names(model: type[BaseModel], seen: set[type[BaseModel]]) -> set[str]:
    """Every field's YAML name in `model` and the models that its annotations mention."""
    seen.add(model)
    names: set[str] = set()
    for name, field in model.model_fields.items():
        names.add(field.alias or name)
        for inner in _models_in(field.annotation):
            if inner not in seen:
                names |= _field_names(inner, seen)
    return names


def _models_in(annotation: object) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for argument in getattr(annotation, "__args__", ()) for model in _models_in(argument)]
