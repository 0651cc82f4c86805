"""A collection of the cluster kept here: listed once, then watched. One thread and one connection for each."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from random import SystemRandom
from types import MappingProxyType
from typing import Generic, Self, TypeVar

import structlog

from controller.clock import Clock, SystemClock
from controller.cluster.client import (
    PAGE,
    ApiError,
    ClusterClient,
    ExpiredError,
    ForbiddenError,
    Json,
    NotFoundError,
    Resource,
    UnreachableError,
    Watch,
)
from controller.cluster.raw import key_of, objects, version_of
from controller.errors import TransientError

V = TypeVar("V")
Keep = Callable[[Json], V | None]
"""What is kept of an object: something small; None for an object that does not matter."""

_BUSY = (429, 503)
"""Refusals that say nothing about the version to go on from: asked again, not listed afresh."""
_BRIEF_S = 1.0
"""A watch that ends sooner counts as a failure: nobody is asked in a busy loop."""
_LASTING_S = 5.0
"""A watch that was alive for so long was no failure: the next attempt comes at once."""
_CLOSE_S = 2.0

_log = structlog.get_logger("governor")


@dataclass(frozen=True, slots=True)
class Pace:
    """How often the server is asked. Seconds."""

    watch_s: float = 30.0
    """Length of one watch: the server says something at least that often."""
    retry_s: float = 0.25
    """Pause after the first failure; doubled by each that follows, and jittered."""
    retry_most_s: float = 10.0
    absent_s: float = 60.0
    """Pause while the kind is not known to the server: a CRD that may come."""
    page: int = PAGE
    """Objects in one page of the list."""


class ListWatch(Generic[V]):
    """What `keep` makes of every object of a resource, as the server last told. Thread-safe.

    A failing server leaves what it told before: `quiet_s` says how long ago that was, `error` why.
    """

    def __init__(
        self,
        client: ClusterClient,
        resource: Resource,
        keep: Keep[V],
        *,
        namespace: str = "",
        selector: str = "",
        pace: Pace | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._client = client
        self._path = resource.path(namespace)
        self._query = {"labelSelector": selector} if selector else {}
        self._keep = keep
        self._pace = pace or Pace()
        self._clock = clock or SystemClock()
        self.name = f"{resource.plural} of {namespace}" if namespace else resource.plural
        self._lock = threading.Lock()
        self._objects: dict[str, V] = {}
        self._shown: Mapping[str, V] | None = None
        self._version = ""
        """Where to go on from; empty where only a list can tell."""
        self._heard_at = -math.inf
        self._error = self._told = ""
        self._absent = self._denied = False
        self._synced = threading.Event()
        self._settled = threading.Event()
        self._closing = threading.Event()
        self._watch: Watch | None = None
        self._thread = threading.Thread(target=self._run, name=f"watch-{resource.plural}", daemon=True)

    def start(self) -> Self:
        """Begin to list and watch, in a thread."""
        self._thread.start()
        return self

    def close(self) -> None:
        """End the watch and its thread."""
        self._closing.set()
        with self._lock:
            watch = self._watch
        if watch is not None:
            watch.interrupt()
        if self._thread.is_alive():
            self._thread.join(_CLOSE_S)

    @property
    def synced(self) -> bool:
        """Whether everything was listed at least once since the kind is known to the server."""
        return self._synced.is_set()

    @property
    def absent(self) -> bool:
        """Whether the server answered that there is no such kind."""
        return self._absent

    @property
    def denied(self) -> bool:
        """Whether the server answered last that we may not read it."""
        return self._denied

    @property
    def quiet_s(self) -> float:
        """Seconds since the server last said anything: a list, an event, a bookmark. Infinite before the first."""
        return self._clock.monotonic() - self._heard_at

    @property
    def error(self) -> str:
        """What failed last, where nothing has been heard since; else empty."""
        return self._error

    def objects(self) -> Mapping[str, V]:
        """Everything kept, by namespace/name. The same mapping until something changes."""
        with self._lock:
            if self._shown is None:
                self._shown = MappingProxyType(dict(self._objects))
            return self._shown

    def wait_synced(self, timeout_s: float) -> bool:
        """Wait until everything was listed once. False where that took longer."""
        return self._synced.wait(timeout_s)

    def wait_settled(self, timeout_s: float) -> bool:
        """Wait until everything was listed once, or the server said that there is no such kind or no permission."""
        return self._settled.wait(timeout_s)

    def step(self) -> None:
        """List where only a list can tell what there is, then watch until the watch ends. Raises TransientError."""
        if not self._version:
            self._list()
        self._follow()

    def _list(self) -> None:
        found: dict[str, V] = {}
        version = ""
        try:
            for page in self._client.pages(self._path, limit=self._pace.page, **self._query):
                version = version_of(page)
                for raw in objects(page, "items"):
                    kept = self._keep(raw)
                    if kept is not None:
                        found[key_of(raw)] = kept
        except NotFoundError:
            self._replace({}, "")
            self._absent = True
            self._synced.clear()
            self._heard_at = self._clock.monotonic()
            raise
        self._replace(found, version)
        self._heard()
        self._absent = self._denied = False
        self._synced.set()
        self._settled.set()

    def _follow(self) -> None:
        began = self._clock.monotonic()
        try:
            with closing(self._open()) as watch:
                self._heard()
                for event in watch:
                    self._apply(event)
                    self._heard()
        except ApiError as error:
            if error.code not in _BUSY:
                self._version = ""
            raise
        finally:
            with self._lock:
                self._watch = None
        if self._clock.monotonic() - began < _BRIEF_S:
            raise UnreachableError(f"the server ended the watch on {self._path} as soon as it began")
        self._heard()

    def _open(self) -> Watch:
        watch = self._client.watch(self._path, self._version, timeout_s=self._pace.watch_s, **self._query)
        with self._lock:
            self._watch = watch
        if self._closing.is_set():
            watch.interrupt()
        return watch

    def _apply(self, event: Json) -> None:
        kind, raw = event.get("type"), event.get("object")
        if kind in {"ADDED", "MODIFIED", "DELETED"}:
            kept = self._keep(raw) if kind != "DELETED" and isinstance(raw, dict) else None
            self._set(key_of(raw), kept)
        self._version = version_of(raw) or self._version

    def _set(self, key: str, kept: V | None) -> None:
        """Most changes of an object concern nothing that is kept of it: then what is shown stays as it is."""
        with self._lock:
            if self._objects.get(key) == kept:
                return
            self._shown = None
            if kept is None:
                del self._objects[key]
            else:
                self._objects[key] = kept

    def _replace(self, found: dict[str, V], version: str) -> None:
        with self._lock:
            self._objects, self._shown, self._version = found, None, version

    def _heard(self) -> None:
        self._heard_at = self._clock.monotonic()
        self._error = self._told = ""

    def _run(self) -> None:
        failures = 0
        while not self._closing.is_set():
            began = self._clock.monotonic()
            try:
                self.step()
                failures = 0
                continue
            except TransientError as error:
                lasted = self._heard_at - began > _LASTING_S
                failures = 1 if lasted else failures + 1
                self._failed(error, failures)
            except Exception:  # noqa: BLE001 - a thread must not die in silence: logged with traceback, listed afresh
                failures += 1
                self._error = f"{self.name}: a defect, see the log"
                self._version = ""
                _log.exception("cache: defect", resource=self.name)
            self._closing.wait(self._pause_s(failures))

    def _failed(self, error: TransientError, failures: int) -> None:
        if self._closing.is_set():
            return
        self._error = f"{self.name}: {error}"
        self._denied = isinstance(error, ForbiddenError)
        if self._denied or self._absent:
            self._settled.set()
        # A watch that breaks once or has to begin anew is everyday life, and so is a kind that
        # nobody installed; what goes on failing is told once.
        lasting = failures > 1 and not self._absent and not isinstance(error, ExpiredError)
        if lasting and self._error != self._told:
            self._told = self._error
            _log.warning("cluster not read", resource=self.name, error=str(error))

    def _pause_s(self, failures: int) -> float:
        if self._absent:
            return self._pace.absent_s
        most = min(self._pace.retry_most_s, self._pace.retry_s * 2.0 ** min(failures - 1, 16))
        return most * SystemRandom().uniform(0.5, 1.0)
