"""Field types shared by the parts of the Fleet resource."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, StringConstraints
from pydantic.alias_generators import to_camel

_UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|s|m|h|d))+")
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")


class Model(BaseModel):
    """Frozen, camelCase in YAML, unknown fields refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True)


def parse_duration_s(text: object) -> float:
    """Seconds of "50ms", "1s", "5m", "1h30m", "30d". Raises ValueError with the remedy."""
    if isinstance(text, str) and _DURATION.fullmatch(text):
        return sum(float(number) * _UNITS_S[unit] for number, unit in _PART.findall(text))
    if isinstance(text, float) and not isinstance(text, bool):
        return text
    raise ValueError('a duration needs a unit: write "50ms", "1s", "5m", "1h30m" or "30d"')


def format_duration(seconds: float) -> str:
    """The shortest exact text: 90.0 is "90s", 0.05 is "50ms", 300.0 is "5m"."""
    if seconds and seconds < 1:
        return f"{seconds * 1000:g}ms"
    for unit in ("d", "h", "m"):
        if seconds and seconds % _UNITS_S[unit] == 0:
            return f"{seconds / _UNITS_S[unit]:g}{unit}"
    return f"{seconds:g}s"


Duration = Annotated[
    float, BeforeValidator(parse_duration_s), PlainSerializer(format_duration), Field(ge=0, le=31_536_000)
]
"""Seconds as a float; a text with a unit in YAML."""

Ratio = Annotated[float, Field(gt=0, lt=1)]
Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$")]
"""A Kubernetes object name (RFC 1123)."""
