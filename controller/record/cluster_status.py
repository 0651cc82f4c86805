"""The status of Fleets in the cluster, kept up to date beside the cycles: written only where it differs.

Each patch carries the resource version of what it was compared with, so that an instance that was deposed meanwhile
writes over nothing (see `controller.cluster.lease`), and names only the fields that change.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import structlog
from pydantic import ValidationError

from controller.clock import Clock
from controller.cluster.client import ApiError, ClusterClient, ConflictError, Json, NotFoundError, PatchKind
from controller.cluster.names import FIELD_MANAGER, FLEETS
from controller.errors import TransientError
from controller.model.status import FleetStatus
from controller.ports import CycleRecord
from controller.record.fleet_status import Standing, standing, status_of

FIGURES_EVERY_S = 60.0
"""Between two writes of a fleet's status in which only numbers, messages and instants changed."""
_AGAIN_AFTER_S = 15.0
"""After a refusal; until then the others go on."""

_log = structlog.get_logger("governor")


@dataclass(slots=True)
class _Published:
    """What is known of one Fleet object."""

    version: str = ""
    """Empty: to be read first."""
    uid: str = ""
    document: Json = field(default_factory=dict)
    """Its status as the API server has it, as far as this program knows its fields."""
    standing: Standing = ()
    at: float = float("-inf")
    """When it was last compared with what was to be shown (monotonic)."""
    not_before: float = float("-inf")
    refusal: str = ""


class ClusterStatus:
    """Statuses to be written: `note` from the cycle, `send` from a thread of its own, where waiting does no harm."""

    def __init__(self, client: ClusterClient, clock: Clock, held: Callable[[], bool] = lambda: True) -> None:
        """`held`: whether we lead; asked before each write."""
        self._client = client
        self._clock = clock
        self._held = held
        self._lock = threading.Lock()
        self._latest: dict[str, CycleRecord] = {}
        self._published: dict[str, _Published] = {}

    def note(self, records: Sequence[CycleRecord]) -> None:
        """Show these cycles; of each fleet the latest one counts."""
        with self._lock:
            self._latest |= {record.fleet.key: record for record in records}

    def send(self) -> None:
        """Write what is due. Raises UnreachableError where the API server does not answer; what is left is kept."""
        with self._lock:
            latest = dict(self._latest)
        for key, record in latest.items():
            known = self._published.setdefault(key, _Published())
            if not self._due(record, known):
                continue
            if not self._held():
                return
            self._bring_up(record, known)
            with self._lock:
                if self._latest.get(key) is record:
                    del self._latest[key]

    def uid(self, fleet: str) -> str:
        """The UID of the Fleet object; empty as long as it was not read."""
        known = self._published.get(fleet)
        return known.uid if known is not None else ""

    def _due(self, record: CycleRecord, known: _Published) -> bool:
        now = self._clock.monotonic()
        if now < known.not_before:
            return False
        return now - known.at >= FIGURES_EVERY_S or standing(record) != known.standing

    def _bring_up(self, record: CycleRecord, known: _Published) -> None:
        key = record.fleet.key
        try:
            self._write_or_again(record, known)
        except NotFoundError:
            self._published.pop(key, None)
        except (ApiError, ValidationError) as error:
            known.not_before = self._clock.monotonic() + _AGAIN_AFTER_S
            if str(error) != known.refusal:
                _log.warning("status not written, tried again", fleet=key, error=str(error))
            known.version, known.refusal = "", str(error)
        except TransientError:
            # It may have taken effect: the next try reads first.
            known.version = ""
            raise
        else:
            known.standing, known.at, known.refusal = standing(record), self._clock.monotonic(), ""

    def _write_or_again(self, record: CycleRecord, known: _Published) -> None:
        """Raises TransientError, and ValidationError for a cycle that no status can show."""
        try:
            self._write(record, known)
        except ConflictError:
            # Somebody changed the Fleet, its spec for instance: read again, and compared anew.
            known.version = ""
            self._write(record, known)

    def _write(self, record: CycleRecord, known: _Published) -> None:
        metadata = record.fleet.metadata
        if not known.version:
            self._learn(known, self._client.get(FLEETS.path(metadata.namespace, metadata.name)))
        if not self._held():
            raise TransientError(f"the status of {record.fleet.key} was not written: not the leader any more")
        wanted = status_of(record, _parsed(known.document)).document()
        changes = difference(known.document, wanted)
        if not changes:
            return
        body = {"metadata": {"resourceVersion": known.version}, "status": changes}
        path = FLEETS.path(metadata.namespace, metadata.name, "status")
        self._learn(known, self._client.patch(path, body, PatchKind.MERGE, fieldManager=FIELD_MANAGER))

    def _learn(self, known: _Published, found: Json) -> None:
        metadata = found.get("metadata", {})
        known.version, known.uid = str(metadata.get("resourceVersion") or ""), str(metadata.get("uid") or "")
        status = found.get("status") or {}
        parsed = _parsed(status)
        # Of a status that this program cannot read, every field that it knows is written anew.
        known.document = parsed.document() if parsed is not None else {n: status[n] for n in _FIELDS if n in status}


_FIELDS = tuple(FleetStatus().model_dump(by_alias=True))


def difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> Json:
    """The merge patch (RFC 7386) that makes `new` of `old`; empty where they are equal."""
    patch: Json = dict.fromkeys(old.keys() - new.keys())
    for name, value in new.items():
        before = old.get(name)
        if isinstance(value, Mapping) and isinstance(before, Mapping):
            part = difference(before, value)
            if part:
                patch[name] = part
        elif name not in old or value != before:
            patch[name] = value
    return patch


def _parsed(document: Json) -> FleetStatus | None:
    try:
        return FleetStatus.model_validate(document)
    except ValidationError:
        return None
