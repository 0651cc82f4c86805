"""RFC 6902, as far as patches of ours use it: `test`, `add` and `replace`, all or nothing."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any


class UnmetError(Exception):
    """A `test` operation did not hold, or a path leads nowhere."""


def applied(document: Mapping[str, Any], operations: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The patched copy. Raises UnmetError."""
    found = copy.deepcopy(dict(document))
    for operation in operations:
        try:
            _apply(found, operation)
        except (KeyError, IndexError) as error:
            raise UnmetError(f"{operation['path']} leads nowhere") from error
    return found


def _apply(document: dict[str, Any], operation: Mapping[str, Any]) -> None:
    *parents, last = (part.replace("~1", "/").replace("~0", "~") for part in operation["path"].split("/")[1:])
    place: Any = document
    for part in parents:
        place = place[int(part) if isinstance(place, list) else part]
    key = int(last) if isinstance(place, list) else last
    there = place[key] if operation["op"] != "add" else None
    if operation["op"] != "test":
        place[key] = operation["value"]
    elif there != operation["value"]:
        raise UnmetError(f"{operation['path']} is {there!r}, not {operation['value']!r}")
