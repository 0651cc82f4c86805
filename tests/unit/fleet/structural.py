"""What the API server does with a structural schema, as far as Fleet's uses it: prune, take defaults, find faults.

No rule in CEL is evaluated here; the tests on a real API server do that.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

Schema = dict[str, Any]
_TYPES: dict[str, type | tuple[type, ...]] = {
    "object": dict,
    "array": list,
    "string": str,
    "boolean": bool,
    "integer": int,
    "number": (int, float),
}


def parts(schema: Schema, path: str = "") -> Iterator[tuple[str, Schema]]:
    """Every schema inside a schema, with its path."""
    yield path, schema
    for name, inner in schema.get("properties", {}).items():
        yield from parts(inner, f"{path}.{name}")
    for name in ("items", "additionalProperties"):
        if name in schema:
            yield from parts(schema[name], f"{path}[]")


def admitted(value: Any, schema: Schema) -> Any:
    """A value as it is stored: without unknown fields and nulls, with defaults. Metadata is left as it is."""
    if isinstance(value, dict) and "properties" in schema:
        known = schema["properties"]
        kept = {name: part for name, part in value.items() if name in known and part is not None}
        for name, inner in known.items():
            if name not in kept and "default" in inner:
                kept[name] = deepcopy(inner["default"])
        return {name: part if name == "metadata" else admitted(part, known[name]) for name, part in kept.items()}
    if isinstance(value, dict) and "additionalProperties" in schema:
        return {name: admitted(part, schema["additionalProperties"]) for name, part in value.items()}
    if isinstance(value, list) and "items" in schema:
        return [admitted(part, schema["items"]) for part in value]
    return value


def unknown_fields(value: Any, schema: Schema, path: str = "") -> Iterator[str]:
    """Paths of what pruning takes away: strict field validation refuses it."""
    if isinstance(value, dict) and "properties" in schema:
        for name, part in value.items():
            if name not in schema["properties"]:
                yield f"{path}.{name}"
            elif name != "metadata":
                yield from unknown_fields(part, schema["properties"][name], f"{path}.{name}")
    if isinstance(value, dict) and "items" in schema:
        yield from (f"{path}.{name}" for name in value)
    if isinstance(value, list) and "items" in schema:
        for index, part in enumerate(value):
            yield from unknown_fields(part, schema["items"], f"{path}[{index}]")


def faults(value: Any, schema: Schema, path: str = "") -> Iterator[str]:
    """Paths of what the schema refuses."""
    if not isinstance(value, _TYPES[schema["type"]]) or (isinstance(value, bool) and schema["type"] != "boolean"):
        yield path
        return
    if any(_own_faults(value, schema)):
        yield path
    for name, part in value.items() if isinstance(value, dict) else ():
        inner = schema.get("properties", {}).get(name) or schema.get("additionalProperties")
        if inner is not None:
            yield from faults(part, inner, f"{path}.{name}")
    for index, part in enumerate(value) if isinstance(value, list) else ():
        yield from faults(part, schema["items"], f"{path}[{index}]")


def _own_faults(value: Any, schema: Schema) -> Iterator[bool]:
    if isinstance(value, str):
        yield "enum" in schema and value not in schema["enum"]
        yield "pattern" in schema and re.search(schema["pattern"], value) is None
        yield not schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", 10**9)
    if isinstance(value, int | float):
        low, high = schema.get("minimum", -(10**12)), schema.get("maximum", 10**12)
        yield not low <= value <= high
        yield (schema.get("exclusiveMinimum", False) and value == low) or (
            schema.get("exclusiveMaximum", False) and value == high
        )
    if isinstance(value, dict):
        yield any(name not in value for name in schema.get("required", ()))
        yield not schema.get("minProperties", 0) <= len(value) <= schema.get("maxProperties", 10**9)
    if isinstance(value, list):
        yield not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", 10**9)
        yield _twice(value, schema)


def _twice(entries: list[Any], schema: Schema) -> bool:
    keys = schema.get("x-kubernetes-list-map-keys")
    kind = schema.get("x-kubernetes-list-type")
    seen = [[entry.get(key) for key in keys] if keys and isinstance(entry, dict) else entry for entry in entries]
    return kind in ("map", "set") and any(entry in seen[:index] for index, entry in enumerate(seen))
