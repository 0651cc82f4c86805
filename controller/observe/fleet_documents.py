"""The documents of a fleet file, each read into a Fleet or into the sentences that say why it is none."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from controller.model import problems as model_problems
from controller.model.describe import problems_of
from controller.model.fleet import Fleet
from controller.model.problems import Problem
from controller.observe.sound_rest import sound_rest
from controller.observe.yaml_documents import LARGEST_TEXT_BYTES, Document, YamlProblem, read_documents
from controller.schedule import check_zones

_WRITTEN_BY_KUBERNETES = frozenset(
    {"status", "uid", "resourceVersion", "creationTimestamp", "managedFields", "selfLink", "ownerReferences"}
)


@dataclass(frozen=True, slots=True)
class Entry:
    """One document of one file, or (number 0) a file that could not be read as documents at all."""

    file: Path
    number: int
    line: int
    key: str
    """namespace/name; empty where the document does not say so."""
    fleet: Fleet | None
    problems: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """What the entry is called in errors: its key, else its place."""
        return self.key or (f"{self.file} (document {self.number})" if self.number else str(self.file))


def read_file(file: Path) -> tuple[Entry, ...]:
    """Every document of a file. Never raises for what is in it: problems are in the entries."""
    try:
        documents = read_documents(_text(file))
    except YamlProblem as problem:
        place = f"{file}:{problem.line}:{problem.column}"
        return (_unread(file, problem.line, f"{place}: {problem.reason}; {problem.remedy}"),)
    except _UnreadableError as error:
        return (_unread(file, 1, str(error)),)
    if not documents:
        return (_unread(file, 1, f"{file}: holds no fleet; write one, as docs/fleet.example.yaml shows"),)
    return tuple(_entry(file, document) for document in documents)


class _UnreadableError(Exception):
    """A file that gives no text."""


def _text(file: Path) -> str:
    if file.exists() and not file.is_file():
        raise _UnreadableError(f"{file}: is no regular file; name a file or a folder of files")
    try:
        with file.open("rb") as stream:
            content = stream.read(LARGEST_TEXT_BYTES + 1)
    except FileNotFoundError as error:
        raise _UnreadableError(f"{file}: does not exist; name a file or folder that does") from error
    except OSError as error:
        reason = (error.strerror or "unknown reason").lower()
        raise _UnreadableError(f"{file}: cannot be read ({reason}); check the file and its permissions") from error
    if len(content) > LARGEST_TEXT_BYTES:
        limit = f"{LARGEST_TEXT_BYTES // 2**20} MiB"
        raise _UnreadableError(f"{file}: is larger than {limit}; spread the fleets over several files in a folder")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise _UnreadableError(f"{file}:{line}: is not UTF-8; save it in that encoding") from error


def _unread(file: Path, line: int, sentence: str) -> Entry:
    return Entry(file, 0, line, "", None, (model_problems.printable(sentence),))


def _entry(file: Path, document: Document) -> Entry:
    fleet, problems = _fleet(document.value)
    ordered = sorted(problems, key=lambda problem: document.line(problem.path))
    sentences = tuple(_sentence(file, document, problem) for problem in ordered)
    return Entry(file, document.number, document.line(()), _key(document.value), fleet, sentences)


def _fleet(value: object) -> tuple[Fleet | None, tuple[Problem, ...]]:
    """JSON is the strict way into the model: numbers, texts and switches are what they are in the file."""
    fleet, problems = _validated(value)
    if fleet is None:
        rest = sound_rest(value, [problem.path for problem in problems])
        hidden = () if rest is None else _fleet(rest)[1]
        return None, (*problems, *(problem for problem in hidden if problem not in problems))
    problems = check_zones(fleet)
    return (None, problems) if problems else (fleet, ())


def _validated(value: object) -> tuple[Fleet | None, tuple[Problem, ...]]:
    try:
        return Fleet.model_validate_json(json.dumps(value), strict=True, by_alias=True, by_name=False), ()
    except ValidationError as error:
        return None, tuple(_with_kubernetes(problem) for problem in problems_of(error, Fleet))


def _with_kubernetes(problem: Problem) -> Problem:
    if problem.path and problem.path[-1] in _WRITTEN_BY_KUBERNETES and len(problem.path) <= 2:
        return Problem(problem.path, "is written by the cluster, not by you", "remove it")
    return problem


def _key(value: object) -> str:
    metadata = value.get("metadata") if isinstance(value, Mapping) else None
    if not isinstance(metadata, Mapping):
        return ""
    name, namespace = metadata.get("name"), metadata.get("namespace", "default")
    return f"{namespace}/{name}" if isinstance(name, str) and isinstance(namespace, str) else ""


def _sentence(file: Path, document: Document, problem: Problem) -> str:
    place = f"{file}:{document.line(problem.path)}: document {document.number}"
    return f"{place}: {problem}" if problem.path else f"{place} {problem}"
