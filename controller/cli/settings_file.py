"""Settings from a file and from options, together: options win."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from controller.errors import UsageError
from controller.model.describe import problems_of
from controller.observe.yaml_documents import YamlProblem, read_documents
from controller.settings import Settings


def settings_of(path: Path | None, given: Mapping[str, Any], names: Mapping[str, str]) -> Settings:
    """The file's settings with those that are `given` (not None) in their place; mappings are merged.

    `names` are the words for settings that came from options. Raises UsageError with everything that is wrong.
    """
    kept = {name: value for name, value in given.items() if value is not None}
    from_file = _read(path) if path is not None else {}
    try:
        return Settings(**_merged(from_file, kept))
    except ValidationError as error:
        problems = (str(problem) for problem in problems_of(error, Settings))
        where = f"{path}: " if path is not None else ""
        words = names if path is None else {name: word for name, word in names.items() if name in _written(kept)}
        raise UsageError("; ".join(where + _in_words(text, words) for text in problems)) from error


def _written(given: Mapping[str, Any]) -> set[str]:
    """Names of settings, those within settings and their paths among them."""
    found = set(given)
    for name, value in given.items():
        if isinstance(value, Mapping):
            found |= {*value, *(f"{name}.{inner}" for inner in value)}
    return found


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    found = dict(below)
    for name, value in above.items():
        old = found.get(name)
        found[name] = {**old, **value} if isinstance(old, dict) and isinstance(value, Mapping) else value
    return found


def _in_words(text: str, names: Mapping[str, str]) -> str:
    """A problem of a setting as one of its option; contradictions name settings of their own."""
    for setting, option_name in names.items():
        text = text.replace(setting, option_name)
    return text


def _read(path: Path) -> dict[str, Any]:
    try:
        documents = read_documents(path.read_text("utf-8"))
    except OSError as error:
        raise UsageError(f"--settings {path} cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"--settings {path} is not UTF-8 text: save it in that encoding") from error
    except YamlProblem as error:
        raise UsageError(f"--settings {path}: {error}") from error
    if len(documents) > 1:
        raise UsageError(f"--settings {path} has {len(documents)} documents: keep one")
    value = documents[0].value if documents else {}
    if not isinstance(value, dict):
        raise UsageError(f"--settings {path} is no mapping: write one setting a line, as `rate_window_s: 60`")
    return value
