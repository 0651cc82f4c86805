"""The first place where two JSON values differ, as a path that people can follow in the code."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

_SHOWN = 160
_NOTHING = object()


class Difference(NamedTuple):
    """A path such as `decision.steps[2].after.v1`, and the value on either side."""

    path: str
    recorded: str
    replayed: str


def first_difference(path: str, recorded: Any, replayed: Any) -> Difference | None:
    """The first difference in reading order; None when both are equal to the last bit.

    Numbers of different types differ (5 is not 5.0), for their text would. Pairs of a name and a value, as replicas
    by variant are, are followed by name.
    """
    if isinstance(recorded, dict) and isinstance(replayed, dict):
        return _of_parts(path, recorded, replayed, "{path}.{key}")
    if isinstance(recorded, list) and isinstance(replayed, list):
        if _named(recorded) and _named(replayed):
            return _of_parts(path, dict(recorded), dict(replayed), "{path}.{key}")
        return _of_parts(path, dict(enumerate(recorded)), dict(enumerate(replayed)), "{path}[{key}]")
    if type(recorded) is type(replayed) and repr(recorded) == repr(replayed):
        return None
    return Difference(path, _text(recorded), _text(replayed))


def _of_parts(path: str, recorded: dict[Any, Any], replayed: dict[Any, Any], pattern: str) -> Difference | None:
    for key in [*recorded, *(key for key in replayed if key not in recorded)]:
        one, other = recorded.get(key, _NOTHING), replayed.get(key, _NOTHING)
        found = first_difference(pattern.format(path=path, key=key), one, other)
        if found is not None:
            return found
    if list(recorded) != list(replayed):
        return Difference(path, f"order {_text(list(recorded))}", f"order {_text(list(replayed))}")
    return None


def _named(values: list[Any]) -> bool:
    """Whether these are pairs whose first part names the second, each name once."""
    pairs = all(isinstance(v, list) and len(v) == 2 and isinstance(v[0], str) for v in values)
    return bool(values) and pairs and len({v[0] for v in values}) == len(values)


def _text(value: Any) -> str:
    if value is _NOTHING:
        return "nothing"
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
