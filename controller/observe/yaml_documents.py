"""YAML text as plain values with the line of each, strictly: nothing is guessed, run or expanded without bound.

Scalars follow YAML 1.2's core schema, so that `22:00` is a text and `no` is one too. Keys given twice are refused,
since one of them would be lost. Aliases and merge keys work; the values they yield are counted, so that a small
text cannot become a large one.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import yaml

from controller.model.problems import Path

LARGEST_TEXT_BYTES = 8 * 2**20
"""About 8,000 fleets."""
_MOST_VALUES = 500_000
_DEEPEST = 32
_TAG = "tag:yaml.org,2002:"
_COLLECTIONS = (_TAG + "map", _TAG + "seq")


class YamlProblem(ValueError):  # noqa: N818 - the reader's word for it; the error for users is made elsewhere
    """What is wrong with a text as YAML, where, and what to do. Lines and columns begin with 1."""

    def __init__(self, line: int, column: int, reason: str, remedy: str) -> None:
        super().__init__(f"line {line}, column {column}: {reason}; {remedy}")
        self.line, self.column, self.reason, self.remedy = line, column, reason, remedy


@dataclass(frozen=True, slots=True)
class Document:
    """One document: its number in the text from 1, its value, and the line of every value by path."""

    number: int
    value: object
    lines: Mapping[Path, int]

    def line(self, path: Path) -> int:
        """The line of a path, or of the nearest part above it that is there."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)


class _Strict:
    """Resolution of plain scalars by YAML 1.2's core schema, for either of PyYAML's parsers."""

    yaml_implicit_resolvers: ClassVar[dict[str | None, list[tuple[str, re.Pattern[str]]]]] = {}

    @classmethod
    def learn(cls, tag: str, pattern: str, first: str) -> None:
        for letter in first:
            cls.yaml_implicit_resolvers.setdefault(letter, []).append((_TAG + tag, re.compile(f"(?:{pattern})$")))
        if not first:
            cls.yaml_implicit_resolvers.setdefault("", []).append((_TAG + tag, re.compile("$")))


_Strict.learn("null", "null|Null|NULL|~", "nN~")
_Strict.learn("null", "", "")
_Strict.learn("bool", "true|True|TRUE|false|False|FALSE", "tTfF")
_Strict.learn("int", "[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789")
_Strict.learn("float", r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?", "-+.0123456789")
_Strict.learn("float", r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)", "-+.")
_Strict.learn("merge", "<<", "<")


class _Loader(_Strict, yaml.SafeLoader):
    pass


class _FastLoader(_Strict, getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    pass


def read_documents(text: str) -> tuple[Document, ...]:
    """The documents of a text; those without content are left out but counted. Raises YamlProblem."""
    budget = _Budget()
    nodes = enumerate(_nodes(text), start=1)
    return tuple(_Walk(budget).document(number, node) for number, node in nodes if not _blank(node))


def _nodes(text: str) -> list[yaml.Node]:
    """Parsed again when wrong: the fast parser's sentences are poorer and differ by its version."""
    try:
        _refuse_depth(text)
        return list(yaml.compose_all(text, Loader=_FastLoader))
    except yaml.YAMLError:
        return _nodes_slowly(text)


def _refuse_depth(text: str) -> None:
    """Before anything recurses: the fast parser would overflow the stack of the process."""
    depth = 0
    for event in yaml.parse(text, Loader=_FastLoader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > _DEEPEST:
                raise _problem(event, f"is nested more than {_DEEPEST} levels deep", "write it flatter")
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def _nodes_slowly(text: str) -> list[yaml.Node]:
    try:
        return list(yaml.compose_all(text, Loader=_Loader))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        reason = ", ".join(part for part in (error.context, error.problem) if part)
        line, column = (mark.line + 1, mark.column + 1) if mark is not None else (1, 1)
        raise YamlProblem(line, column, f"is no YAML: {reason}", "mend the syntax there or just before") from error
    except yaml.YAMLError as error:
        reason = str(error).splitlines()[0]
        raise YamlProblem(1, 1, f"is no YAML: {reason}", "remove characters that cannot be printed") from error


def _blank(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and node.tag == _TAG + "null"


@dataclass(slots=True)
class _Budget:
    """Values left before a text counts as a bomb."""

    left: int = _MOST_VALUES

    def take(self, node: yaml.Node, depth: int) -> None:
        self.left -= 1
        if depth > _DEEPEST:
            raise _problem(node, f"is nested more than {_DEEPEST} levels deep", "write it flatter")
        if self.left < 0:
            raise _problem(node, f"holds more than {_MOST_VALUES} values with its aliases", "remove aliases")


@dataclass(slots=True)
class _Walk:
    """Turns the nodes of one document into values."""

    budget: _Budget
    lines: dict[Path, int] = field(default_factory=dict)

    def document(self, number: int, node: yaml.Node) -> Document:
        value = self.value(node, ())
        return Document(number, value, self.lines)

    def value(self, node: yaml.Node, path: Path) -> object:
        self.budget.take(node, len(path))
        self.lines.setdefault(path, node.start_mark.line + 1)
        if isinstance(node, yaml.CollectionNode) and node.tag not in _COLLECTIONS:
            raise _unread_tag(node)
        if isinstance(node, yaml.MappingNode):
            return {name: self.value(item, (*path, name)) for name, _, item in self.pairs(node, len(path))}
        if isinstance(node, yaml.SequenceNode):
            return [self.value(item, (*path, index)) for index, item in enumerate(node.value)]
        return _scalar(node)

    def pairs(self, node: yaml.MappingNode, depth: int) -> list[tuple[str, yaml.Node, yaml.Node]]:
        """Name, key and value; what a merge key brings stands after the mapping's own, which win."""
        own: dict[str, tuple[str, yaml.Node, yaml.Node]] = {}
        merged: dict[str, tuple[str, yaml.Node, yaml.Node]] = {}
        for key, item in node.value:
            if key.tag == _TAG + "merge":
                for pair in self.merged(item, depth):
                    merged.setdefault(pair[0], pair)
                continue
            name = _name(key)
            if name in own:
                first = own[name][1].start_mark.line + 1
                raise _problem(key, f"gives `{name}` a second time (first in line {first})", "keep one of the two")
            own[name] = (name, key, item)
        return [*own.values(), *(pair for name, pair in merged.items() if name not in own)]

    def merged(self, node: yaml.Node, depth: int) -> Iterator[tuple[str, yaml.Node, yaml.Node]]:
        self.budget.take(node, depth)
        for source in node.value if isinstance(node, yaml.SequenceNode) else [node]:
            if not isinstance(source, yaml.MappingNode):
                raise _problem(source, "merges something that is no mapping", "write `<<: *anchor` of a mapping")
            self.budget.left -= len(source.value)
            yield from self.pairs(source, depth + 1) if depth <= _DEEPEST else ()


def _name(key: yaml.Node) -> str:
    if not isinstance(key, yaml.ScalarNode):
        raise _problem(key, "uses a list or mapping as a name", "write a plain name before the colon")
    return str(key.value)


def _scalar(node: yaml.Node) -> Hashable:
    kind = node.tag.removeprefix(_TAG)
    read = _READERS.get(kind)
    if read is None:
        raise _unread_tag(node)
    try:
        value: Hashable = read(str(node.value))
        return value
    except ValueError as error:
        raise _problem(node, f"is no {kind}", "remove the tag or mend the value") from error


def _unread_tag(node: yaml.Node) -> YamlProblem:
    return _problem(node, f"has the tag {node.tag.replace(_TAG, '!!')}, which is not read", "remove the tag")


def _integer(text: str) -> int:
    return int(text, 0) if text[:2] in ("0o", "0x") else int(text)


_READERS: Mapping[str, Any] = {
    "str": str,
    "merge": str,
    "int": _integer,
    "float": lambda text: float(re.sub(r"\.(?=inf|nan)", "", text.lower())),
    "bool": lambda text: text.lower() == "true",
    "null": lambda _: None,
}


def _problem(node: yaml.Node | yaml.Event, reason: str, remedy: str) -> YamlProblem:
    mark = node.start_mark
    return YamlProblem(mark.line + 1 if mark else 1, mark.column + 1 if mark else 1, reason, remedy)
