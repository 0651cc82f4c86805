"""Fleets declared as resources of a cluster, kept by watching.

A fleet that turned bad keeps its last good version: a typing mistake must not let go of a running fleet.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType, TracebackType
from typing import Any, Self

from pydantic import ValidationError

from controller.clock import Clock
from controller.cluster.cache import ListWatch, Pace
from controller.cluster.client import ClusterClient, Json
from controller.cluster.names import API_VERSION, FLEET_KIND, FLEETS
from controller.cluster.raw import at, text, version_of, whole
from controller.model.describe import problems_of
from controller.model.fleet import Fleet
from controller.model.resource import fleet_of_resource
from controller.schedule import check_zones

_KEPT_METADATA = ("name", "namespace", "labels", "annotations", "generation")
_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


@dataclass(frozen=True, slots=True)
class DocumentVersion:
    """Which version of which object a fleet was read from."""

    uid: str
    resource_version: str
    generation: int
    finalizers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FleetFacts:
    """A Fleet resource as it was declared: no status, nothing of the cluster's own, so that most writes to it change
    nothing here but its version.
    """

    version: DocumentVersion
    deleting: bool
    document: str
    """JSON."""


@dataclass(frozen=True, slots=True)
class _Read:
    """What became of one document."""

    uid: str
    document: str
    fleet: Fleet | None
    """The last good version of this object; None where there never was one."""
    problem: str


class ClusterFleets:
    """Fleets of a cluster, or of one `namespace` of it, as they are now. Implements `controller.ports.FleetSource`."""

    def __init__(
        self, client: ClusterClient, *, namespace: str = "", pace: Pace | None = None, clock: Clock | None = None
    ) -> None:
        self.cache = ListWatch(client, FLEETS, fleet_facts, namespace=namespace, pace=pace, clock=clock)
        self._seen: Mapping[str, FleetFacts] | None = None
        self._read: Mapping[str, _Read] = {}

    def start(self) -> Self:
        """Begin to watch, in a thread."""
        self.cache.start()
        return self

    def close(self) -> None:
        """End the watch."""
        self.cache.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def fleets(self) -> Sequence[Fleet]:
        """Every valid fleet that is not being deleted, newest version, by key. Never raises for what is in them.

        While the API server does not answer, the fleets are those that it told of last.
        """
        return tuple(read.fleet for _, read in sorted(self._take().items()) if read.fleet is not None)

    def problems(self) -> Mapping[str, str]:
        """What is wrong with the newest version of a fleet, by fleet key."""
        return MappingProxyType({key: read.problem for key, read in self._take().items() if read.problem})

    def deleting(self) -> Mapping[str, DocumentVersion]:
        """Fleets that were asked to go and wait for their finalizers, by fleet key."""
        return MappingProxyType({key: facts.version for key, facts in self._facts().items() if facts.deleting})

    def document_version(self, key: str) -> DocumentVersion | None:
        """The newest version of a fleet's resource, valid or not: what a write of its status goes against."""
        facts = self._facts().get(key)
        return facts.version if facts is not None else None

    def _facts(self) -> Mapping[str, FleetFacts]:
        return self.cache.objects()

    def _take(self) -> Mapping[str, _Read]:
        facts = self._facts()
        if facts is not self._seen:
            before = self._read
            self._read = {key: _read(before.get(key), each) for key, each in facts.items() if not each.deleting}
            self._seen = facts
        return self._read


def fleet_facts(raw: Json) -> FleetFacts:
    """What is kept of a raw Fleet."""
    metadata = {name: value for name in _KEPT_METADATA if (value := at(raw, "metadata", name)) is not None}
    annotations = metadata.get("annotations")
    if isinstance(annotations, dict):
        metadata["annotations"] = {name: value for name, value in annotations.items() if name != _LAST_APPLIED}
    finalizers = at(raw, "metadata", "finalizers")
    version = DocumentVersion(
        uid=text(raw, "metadata", "uid"),
        resource_version=version_of(raw),
        generation=whole(raw, "metadata", "generation") or 0,
        finalizers=tuple(str(each) for each in finalizers) if isinstance(finalizers, list) else (),
    )
    # Objects in a list do not repeat what kind they are of.
    document: dict[str, Any] = {"apiVersion": API_VERSION, "kind": FLEET_KIND, "metadata": metadata}
    if "spec" in raw:
        document["spec"] = raw["spec"]
    return FleetFacts(version, bool(text(raw, "metadata", "deletionTimestamp")), json.dumps(document))


def _read(before: _Read | None, facts: FleetFacts) -> _Read:
    uid = facts.version.uid
    # A fleet of the same name that was made anew has no good version of the old one.
    last = before if before is not None and before.uid == uid else None
    if last is not None and last.document == facts.document:
        return last
    fleet, problem = _judged(json.loads(facts.document))
    if fleet is None and last is not None:
        fleet = last.fleet
    return _Read(uid, facts.document, fleet, problem)


def _judged(document: Mapping[str, Any]) -> tuple[Fleet | None, str]:
    try:
        fleet = fleet_of_resource(document)
    except ValidationError as error:
        problems = problems_of(error, Fleet)
    else:
        problems = check_zones(fleet)
    if not problems:
        return fleet, ""
    return None, " | ".join(str(problem) for problem in problems)
