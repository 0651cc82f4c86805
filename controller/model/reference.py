"""The reference of the Fleet resource as Markdown, from the model itself: `python -m controller.model.reference`.

`docs/fleet.md` is what this prints; a test holds the two together.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import TypeAdapter

from controller.model.buckets import TPOT_EDGES_S, TTFT_EDGES_S
from controller.model.fields import Duration, Name, TimeOfDay, WindowEnd, format_duration
from controller.model.fleet import Fleet

_Schema = Mapping[str, Any]
_DURATION, _NAME, _TIME, _END = (
    TypeAdapter(kind).json_schema()["pattern"] for kind in (Duration, Name, TimeOfDay, WindowEnd)
)
_PATTERNS: Mapping[str, str] = {_DURATION: "duration", _NAME: "name", _TIME: "time of day", _END: "time of day"}
_INTRODUCTION = """\
# The Fleet resource

Generated from the model by `python -m controller.model.reference > docs/fleet.md`. A complete example is
[fleet.example.yaml](fleet.example.yaml).

- A *duration* is a number with its unit: `50ms`, `1s`, `5m`, `1h30m`, `30d`; at most a year. A bare number is refused.
- A *name* is a Kubernetes object name: lower-case letters, digits, `-` and `.`.
- A *ratio* is a share of a whole: 0.95, never 95.
- A *time of day* is `"HH:MM"` in quotes; an *instant* is `"2026-12-24T18:00:00Z"`, always with its offset.
- Unknown fields, names given twice and contradictions are refused, each with its place, the reason and the remedy.
"""
_CLOSING = f"""\
## Checks across fields

- Names of variants, of their scale targets and of schedules are unique; what a schedule or an override names exists.
- `min` is at most `max`, everywhere, and what a schedule leaves unset counts as the variant's own.
- `maxCostPerHour` pays for the fewest replicas of all variants, and for those of each schedule.
- An override stays inside the widest bounds that its variants ever have.
- `gpuUp` is above `gpuDown`, `queueUp` above `queueDown`; `startDeadline` is longer than `coldStart`.
- Weights of traffic are of subsets that variants have and sum to 100; traffic and a rollout exclude each other.
- Steps of a rollout rise strictly and end at 100; a rollout needs variants of two subsets.
- A latency threshold is a bucket edge of vLLM's histogram. Its own edges:
  - TTFT: {", ".join(format_duration(edge) for edge in TTFT_EDGES_S)}
  - TPOT: {", ".join(format_duration(edge) for edge in TPOT_EDGES_S)}

## How traffic set by hand moves

- Replicas for the wanted split are ordered first, each version for the greater of its present and its wanted share.
  The weights stay as they are until every version that gets more can carry it with ready replicas; then they move in
  one step. On the way back it is the same: weight, then drain, then replicas. The condition `TrafficInSync` says what
  is waited for.
- A version other than the stable one that has traffic and no ready replica loses it at once to one that has.
- Weights that somebody else changes are put back, three times within ten minutes; then they are left alone
  (`Contested`) until the wanted ones change, or nobody has changed them for ten minutes.
- In a VirtualService only the weights of destinations of `host` with one of the fleet's subsets are written. Other
  destinations of the route keep their share: the percentages are then of what they leave, and have to be whole weights
  of it. A subset that shall get traffic needs a destination in the route; weight 0 will do.
"""


def reference() -> str:
    """The whole document."""
    schema = Fleet.model_json_schema()
    definitions = schema["$defs"]
    sections = [_section(paths, part, definitions) for paths, part in _parts(schema)]
    return "\n".join([_INTRODUCTION, *sections, _CLOSING])


def _parts(schema: _Schema) -> list[tuple[list[str], _Schema]]:
    """Every model of the schema with the paths at which it is used, in the order of their first use."""
    paths: dict[str, list[str]] = {}
    for path, name in _uses(schema, schema["$defs"], ""):
        paths.setdefault(name, []).append(path)
    return [([""], schema), *((where, schema["$defs"][name]) for name, where in paths.items())]


def _uses(part: _Schema, definitions: _Schema, prefix: str) -> Iterator[tuple[str, str]]:
    for name, field in part["properties"].items():
        reference = _reference(field)
        if reference is not None:
            path = f"{prefix}{name}{'[]' if 'items' in _given(field) else ''}"
            yield path, reference
            yield from _uses(definitions[reference], definitions, f"{path}.")


def _given(field: _Schema) -> _Schema:
    """What a field holds when it is not null."""
    choices = [choice for choice in field.get("anyOf", ()) if choice.get("type") != "null"]
    return choices[0] if choices else field


def _reference(field: _Schema) -> str | None:
    given = _given(field)
    pointer = given.get("items", given).get("$ref")
    return pointer.rsplit("/", 1)[-1] if pointer else None


def _section(paths: list[str], part: _Schema, definitions: _Schema) -> str:
    heading = ", ".join(f"`{path}`" for path in paths) if paths != [""] else "`Fleet`"
    rows = [_row(name, field, part, definitions) for name, field in part["properties"].items()]
    table = "\n".join(["| field | type | default | meaning |", "|---|---|---|---|", *rows])
    return f"## {heading}\n\n{part['description']}\n\n{table}\n"


def _row(name: str, field: _Schema, part: _Schema, definitions: _Schema) -> str:
    """One field; where its words are those of the model inside it, the schema says them only there."""
    required = name in part.get("required", ())
    described = field if "description" in field else definitions[_reference(field) or ""]
    meaning = " ".join(described["description"].split()).replace("|", "\\|")
    return f"| `{name}` | {_type(field)} | {'required' if required else _default(field)} | {meaning} |"


def _default(field: _Schema) -> str:
    value = field.get("default")
    if value is None or _reference(field) is not None:
        return ""
    if field.get("pattern") == _DURATION:
        return f"`{format_duration(value)}`"
    return f"`{value if isinstance(value, str) else json.dumps(value)}`"


def _type(field: _Schema) -> str:
    given = _given(field)
    if _reference(field) is not None:
        return "list of mappings" + _size(given, "minItems", "maxItems") if "items" in given else "mapping"
    if "const" in given or "enum" in given:
        return " or ".join(f"`{choice}`" for choice in given.get("enum", [given.get("const")]))
    if given.get("type") == "array":
        return f"list of {_type(given['items'])}" + _size(given, "minItems", "maxItems")
    if given.get("type") == "object":
        inner = given.get("additionalProperties") or next(iter(given["patternProperties"].values()))
        return f"mapping to {_type(inner)}"
    return _scalar(given)


def _scalar(field: _Schema) -> str:
    if field.get("format") == "date-time":
        return "instant"
    if field.get("type") in ("integer", "number"):
        return _number(field)
    kind = {"boolean": "true or false", "string": "text"}[field["type"]]
    return _PATTERNS.get(field.get("pattern", ""), kind)


def _number(field: _Schema) -> str:
    limits = [
        f"{word} {field[key]:,}".replace(",", " ")
        for key, word in (
            ("minimum", "at least"),
            ("exclusiveMinimum", "above"),
            ("maximum", "at most"),
            ("exclusiveMaximum", "below"),
        )
        if key in field
    ]
    kind = "whole number" if field["type"] == "integer" else "number"
    if field.get("exclusiveMaximum") == 1:
        kind = "ratio"
    return ", ".join([kind, *limits])


def _size(field: _Schema, least: str, most: str) -> str:
    if least in field and most in field:
        return f", {field[least]} to {field[most]}"
    return f", at least {field[least]}" if least in field else f", at most {field[most]}" if most in field else ""


if __name__ == "__main__":
    sys.stdout.write(reference())
