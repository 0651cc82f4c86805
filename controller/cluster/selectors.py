"""Label selectors, as objects hold them and as the scale subresource writes them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from controller.cluster.raw import objects, text, texts

_SET = re.compile(r"(\S+)\s+(in|notin)\s*\(([^()]*)\)")
_PART = re.compile(r"(?:[^,()]|\([^()]*\))+")
_KEY = re.compile(r"[A-Za-z0-9./_-]+")


class Operator(StrEnum):
    """How a label is compared."""

    IN = "In"
    NOT_IN = "NotIn"
    EXISTS = "Exists"
    DOES_NOT_EXIST = "DoesNotExist"


@dataclass(frozen=True, slots=True)
class Requirement:
    """What one label has to be."""

    key: str
    operator: Operator
    values: frozenset[str] = frozenset()

    def met_by(self, labels: Mapping[str, str]) -> bool:
        """Whether the labels meet it. A label that is not there is not in any set of values."""
        if self.operator is Operator.EXISTS:
            return self.key in labels
        if self.operator is Operator.DOES_NOT_EXIST:
            return self.key not in labels
        return (labels.get(self.key) in self.values) is (self.operator is Operator.IN)


@dataclass(frozen=True, slots=True)
class Selector:
    """All of some requirements. One without any selects nothing: a target that owns everybody's pods is a mistake."""

    requirements: tuple[Requirement, ...]

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether an object with these labels is selected."""
        return bool(self.requirements) and all(each.met_by(labels) for each in self.requirements)


def selector_of(raw: object) -> Selector:
    """From `matchLabels` and `matchExpressions`. Raises ValueError for an operator that nobody knows."""
    equal = (Requirement(key, Operator.IN, frozenset({value})) for key, value in texts(raw, "matchLabels").items())
    more = (
        Requirement(text(each, "key"), Operator(text(each, "operator")), _values(each))
        for each in objects(raw, "matchExpressions")
    )
    return Selector((*equal, *more))


def parse_selector(written: str) -> Selector:
    """From "app=vllm,version in (v1, v2),!canary". Raises ValueError for what is no selector."""
    return Selector(tuple(_parsed(part.strip()) for part in _PART.findall(written)))


def _parsed(part: str) -> Requirement:
    if (found := _SET.fullmatch(part)) is not None:
        key, operator, values = found.groups()
        wanted = frozenset(value.strip() for value in values.split(","))
        return Requirement(_key(key), Operator.IN if operator == "in" else Operator.NOT_IN, wanted)
    if part.startswith("!"):
        return Requirement(_key(part[1:]), Operator.DOES_NOT_EXIST)
    for sign, operator in (("!=", Operator.NOT_IN), ("==", Operator.IN), ("=", Operator.IN)):
        key, found_sign, value = part.partition(sign)
        if found_sign:
            return Requirement(_key(key), operator, frozenset({value.strip()}))
    return Requirement(_key(part), Operator.EXISTS)


def _key(written: str) -> str:
    key = written.strip()
    if _KEY.fullmatch(key) is None:
        raise ValueError(f'"{written}" is no label')
    return key


def _values(raw: object) -> frozenset[str]:
    found = raw.get("values") if isinstance(raw, dict) else None
    return frozenset(str(value) for value in found) if isinstance(found, list) else frozenset()
