"""Field types shared by the parts of the Fleet resource."""

from __future__ import annotations

import re
from datetime import time
from decimal import Decimal
from typing import Annotated

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    StringConstraints,
    ValidationInfo,
    WithJsonSchema,
)
from pydantic.alias_generators import to_camel

from controller.model.problems import Problem, RefusedError

_UNITS_S = {"ms": Decimal("0.001"), "s": Decimal(1), "m": Decimal(60), "h": Decimal(3600), "d": Decimal(86_400)}
_NUMBER = r"[0-9]{1,12}(?:\.[0-9]{1,330})?"
_DURATION = re.compile(rf"(?:{_NUMBER}(?:ms|s|m|h|d))+")
_PART = re.compile(rf"({_NUMBER})(ms|s|m|h|d)")
_TIME_OF_DAY = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])(?::([0-5][0-9]))?")


class Model(BaseModel):
    """Frozen, camelCase in YAML, unknown fields and non-finite numbers refused."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        allow_inf_nan=False,
        alias_generator=to_camel,
        populate_by_name=True,
        use_attribute_docstrings=True,
    )


def parse_duration_s(text: str) -> float:
    """Seconds of "50ms", "1s", "5m", "1h30m", "30d", correctly rounded. Raises ValueError with the remedy."""
    if _DURATION.fullmatch(text):
        return float(sum(Decimal(number) * _UNITS_S[unit] for number, unit in _PART.findall(text)))
    raise RefusedError(
        [Problem((), "is no duration", 'write a number with its unit: "50ms", "1s", "5m", "1h30m", "30d"')]
    )


def format_duration(seconds: float) -> str:
    """The shortest text that reads back as the same float: 90.0 is "90s", 0.05 is "50ms", 300.0 is "5m"."""
    exact = Decimal(repr(seconds))
    if 0 < exact < 1:
        return f"{_digits(exact * 1000)}ms"
    for unit in ("d", "h", "m"):
        if exact and exact % _UNITS_S[unit] == 0:
            return f"{_digits(exact / _UNITS_S[unit])}{unit}"
    return f"{_digits(exact)}s"


def _digits(number: Decimal) -> str:
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _duration(value: object, info: ValidationInfo) -> object:
    """Seconds. In a document (JSON mode) a bare number is refused: nobody can see what unit was meant."""
    if isinstance(value, str):
        return parse_duration_s(value)
    if info.mode == "json" and isinstance(value, int | float) and not isinstance(value, bool):
        raise RefusedError([Problem((), "has no unit", f'write seconds as "{value}s", milliseconds as "{value}ms"')])
    return value


def _time_of_day(value: object) -> object:
    if not isinstance(value, str):
        return value
    match = _TIME_OF_DAY.fullmatch(value)
    if match is None:
        raise RefusedError([Problem((), "is no time of day", 'write "HH:MM" between "00:00" and "23:59", in quotes')])
    hour, minute, second = (int(part) for part in match.groups(default="0"))
    return time(hour, minute, second)


def _end_of_window(value: object) -> object:
    return time(0) if value == "24:00" else _time_of_day(value)


def _time_text(value: time) -> str:
    return f"{value:%H:%M:%S}" if value.second else f"{value:%H:%M}"


Duration = Annotated[
    float,
    BeforeValidator(_duration),
    PlainSerializer(format_duration),
    Field(ge=0, le=31_536_000),
    WithJsonSchema({"type": "string", "pattern": f"^{_DURATION.pattern}$", "examples": ["50ms", "1s", "1h30m"]}),
]
"""Seconds as a float; a text with a unit in YAML, at most a year."""

_TIME_SCHEMA = WithJsonSchema({"type": "string", "pattern": f"^{_TIME_OF_DAY.pattern}$", "examples": ["08:30"]})
TimeOfDay = Annotated[time, BeforeValidator(_time_of_day), PlainSerializer(_time_text), _TIME_SCHEMA]
"""Local wall time, "HH:MM"."""
WindowEnd = Annotated[
    time,
    BeforeValidator(_end_of_window),
    PlainSerializer(_time_text),
    WithJsonSchema({"type": "string", "pattern": f"^(?:{_TIME_OF_DAY.pattern}|24:00)$", "examples": ["18:00"]}),
]
"""Local wall time that ends a window; "24:00" is the midnight that follows, kept as 00:00."""

Ratio = Annotated[float, Field(gt=0, lt=1)]
"""A share of a whole, neither nothing nor all of it."""
Share = Annotated[float, Field(ge=0, lt=1)]
"""A share of a whole that may be nothing."""
Count = Annotated[int, Field(ge=0, le=10_000)]
"""A number of replicas."""
Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$")]
"""A Kubernetes object name (RFC 1123)."""
