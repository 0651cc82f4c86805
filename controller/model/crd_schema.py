"""The model's schema in the form that the API server takes: structural, in its own older dialect of JSON Schema.

References are written out, `null` becomes a field left out, exclusive limits are switches beside the limit, and every
text and list has a greatest length, from which the server estimates what the rules cost.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, TypeAdapter

from controller.model.cel import DURATION, LATENCY, Rule
from controller.model.crd_rules import AT_MOST_A_YEAR, EDGES_RISE, LATENCY_AT_MOST_A_YEAR, rules
from controller.model.fields import Duration, Name, TimeOfDay, WindowEnd, format_duration

Schema = dict[str, Any]
_DURATION, _NAME, _TIME, _END = (
    TypeAdapter(kind).json_schema()["pattern"] for kind in (Duration, Name, TimeOfDay, WindowEnd)
)
_LATENCY: Schema = {"minLength": 2, "maxLength": 32, "pattern": LATENCY}
_LATENCIES = ("threshold", "bucketEdges")
"""Durations that the rules compare often, and that are never days long."""
_TEXTS: Mapping[str, Schema] = {
    # To the nanosecond, days first: so much the rules compare exactly. The model takes more digits and any order.
    _DURATION: {"minLength": 2, "maxLength": 32, "pattern": DURATION},
    _NAME: {"maxLength": 253, "pattern": _NAME},
    _TIME: {"maxLength": 32, "pattern": "^([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9])?$"},
    _END: {"maxLength": 32, "pattern": "^(([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9])?|24:00)$"},
}
"""What the API server is told of a text, by the model's pattern."""
_INSTANT: Schema = {
    "format": "date-time",
    "maxLength": 40,
    "pattern": r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?(Z|[+-][0-9]{2}:[0-9]{2})$",
}
"""The format alone would let an instant without its offset pass."""
_LONGEST_TEXT = 4096
_MOST_KEYS = 16
_LIMITS = ("minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties")
_MAP_KEYS = ("name", "type")
"""A list of mappings that must have one of these is keyed by it."""


def structural_schema(model: type[BaseModel], *, defaults: bool = True) -> Schema:
    """The schema of a model with its rules, and its defaults unless what was not written is to stay unknown.

    Every call returns fresh values that share nothing.
    """
    schema = model.model_json_schema(by_alias=True)
    written = _Writer(schema.get("$defs", {}), rules(), defaults=defaults).mapping(schema, model.__name__)
    fresh: Schema = json.loads(json.dumps(written))
    return fresh


class _Writer:
    """Writes the parts of one pydantic schema."""

    def __init__(
        self, definitions: Mapping[str, Schema], by_model: Mapping[str, tuple[Rule, ...]], *, defaults: bool
    ) -> None:
        self._definitions = definitions
        self._rules = by_model
        self._defaults = defaults

    def mapping(self, part: Schema, model: str) -> Schema:
        """A model as a mapping with known fields."""
        found: Schema = {"type": "object", "description": _line(part.get("description", ""))}
        if part.get("required"):
            found["required"] = part["required"]
        found["properties"] = {name: self._field(name, field) for name, field in part["properties"].items()}
        return _with_rules(found, self._rules.get(model, ()))

    def _field(self, name: str, field: Schema) -> Schema:
        found = self._value(field)
        if "description" in field:
            found["description"] = _line(field["description"])
        if name in _LATENCIES:
            _with_rules(found.get("items", found), (LATENCY_AT_MOST_A_YEAR,)).update(_LATENCY)
        if name == "bucketEdges":
            _with_rules(found, (EDGES_RISE,))
        default = _default(field.get("default"), found) if self._defaults else None
        return found if default is None else found | {"default": default}

    def _value(self, field: Schema) -> Schema:
        """What a field holds, without its description."""
        given = _given(field)
        if "$ref" in given:
            name = given["$ref"].rsplit("/", 1)[-1]
            return self.mapping(self._definitions[name], name)
        if "enum" in given or "const" in given:
            return {"type": "string", "enum": given.get("enum") or [given["const"]]}
        if given["type"] == "object":
            return self._by_name(given)
        if given["type"] == "array":
            return self._list(given)
        return _text(given) if given["type"] == "string" else _number(given)

    def _by_name(self, given: Schema) -> Schema:
        """A mapping with names of the user's own."""
        inner = given.get("additionalProperties") or next(iter(given["patternProperties"].values()))
        return {"type": "object", "maxProperties": _MOST_KEYS, "additionalProperties": self._value(inner)} | _limits(
            given
        )

    def _list(self, given: Schema) -> Schema:
        items = self._value(given["items"])
        found: Schema = {"type": "array", "items": items} | _limits(given)
        key = next((key for key in _MAP_KEYS if key in items.get("required", ())), None)
        if key is not None:
            return found | {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [key]}
        if "enum" in items:
            return found | {"maxItems": len(items["enum"]), "x-kubernetes-list-type": "set"}
        return found


def _given(field: Schema) -> Schema:
    """What a field holds when it is not null."""
    choices = [choice for choice in field.get("anyOf", ()) if choice.get("type") != "null"]
    return choices[0] if choices else field


def _text(given: Schema) -> Schema:
    found: Schema = {"type": "string"}
    if given.get("format") == "date-time":
        return found | _INSTANT
    pattern = given.get("pattern", "")
    if pattern in _TEXTS:
        found |= _TEXTS[pattern]
    else:
        found |= {"maxLength": _LONGEST_TEXT} | _limits(given) | ({"pattern": pattern} if pattern else {})
    return _with_rules(found, (AT_MOST_A_YEAR,)) if pattern == _DURATION else found


def _number(given: Schema) -> Schema:
    found: Schema = {"type": given["type"]} | _limits(given)
    for limit, exclusive in (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")):
        if exclusive in given:
            found |= {limit: given[exclusive], exclusive: True}
    return found


def _limits(given: Schema) -> Schema:
    return {name: _plain(given[name]) for name in _LIMITS if name in given}


def _default(value: Any, field: Schema) -> Any:
    """The default as it is written in YAML, None: none. In full: the server applies the rules to what stands here."""
    if isinstance(value, Mapping):
        own = {name: _default(part, field["properties"][name]) for name, part in value.items()}
        return {name: part for name, part in own.items() if part is not None}
    if isinstance(value, float) and field["type"] == "string":
        return format_duration(value)
    return _plain(value)


def _plain(value: Any) -> Any:
    """A whole number without the point that a float has."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _with_rules(schema: Schema, of: tuple[Rule, ...]) -> Schema:
    if of:
        schema["x-kubernetes-validations"] = [rule.schema() for rule in of]
    return schema


def _line(text: str) -> str:
    return " ".join(text.split())
