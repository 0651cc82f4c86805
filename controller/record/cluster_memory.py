"""What survives a crash, kept in the cluster: one ConfigMap for each fleet, in the controller's own namespace.

An order is in the cluster before `save` returns. What was learned besides is written beside the cycles, at most once
a minute for each fleet and at the end, so the successor of one that crashed has learned up to a minute less. That is
safe: memory is never the truth about replicas.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, field, replace

import structlog

from controller.clock import Clock
from controller.cluster.client import ClusterClient, ConflictError, Json, NotFoundError, PatchKind
from controller.cluster.names import CONFIG_MAPS, FIELD_MANAGER
from controller.errors import TransientError
from controller.model.decision import ScaleWrite, WeightWrite
from controller.model.memory import FleetMemory
from controller.record.encoded import MemoryEncoder
from controller.record.memory_object import (
    SELECTOR,
    UnreadableError,
    aside_of,
    fleet_of,
    memory_of,
    name_of,
    object_of,
    packed,
    version_of,
)

LEARNED_EVERY_S = 60.0
"""Between two writes of a fleet's memory without a new order."""
_URGENT_AT_ONCE = 4
_LEARNED_AT_ONCE = 2
_LEAST_LEARNED = 8
_SHARE_OF_LEARNED = 6
"""A sixth of the fleets (and at least eight) begun in one save: no burst, and at twelve saves a minute none is late."""

_log = structlog.get_logger("governor")


@dataclass(slots=True)
class _Kept:
    """One fleet's memory as far as it is known to be in the cluster."""

    memory: FleetMemory | None = None
    """None: not saved yet."""
    version: str = ""
    """Resource version of its ConfigMap; empty: to be asked for."""
    exists: bool = False
    written_at: float = 0.0
    damaged: Json | None = None
    """A ConfigMap that could not be read: put aside before it is written over."""
    write: Future[str] | None = None
    """The last write that was begun."""
    lock: threading.Lock = field(default_factory=threading.Lock)
    """One write of a fleet at a time: each needs the version that the one before it made."""


class ClusterMemory:
    """`controller.ports.MemoryStore` on ConfigMaps. One thread saves; its writes run beside each other.

    `note` says after `load` what could not be read; else it is empty.
    """

    def __init__(
        self,
        client: ClusterClient,
        namespace: str,
        clock: Clock,
        encoder: MemoryEncoder | None = None,
        held: Callable[[], bool] = lambda: True,
        budget_s: float = 10.0,
    ) -> None:
        """`held`: whether we lead, asked before each write and again after each version that was read for it.
        `budget_s`: longest that a save may take.
        """
        self.note = ""
        self._client = client
        self._namespace = namespace
        self._clock = clock
        self._encoder = encoder or MemoryEncoder()
        self._held = held
        self._budget_s = budget_s
        self._kept: dict[str, _Kept] = {}
        self._latest: list[FleetMemory] = []
        self._forgotten: dict[str, FleetMemory] = {}
        """Memories of fleets that are gone: not written again, as long as they are the same."""
        self._leaving: set[str] = set()
        """Fleets whose memory is being deleted."""
        self._failed: dict[str, str] = {}
        """Why the last write of a fleet failed; it is gone when one succeeds."""
        self._lock = threading.Lock()
        self._urgent_pool = ThreadPoolExecutor(_URGENT_AT_ONCE, thread_name_prefix="memory-urgent")
        self._learned_pool = ThreadPoolExecutor(_LEARNED_AT_ONCE, thread_name_prefix="memory-learned")

    @property
    def error(self) -> str:
        """Why memories are not saved, for one fleet of those that are not; empty when all are that had to be."""
        with self._lock:
            fleet, why = min(self._failed.items(), default=("", ""))
            return f"{fleet}{_others(len(self._failed))}: {why}" if fleet else ""

    def load(self) -> Mapping[str, FleetMemory]:
        """All memories in the cluster. To be called anew by whoever has just become the leader.

        One that is damaged, or of a newer version than this program knows, is begun anew for its fleet (`lost_at`
        says so), and put aside before it is written over; the others stand. Raises TransientError where they cannot be
        read at all.
        """
        memories: dict[str, FleetMemory] = {}
        kept: dict[str, _Kept] = {}
        notes: list[str] = []
        for found in self._objects():
            key = fleet_of(found)
            if not key or name_of(key) != found["metadata"]["name"]:
                notes.append(f"ConfigMap {found['metadata'].get('name')} is passed over: it is none of ours")
                continue
            kept[key] = _Kept(version=version_of(found), exists=True)
            try:
                memories[key] = kept[key].memory = memory_of(found, key)
            except UnreadableError as error:
                notes.append(str(error))
                kept[key].damaged = found
                memories[key] = replace(FleetMemory.empty(key), lost_at=self._clock.now())
        with self._lock:
            self._kept = kept
        self.note = "; ".join(notes)
        if notes:
            _log.error("memory lost", why=self.note)
        return memories

    def save(self, memories: Mapping[str, FleetMemory]) -> None:
        """Write every memory that has a new order or was never saved, and begin to write some of the others.

        Raises TransientError naming the fleets whose order could not be saved, or not within the budget.
        """
        self._latest = [m for m in memories.values() if self._forgotten.get(m.fleet) is not m]
        self._encoder.keep_only({m.fleet for m in self._latest})
        urgent = {m.fleet: self._begin(m, self._urgent_pool) for m in self._latest if self._urgent(m)}
        for memory in self._due(m for m in self._latest if m.fleet not in urgent):
            self._begin(memory, self._learned_pool)
        self._let_go(self._kept.keys() - memories.keys())
        unsaved = self._waited_for(urgent)
        if unsaved:
            fleet, why = next(iter(unsaved.items()))
            raise TransientError(f"the memory of {fleet}{_others(len(unsaved))} was not saved in the cluster: {why}")

    def close(self) -> None:
        """Write what was learned since the last write, within the budget, and end. Before the lease is given back."""
        if self._held():
            changed = [m for m in self._latest if (k := self._kept.get(m.fleet)) is None or k.memory is not m]
            self._waited_for({memory.fleet: self._begin(memory, self._urgent_pool) for memory in changed})
        for pool in (self._learned_pool, self._urgent_pool):
            pool.shutdown(wait=True, cancel_futures=True)

    def set_aside(self) -> str:
        """Nothing to do: what could not be read is put aside fleet by fleet, before it is written over."""
        return f"ConfigMaps memory-*-unreadable-* in namespace {self._namespace}"

    def forget(self, fleet: str) -> None:
        """Delete the memory of a fleet that is gone. Raises TransientError."""
        with self._lock:
            kept = self._kept.get(fleet, _Kept())
        if not self._held():
            raise TransientError(f"the memory of {fleet} was not deleted: not the leader any more")
        body = {"preconditions": {"resourceVersion": kept.version}} if kept.version else None
        with suppress(NotFoundError):
            self._client.delete(CONFIG_MAPS.path(self._namespace, name_of(fleet)), body)
        with self._lock:
            self._kept.pop(fleet, None)
            self._failed.pop(fleet, None)
        self._forgotten |= {m.fleet: m for m in self._latest if m.fleet == fleet}

    def _let_go(self, gone: Iterable[str]) -> None:
        """What the loop remembers no more leaves the cluster: begun here, waited for by nobody."""
        for fleet in set(gone) - self._leaving:
            self._leaving.add(fleet)
            self._learned_pool.submit(self._forgotten_in_time, fleet)

    def _forgotten_in_time(self, fleet: str) -> None:
        try:
            self.forget(fleet)
        except TransientError as error:
            _log.warning("memory not deleted, tried again", fleet=fleet, why=str(error))
        finally:
            self._leaving.discard(fleet)

    def _objects(self) -> Iterable[Json]:
        path = CONFIG_MAPS.path(self._namespace)
        for page in self._client.pages(path, limit=50, labelSelector=SELECTOR):
            yield from page.get("items") or ()

    def _urgent(self, memory: FleetMemory) -> bool:
        """Whether it holds what must not be lost: an order that is not in the cluster yet, or the very first memory."""
        kept = self._kept.get(memory.fleet)
        if kept is None or kept.memory is None:
            return True
        orders = _orders(memory)
        return bool(orders) and orders != _orders(kept.memory)

    def _due(self, memories: Iterable[FleetMemory]) -> list[FleetMemory]:
        """Those that changed and were not written for a minute, the oldest first, a share of all."""
        now, all_of_them = self._clock.monotonic(), list(memories)
        most = max(_LEAST_LEARNED, len(all_of_them) // _SHARE_OF_LEARNED)
        waiting = [
            (kept.written_at, memory)
            for memory in all_of_them
            if (kept := self._kept[memory.fleet]).memory is not memory
            and (kept.write is None or kept.write.done())
            and now - kept.written_at >= LEARNED_EVERY_S
        ]
        return [memory for _, memory in sorted(waiting, key=lambda pair: pair[0])[:most]]

    def _begin(self, memory: FleetMemory, pool: ThreadPoolExecutor) -> Future[str]:
        """The write, begun; its result says why it failed."""
        with self._lock:
            kept = self._kept.setdefault(memory.fleet, _Kept())
        if kept.write is not None:
            kept.write.cancel()  # an older memory that no thread has taken up yet
        # Encoded here: the encoder is for one thread.
        kept.write = pool.submit(self._written, memory, self._encoder.encode(memory).text, kept)
        return kept.write

    def _waited_for(self, writes: Mapping[str, Future[str]]) -> dict[str, str]:
        """Why writes failed, by fleet. Those that did not end within the budget failed too."""
        wait(writes.values(), timeout=self._budget_s)
        late = f"it took more than {self._budget_s:g} s"
        results = {
            fleet: late if write.cancel() or not write.done() else write.result() for fleet, write in writes.items()
        }
        return {fleet: why for fleet, why in results.items() if why}

    def _written(self, memory: FleetMemory, text: bytes, kept: _Kept) -> str:
        why = ""
        with kept.lock:
            try:
                self._write_or_again(memory.fleet, packed(memory.fleet, text), kept)
                kept.memory, kept.written_at = memory, self._clock.monotonic()
            except TransientError as error:
                kept.version, kept.exists, why = "", True, str(error)
        self._note(memory.fleet, why)
        return why

    def _note(self, fleet: str, why: str) -> None:
        with self._lock:
            before = self._failed.pop(fleet, "")
            if why:
                self._failed[fleet] = why
        if why and why != before:
            _log.warning("memory not saved, tried again", fleet=fleet, why=why)

    def _write_or_again(self, fleet: str, content: bytes, kept: _Kept) -> None:
        try:
            self._write(fleet, content, kept)
        except (ConflictError, NotFoundError):
            # Somebody else wrote it, or deleted it: for one who still leads it is read again, and written over.
            kept.version, kept.exists = "", True
            self._write(fleet, content, kept)

    def _write(self, fleet: str, content: bytes, kept: _Kept) -> None:
        """Raises TransientError, ConflictError among them."""
        if kept.exists and not kept.version:
            self._look(fleet, kept)
        if not self._held():
            raise TransientError("not the leader any more: another instance may be writing")
        if kept.damaged is not None:
            self._put_aside(kept.damaged)
            kept.damaged = None
        body = object_of(fleet, content, self._namespace, kept.version)
        if kept.exists:
            path = CONFIG_MAPS.path(self._namespace, name_of(fleet))
            answer = self._client.patch(path, body, PatchKind.MERGE, fieldManager=FIELD_MANAGER)
        else:
            answer = self._client.create(CONFIG_MAPS.path(self._namespace), body, fieldManager=FIELD_MANAGER)
        kept.version, kept.exists = version_of(answer), True

    def _look(self, fleet: str, kept: _Kept) -> None:
        try:
            kept.version = version_of(self._client.get(CONFIG_MAPS.path(self._namespace, name_of(fleet))))
        except NotFoundError:
            kept.exists = False

    def _put_aside(self, damaged: Json) -> None:
        # It is there already where an earlier try put it aside.
        with suppress(ConflictError):
            self._client.create(CONFIG_MAPS.path(self._namespace), aside_of(damaged), fieldManager=FIELD_MANAGER)


def _others(all_of_them: int) -> str:
    return f" (and {all_of_them - 1} others)" if all_of_them > 1 else ""


def _orders(memory: FleetMemory) -> tuple[ScaleWrite | WeightWrite, ...]:
    """What is about to be written, replicas and weights."""
    weights = memory.traffic.intent if memory.traffic is not None else None
    return memory.intent if weights is None else (*memory.intent, weights)
