"""Values to JSON and back, bit for bit: floats keep every digit, NaN and infinity are refused on reading.

One codec serves the journal, the memory file and the JSON API, so that what was written is what was decided.
"""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, TypeAdapter, with_config

T = TypeVar("T")

_CONFIG = ConfigDict(extra="ignore", allow_inf_nan=False)
_ADAPTERS: dict[type[Any], TypeAdapter[Any]] = {}


def _adapter(kind: type[Any]) -> TypeAdapter[Any]:
    if kind not in _ADAPTERS:
        _ADAPTERS[kind] = TypeAdapter(kind if issubclass(kind, BaseModel) else with_config(_CONFIG)(kind))
    return _ADAPTERS[kind]


def to_json(value: object) -> bytes:
    """Compact JSON of a frozen value; pydantic models by their camelCase names."""
    return _adapter(type(value)).dump_json(value, by_alias=True)


def to_plain(value: object) -> Any:
    """The value as dicts, lists and scalars, ready for JSON."""
    return _adapter(type(value)).dump_python(value, mode="json", by_alias=True)


def from_json(kind: type[T], text: str | bytes) -> T:
    """Read a value back. Raises `pydantic.ValidationError` naming the path of what does not fit."""
    result: T = _adapter(kind).validate_json(text)
    return result


def from_plain(kind: type[T], value: object) -> T:
    """Build a value from dicts and lists, as `from_json`."""
    result: T = _adapter(kind).validate_python(value)
    return result
