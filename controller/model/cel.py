"""Rules in CEL, the language in which the API server checks across fields, and the few phrases that they are made of.

Only what every server since Kubernetes 1.29 has: no bound variables, no two-variable comprehensions, and texts that
are filled in by `format`, whose estimated cost does not depend on what it is given.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

_NUMBER = r"[0-9]{1,12}(\.[0-9]{1,6})?"
LATENCY = f"^({_NUMBER}(ms|s|m|h))+$"
"""What `duration()` reads exactly."""
DURATION = f"^({_NUMBER}d)?({_NUMBER}(ms|s|m|h))*$"
"""What `nanoseconds` reads exactly: days come first."""


@dataclass(frozen=True, slots=True)
class Rule:
    """What must hold, as an expression over `self`, and what to say where it does not.

    `at` is the field to blame, relative to `self`. `text` is an expression that says it with the values; `message`
    says it without, where that expression cannot be evaluated.
    """

    holds: str
    message: str
    at: str = ""
    text: str = ""

    def schema(self) -> dict[str, Any]:
        """As an entry of `x-kubernetes-validations`."""
        entry = {"rule": self.holds, "message": self.message, "reason": "FieldValueInvalid"}
        if self.text:
            entry["messageExpression"] = self.text
        if self.at:
            entry["fieldPath"] = f".{self.at}"
        return entry


def none_of(entries: str, name: str, bad: str, said: str) -> tuple[str, str]:
    """No entry of a list (key of a map) is `bad`, an expression over `name`; and what to say of the first that is."""
    return f"{entries}.all({name}, !({bad}))", f"{entries}.map({name}, {bad}, {said})[0]"


def quoted(text: str) -> str:
    """A text literal."""
    return json.dumps(text, ensure_ascii=False)


def filled(template: str, *texts: str) -> str:
    """The template with each `%s` replaced by the value of a text expression."""
    return f"{quoted(template)}.format([{', '.join(texts)}])"


def shown(entries: str) -> str:
    """A list as a text: [v1, v2]."""
    return f'"%s".format([{entries}])'


def nanoseconds(text: str) -> str:
    """A duration's text as a whole number, exactly. `duration()` knows no days: they come first, 24 hours each."""
    days, rest = f'{text}.substring(0, {text}.indexOf("d"))', f'{text}.substring({text}.indexOf("d") + 1)'
    return f'(({text}.contains("d") ? int(duration({days} + "h")) * 24 : 0) + int(duration({rest} + "0s")))'


def where_readable(pattern: str, texts: Sequence[str], holds: str) -> str:
    """What must hold of texts that match a pattern. Of others the schema complains, and the rule could only fail."""
    readable = " && ".join(f"{text}.matches({quoted(pattern)})" for text in texts)
    return f"!({readable}) || {holds}"


def rising(entries: str, value: str = "{}") -> str:
    """Each entry of a list above the one before it; `value` is a template that makes an entry comparable."""
    x, y = value.format("x"), value.format("y")
    return f"{entries}.map(x, {x}).isSorted() && {entries}.all(x, {entries}.exists_one(y, {y} == {x}))"
