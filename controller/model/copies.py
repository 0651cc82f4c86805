"""Copies of frozen values with some fields changed, at about half the cost of the standard library's.

A cycle over 1,000 fleets makes some ten thousand copies; `dataclasses.replace` looks at every field anew each time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from operator import attrgetter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    # The same contract; type checkers know the fields of what it is given.
    from dataclasses import replace
else:
    _READERS: dict[type, tuple[tuple[str, ...], Callable[[Any], tuple[Any, ...]]]] = {}

    def _reader(kind: type) -> tuple[tuple[str, ...], Callable[[Any], tuple[Any, ...]]]:
        names = tuple(field.name for field in fields(kind))
        read = attrgetter(*names) if len(names) > 1 else lambda value: (getattr(value, names[0]),)
        return names, read

    def replace(value: Any, /, **changes: Any) -> Any:
        """A copy of a dataclass all of whose fields its constructor takes. Raises TypeError for an unknown field."""
        kind = type(value)
        found = _READERS.get(kind)
        if found is None:
            found = _READERS[kind] = _reader(kind)
        names, read = found
        return kind(**{**dict(zip(names, read(value), strict=True)), **changes})


__all__ = ["replace"]
