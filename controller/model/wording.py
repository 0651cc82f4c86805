"""Reason and remedy for each kind of error that pydantic reports, by its type; `{…}` is filled from its context."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches

from pydantic_core import ErrorDetails

from controller.model.fields import format_duration

Words = tuple[str, str]
"""Reason and remedy."""

_NUMBER = "write a number without quotes"
_WHOLE = ("is no whole number", "write a whole number without quotes")
_NAME = "use lower-case letters, digits, `-` and `.`, beginning and ending with a letter or digit"
_INSTANT = 'write date, time and offset: "2026-12-24T18:00:00Z"'
_MAPPING = ("is no mapping", "write its fields below it, each as `field: value`")
_TEMPLATES: Mapping[str, Words] = {
    "greater_than": ("is not above {gt}", "write more than {gt}"),
    "greater_than_equal": ("is below {ge}", "write at least {ge}"),
    "less_than": ("is not below {lt}", "write less than {lt}"),
    "less_than_equal": ("is above {le}", "write at most {le}"),
    "int_type": _WHOLE,
    "int_from_float": _WHOLE,
    "int_parsing": _WHOLE,
    "int_parsing_size": ("is out of all proportion", "write a smaller number"),
    "float_type": ("is no number", _NUMBER),
    "float_parsing": ("is no number", _NUMBER),
    "finite_number": ("is no finite number", "write an ordinary number"),
    "bool_type": ("is no switch", "write true or false, without quotes"),
    "bool_parsing": ("is no switch", "write true or false, without quotes"),
    "string_type": ("is no text", "put it in quotes"),
    "string_too_short": ("is empty", "write at least one character"),
    "string_too_long": ("is too long", "write at most {max_length} characters"),
    "string_pattern_mismatch": ("is no valid name", _NAME),
    "tuple_type": ("is no list", "write each entry on a line of its own, after `- `"),
    "too_short": ("has {actual_length} entries", "write at least {min_length}"),
    "too_long": ("has {actual_length} entries", "write at most {max_length}"),
    "dict_type": _MAPPING,
    "model_type": _MAPPING,
    "model_attributes_type": _MAPPING,
    "timezone_aware": ("has no offset from UTC", _INSTANT),
    "datetime_type": ("is no date and time", _INSTANT),
    "datetime_parsing": ("is no date and time", _INSTANT),
    "datetime_from_date_parsing": ("is no date and time", _INSTANT),
    "time_type": ("is no time of day", 'write "HH:MM", in quotes'),
}


def words_for(details: ErrorDetails) -> Words:
    """Reason and remedy of one error; in pydantic's own words where there are no better ones here."""
    if details["type"] == "literal_error":
        return _choice(details)
    if details["type"] not in _TEMPLATES:
        return details["msg"].removeprefix("Value error, "), ""
    if details["type"] == "less_than" and details["ctx"]["lt"] == 1 and 1 < details["input"] <= 100:
        return "is no ratio, which is below 1", f"write {details['input']:g} % as {details['input'] / 100:g}"
    numbers = {name: _number(value, details["input"]) for name, value in details.get("ctx", {}).items()}
    reason, remedy = _TEMPLATES[details["type"]]
    return reason.format(**numbers), remedy.format(**numbers)


def _number(value: object, given: object) -> object:
    """A limit in the way that the value was given: durations are texts."""
    if not isinstance(value, int | float):
        return value
    if isinstance(given, str):
        return format_duration(float(value))
    return int(value) if value == int(value) else value


def _choice(details: ErrorDetails) -> Words:
    allowed = details["ctx"]["expected"].replace("'", "`")
    names = allowed.replace("`", "").replace(" or ", ", ").split(", ")
    given = details["input"]
    by_lower = {name.lower(): name for name in names}
    near = get_close_matches(given.lower(), by_lower, n=1) if isinstance(given, str) else []
    if len(names) == 1:
        return f"is not {allowed}", f"write {allowed}"
    return f"is not {allowed}", f"did you mean `{by_lower[near[0]]}`?" if near else "write one of these"
