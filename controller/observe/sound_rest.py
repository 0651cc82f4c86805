"""What is left of a fleet document without its bad parts, so that checks across parts can still be made.

Without it a mistake in the rollout would hide one in the budget until the next try. Only parts go of which no
check of the rest depends; where that cannot be, there is no second look.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy

from controller.model.problems import Path

_SEPARATE = frozenset({("spec", "rollout"), ("metadata", "labels"), ("metadata", "annotations")})
_TOGETHER = {
    "schedules": ("schedules", "override"),
    "coldStart": ("coldStart", "startDeadline"),
    "startDeadline": ("coldStart", "startDeadline"),
}
"""Fields of `scaling` that are judged by each other: the one may not stay without the other."""


def sound_rest(value: object, bad: Sequence[Path]) -> object | None:
    """A copy without the parts around the `bad` paths; None if something goes that the rest depends on.

    Every call takes at least one part away, so that repeating it ends.
    """
    rest = deepcopy(value)
    removed = [_remove(rest, part) for path in bad for part in _parts(path)]
    return rest if bad and all(_parts(path) for path in bad) and any(removed) else None


def _parts(path: Path) -> tuple[Path, ...]:
    """The parts that have to go for one bad path; none if it cannot be helped."""
    if path[:2] in _SEPARATE:
        return (path[:2],)
    if path[:2] == ("spec", "objectives"):
        return (path[:3],)
    if path[:2] == ("spec", "scaling") and len(path) > 2:
        return tuple((*path[:2], name) for name in _TOGETHER.get(str(path[2]), (str(path[2]),)))
    return ()


def _remove(value: object, path: Path) -> bool:
    for part in path[:-1]:
        value = value.get(part) if isinstance(value, Mapping) and isinstance(part, str) else None
    return isinstance(value, dict) and value.pop(path[-1], _NOTHING) is not _NOTHING


_NOTHING = object()
