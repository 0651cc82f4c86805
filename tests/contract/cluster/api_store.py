"""What an API server keeps: objects by kind, one growing resource version, and the history that watches are fed of."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from controller.cluster.client import Json, Resource
from controller.cluster.selectors import Selector, parse_selector

Kind = tuple[str, str, str]
"""Group, version, plural."""
Name = tuple[str, str]
"""Namespace and name."""


class RefusedError(Exception):
    """An answer that is no success."""

    def __init__(self, code: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.status = {"kind": "Status", "code": code, "reason": reason, "message": message}


@dataclass(frozen=True)
class Change:
    """One step of the history."""

    version: int
    kind: Kind
    name: Name
    before: Json | None
    after: Json | None


@dataclass
class Store:
    """Thread-safe. Every change takes the next resource version."""

    version: int = 100
    compacted: int = 0
    """Versions below are forgotten: nobody can go on from there."""
    objects: dict[Kind, dict[Name, Json]] = field(default_factory=dict)
    history: list[Change] = field(default_factory=list)
    changed: threading.Condition = field(default_factory=threading.Condition)

    def put(self, resource: Resource, body: Mapping[str, Any], *, namespace: str = "") -> Json:
        """Create an object, or replace it."""
        wanted = copy.deepcopy(dict(body))
        metadata = wanted.setdefault("metadata", {})
        if namespace:
            metadata["namespace"] = namespace
        return self._set(kind_of(resource), (metadata.get("namespace", ""), metadata["name"]), wanted)

    def change(self, resource: Resource, namespace: str, name: str, change: Callable[[Json], object]) -> Json:
        """Let `change` mend a copy of an object. Raises RefusedError where there is none."""
        wanted = self.get(kind_of(resource), (namespace, name))
        change(wanted)
        return self._set(kind_of(resource), (namespace, name), wanted)

    def remove(self, resource: Resource, namespace: str, name: str) -> None:
        """The object is gone at once, finalizers or not."""
        self._set(kind_of(resource), (namespace, name), None)

    def compact(self) -> None:
        """Forget the history: watches and lists that are under way cannot be gone on with."""
        with self.changed:
            self.compacted = self.version
            self.history.clear()
            self.changed.notify_all()

    def get(self, kind: Kind, name: Name) -> Json:
        """A copy. Raises RefusedError."""
        with self.changed:
            found = self.objects.get(kind, {}).get(name)
            if found is None:
                raise RefusedError(404, "NotFound", f'{kind[2]} "{name[1]}" not found')
            return copy.deepcopy(found)

    def list(self, kind: Kind, namespace: str, selector: str) -> tuple[list[Json], int]:
        """Copies of all objects that are selected, by name; and the version at which they were that."""
        chosen = _selected(selector)
        with self.changed:
            found = sorted(self.objects.get(kind, {}).items())
            some = [one for (place, _), one in found if namespace in {"", place} and chosen(one)]
            return copy.deepcopy(some), self.version

    def since(self, version: int, kind: Kind, namespace: str, selector: str) -> tuple[list[Json], int]:
        """Events after a version, and the version that they lead to.

        Raises RefusedError where the history does not reach back so far.
        """
        chosen = _selected(selector)
        with self.changed:
            if version < self.compacted:
                raise RefusedError(410, "Expired", f"too old resource version: {version} ({self.compacted})")
            later = [each for each in self.history if each.version > version and each.kind == kind]
            mine = [each for each in later if namespace in {"", each.name[0]}]
            return [event for each in mine for event in _events(each, chosen)], self.version

    def write(self, kind: Kind, name: Name, body: Json, *, create: bool) -> Json:
        """POST or PUT. Raises RefusedError for what is there already, is not there, or has moved on."""
        with self.changed:
            there = self.objects.get(kind, {}).get(name)
            if create and there is not None:
                raise RefusedError(409, "AlreadyExists", f'{kind[2]} "{name[1]}" already exists')
            if not create and there is None:
                raise RefusedError(404, "NotFound", f'{kind[2]} "{name[1]}" not found')
            asked = body.get("metadata", {}).get("resourceVersion")
            if there is not None and asked and asked != there["metadata"]["resourceVersion"]:
                raise RefusedError(409, "Conflict", f'Operation cannot be fulfilled on {kind[2]} "{name[1]}"')
            return self._set(kind, name, copy.deepcopy(body))

    def delete(self, kind: Kind, name: Name) -> Json:
        """Gone; or, with finalizers, marked. Raises RefusedError."""
        found = self.get(kind, name)
        if not found["metadata"].get("finalizers"):
            self._set(kind, name, None)
            return found
        found["metadata"].setdefault("deletionTimestamp", "2026-01-01T00:00:00Z")
        return self._set(kind, name, found)

    def _set(self, kind: Kind, name: Name, wanted: Json | None) -> Json:
        with self.changed:
            self.version += 1
            there = self.objects.setdefault(kind, {})
            before = there.pop(name, None)
            if wanted is not None:
                wanted["metadata"]["resourceVersion"] = str(self.version)
                wanted["metadata"].setdefault(
                    "uid", f"uid-{self.version}" if before is None else before["metadata"]["uid"]
                )
                there[name] = wanted
            self.history.append(Change(self.version, kind, name, before, wanted))
            self.changed.notify_all()
            return copy.deepcopy(wanted or {})


def kind_of(resource: Resource) -> Kind:
    """The key of a resource."""
    return resource.group, resource.version, resource.plural


def _selected(selector: str) -> Callable[[Json], bool]:
    wanted = parse_selector(selector) if selector else Selector(())
    return lambda one: not selector or wanted.matches(one["metadata"].get("labels", {}))


def _events(change: Change, chosen: Callable[[Json], bool]) -> Iterator[Json]:
    """An object that leaves the selection is deleted, for whoever watches it."""
    was = change.before is not None and chosen(change.before)
    now = change.after is not None and chosen(change.after)
    if now:
        yield {"type": "MODIFIED" if was else "ADDED", "object": copy.deepcopy(change.after)}
    elif was and change.before is not None:
        last = copy.deepcopy(change.after or change.before)
        last["metadata"]["resourceVersion"] = str(change.version)
        yield {"type": "DELETED", "object": last}
