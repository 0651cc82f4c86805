"""Kubernetes Events on a Fleet: what was written, what was not and why, and which standing facts changed.

The same fact again counts up the Event that is there. A fleet that says too much is cut short, never the API server.
"""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import structlog

from controller.clock import Clock
from controller.cluster.client import ApiError, ClusterClient, ConflictError, Json, NotFoundError, PatchKind
from controller.cluster.names import API_VERSION, COMPONENT, EVENTS, FIELD_MANAGER, FLEET_KIND
from controller.model.decision import Condition, Outcome
from controller.ports import CycleRecord
from controller.record.encoded import digest_of
from controller.record.event_notes import Note, condition_notes, outcome_notes

BURST = 20
"""Events of one fleet that may be new at once; from then on one in `REFILL_S`."""
REFILL_S = 30.0
SERIES_EVERY_S = 60.0
"""Between two countings-up of one Event."""
_SERIES_ENDS_S = 600.0
"""A fact that was not said for so long is a new Event."""
_KEPT_MAX = 2000
_WAITING_MAX = 1000
_NOTE_MAX_BYTES = 1024

_log = structlog.get_logger("governor")


@dataclass(slots=True)
class _Series:
    """One Event in the cluster, and how often its fact was seen since."""

    fleet: str
    name: str
    count: int
    told: int
    """The count that the Event says."""
    last_at: float
    told_at: float
    """Monotonic."""
    seen_at: float


@dataclass(slots=True)
class _Allowance:
    left: float
    at: float


class ClusterEvents:
    """Events to be sent: `note` from the cycle, `send` from a thread of its own. `dropped` counts those cut off."""

    def __init__(
        self,
        client: ClusterClient,
        clock: Clock,
        instance: str,
        uid: Callable[[str], str] = lambda _fleet: "",
        held: Callable[[], bool] = lambda: True,
    ) -> None:
        """`instance`: this process. `uid`: of a Fleet, empty where not known. `held`: whether we lead."""
        self.dropped = 0
        self._client = client
        self._clock = clock
        self._instance = instance[:128]
        self._uid = uid
        self._held = held
        self._lock = threading.Lock()
        self._waiting: deque[tuple[str, float, Note]] = deque()
        self._conditions: dict[str, tuple[Condition, ...]] = {}
        self._series: OrderedDict[tuple[str, str, str], _Series] = OrderedDict()
        self._allowances: dict[str, _Allowance] = {}

    def note(self, records: Sequence[CycleRecord], outcomes: Sequence[Outcome]) -> None:
        """What there is to say of these cycles. Cheap."""
        by_fleet: dict[str, list[Outcome]] = {}
        for outcome in outcomes:
            by_fleet.setdefault(outcome.write.fleet, []).append(outcome)
        for record in records:
            key, decision = record.fleet.key, record.plan.decision
            before = self._conditions.get(key)
            if decision.conditions != before:
                self._wait(key, decision.at, condition_notes(before, decision.conditions, decision.at))
                self._conditions[key] = decision.conditions
            if key in by_fleet:
                self._wait(key, decision.at, outcome_notes(decision, by_fleet[key]))

    def send(self) -> None:
        """Send what waits. Raises UnreachableError where the API server does not answer; what is left is kept."""
        while self._waiting:
            if not self._held():
                self._waiting.clear()
                return
            fleet, at, note = self._waiting[0]
            self._tell(fleet, at, note)
            self._waiting.popleft()
        self._count_up()

    def _wait(self, fleet: str, at: float, notes: Sequence[Note]) -> None:
        with self._lock:
            for note in notes:
                if len(self._waiting) >= _WAITING_MAX:
                    self.dropped += 1
                else:
                    self._waiting.append((fleet, at, note))

    def _tell(self, fleet: str, at: float, note: Note) -> None:
        now = self._clock.monotonic()
        key = (fleet, note.reason, note.text)
        known = self._series.get(key)
        if known is not None and now - known.seen_at < _SERIES_ENDS_S:
            known.count, known.last_at, known.seen_at = known.count + 1, at, now
            return
        if not self._allowed(fleet, now):
            self.dropped += 1
            return
        namespace, _, name = fleet.partition("/")
        event_name = f"{name}.{digest_of(repr((key, at, self._instance)).encode())[:16]}"
        try:
            self._client.create(
                EVENTS.path(namespace), self._event(fleet, event_name, at, note), fieldManager=FIELD_MANAGER
            )
        except ConflictError:
            pass  # it is there: the answer of an earlier try was lost
        except ApiError as error:
            self.dropped += 1
            _log.warning("event refused", fleet=fleet, reason=note.reason, error=str(error))
            return
        self._series[key] = _Series(fleet, event_name, 1, 1, at, now, now)
        self._series.move_to_end(key)
        while len(self._series) > _KEPT_MAX:
            self._series.popitem(last=False)

    def _count_up(self) -> None:
        """Tell of facts that were seen again."""
        now = self._clock.monotonic()
        for key, series in list(self._series.items()):
            if series.count == series.told or now - series.told_at < SERIES_EVERY_S:
                continue
            if not self._held():
                return
            namespace, _, _ = series.fleet.partition("/")
            body = {"series": {"count": series.count, "lastObservedTime": _micro(series.last_at)}}
            try:
                path = EVENTS.path(namespace, series.name)
                self._client.patch(path, body, PatchKind.MERGE, fieldManager=FIELD_MANAGER)
            except NotFoundError:
                del self._series[key]  # expired: the next time it is a new one
                continue
            except ApiError as error:
                _log.warning("event not counted up", fleet=series.fleet, error=str(error))
            series.told, series.told_at = series.count, now

    def _allowed(self, fleet: str, now: float) -> bool:
        found = self._allowances.setdefault(fleet, _Allowance(BURST, now))
        found.left, found.at = min(BURST, found.left + (now - found.at) / REFILL_S), now
        if found.left < 1:
            return False
        found.left -= 1
        return True

    def _event(self, fleet: str, event_name: str, at: float, note: Note) -> Json:
        namespace, _, name = fleet.partition("/")
        regarding = {"apiVersion": API_VERSION, "kind": FLEET_KIND, "namespace": namespace, "name": name}
        uid = self._uid(fleet)
        return {
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {"name": event_name, "namespace": namespace},
            "eventTime": _micro(at),
            "reportingController": COMPONENT,
            "reportingInstance": self._instance,
            "action": note.action,
            "reason": note.reason,
            "note": _cut(note.text),
            "type": note.type,
            "regarding": regarding | ({"uid": uid} if uid else {}),
        }


def _cut(text: str) -> str:
    """At most as many bytes as an Event takes."""
    content = text.encode()
    if len(content) <= _NOTE_MAX_BYTES:
        return text
    return content[: _NOTE_MAX_BYTES - 3].decode(errors="ignore") + "…"


def _micro(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
