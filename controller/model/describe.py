"""What pydantic found wrong, as problems for people: the path in YAML spelling, the value, the reason, the remedy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from controller.model.field_tree import field_at, meaning, nearest_field
from controller.model.problems import Path, Problem, RefusedError, value_text
from controller.model.wording import words_for


def problems_of(error: ValidationError, root: type[BaseModel]) -> tuple[Problem, ...]:
    """Every problem in `error`, which came from validating a `root`."""
    return tuple(
        problem
        for details in error.errors(include_url=False)
        if not _follows(details)
        for problem in _problems(details, root)
    )


def _follows(details: ErrorDetails) -> bool:
    """Whether an error only follows from another one, which is reported: a list is short of its bad entries."""
    if details["type"] == "too_short" and isinstance(details["input"], list):
        return len(details["input"]) >= int(details["ctx"]["min_length"])
    return details["type"] == "default_factory_not_called"


def _problems(details: ErrorDetails, root: type[BaseModel]) -> Iterator[Problem]:
    path, value = _location(details), details["input"]
    cause = details.get("ctx", {}).get("error")
    if isinstance(cause, RefusedError):
        for problem in cause.problems:
            shown = problem.value or ("" if problem.path else _shown(value))
            yield Problem(path + problem.path, problem.reason, problem.remedy, shown)
    elif details["type"] == "extra_forbidden":
        yield Problem(path, "is no known field", nearest_field(path, root))
    elif details["type"] == "missing":
        what = meaning(path, root)
        yield Problem(path, "is missing", f"add it ({what})" if what else "add it")
    elif value is None:
        field = field_at(path, root)
        needed = field is not None and field.is_required()
        yield Problem(path, "is empty", "give it a value" if needed else "give it a value, or remove the line")
    else:
        yield Problem(path, *words_for(details), value=_shown(value))


def _location(details: ErrorDetails) -> Path:
    """The path without pydantic's mark for the key of a mapping, which stands after the key itself."""
    return tuple(part for part in details["loc"] if part != "[key]")


def _shown(value: object) -> str:
    """A mapping, or a list of them, would only hide what is wrong with it."""
    inner = value[0] if isinstance(value, list | tuple) and value else value
    return "" if isinstance(inner, BaseModel | Mapping) else value_text(value)
