"""The Lease by which one of several instances leads: a thread that renews it, and `held()` for the write gate.

A lease alone is no fence: a process may be frozen between asking `held()` and sending. What makes the law hold, "no
write of a deposed leader takes effect after its successor's first write to that object", is the resource version that
every write carries. It must have been read before a moment at which `held()` was true: read the object, ask `held()`,
write onto the version that was read. Then the version is from our own term or before it, the successor's first write
to the object makes a newer one, and ours, whenever it arrives, meets a conflict. Until that first write ours may still
take effect: that is what the law allows, and what the successor then reads. After a conflict, therefore: read again,
ask `held()` again, and only then write again.
"""

from __future__ import annotations

import socket
import threading
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import structlog

from controller.cluster.client import ClusterClient, ConflictError, Json, NotFoundError
from controller.cluster.election import Bid, Election, LeaseRecord, Timing
from controller.cluster.names import FIELD_MANAGER, LEASES, MANAGED_BY_LABEL
from controller.errors import TransientError

_log = structlog.get_logger("governor")


def boot_time_s() -> float:
    """Seconds that never go back and count the time that the machine was suspended, where the system has such."""
    try:
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    except (AttributeError, OSError):
        return time.monotonic()


def own_identity() -> str:
    """A name for this process: its host (in a cluster its pod), and what no other process there has."""
    return f"{socket.gethostname()}_{uuid.uuid4().hex[:12]}"


class Lease:
    """Holds, or contends for, one Lease object from `start()` to `close()`.

    Give it a `ClusterClient` of its own, with a time-out of about 2 s: a renewal must not wait behind other calls,
    and two tries have to fit into a lease.
    """

    def __init__(
        self,
        client: ClusterClient,
        namespace: str,
        name: str,
        identity: str | None = None,
        timing: Timing | None = None,
        clock: Callable[[], float] = boot_time_s,
    ) -> None:
        self._client = client
        self._namespace = namespace
        self._name = name
        self._clock = clock
        self._election = Election(identity or own_identity(), timing or Timing())
        self._object: Json = {}
        """The Lease as last read or written, with what others put into it."""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lease", daemon=True)
        self._was_held = False
        self.error = ""
        """Why the last look or renewal failed; empty when it did not."""

    def start(self) -> None:
        """Begin to contend."""
        self._thread.start()

    def held(self) -> bool:
        """Whether this process leads, for certain, at this moment. Cheap: ask before each write."""
        return self._election.held(self._clock())

    @property
    def identity(self) -> str:
        """Our name in the Lease."""
        return self._election.identity

    @property
    def holder(self) -> str:
        """Who held it when last looked; empty where nobody did."""
        return self._election.holder

    @property
    def generation(self) -> int:
        """A number that grows from holder to holder, as a hint for what is written elsewhere; ours where we lead."""
        return self._election.generation

    def close(self, timeout_s: float = 5.0) -> None:
        """Stop leading at once, and let a successor start, within `timeout_s`. Never raises."""
        self._election.close()
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout_s)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self.step()
            except Exception:  # noqa: BLE001 - leadership hangs on this thread: a defect is logged, and tried again
                self._election.missed()
                _log.exception("lease: defect")
            self._say()
            self._stop.wait(self._election.wait_s(self._clock()))
        self._release()
        self._say()

    def step(self) -> None:
        """One look, where one is needed, and one bid, where one is due. The thread calls it; tests may."""
        try:
            if self._election.must_look:
                self._look()
            bid = self._election.bid(self._clock())
            if bid is not None:
                self._send(bid)
            self.error = ""
        except TransientError as error:
            self._election.missed()
            self.error = str(error)

    def _look(self) -> None:
        try:
            found = self._client.get(LEASES.path(self._namespace, self._name))
        except NotFoundError:
            self._object = {}
            self._election.observe(None, self._clock())
            return
        self._object = found
        self._election.observe(_record(found, self._election.timing.duration_s), self._clock())

    def _send(self, bid: Bid) -> None:
        """Raises TransientError where it was refused or not answered, but for a lost race: that is no error."""
        body = self._body(bid)
        try:
            if bid.version is None:
                answer = self._client.create(LEASES.path(self._namespace), body, fieldManager=FIELD_MANAGER)
            else:
                path = LEASES.path(self._namespace, self._name)
                answer = self._client.replace(path, body, fieldManager=FIELD_MANAGER)
        except (ConflictError, NotFoundError):
            self._election.missed()
            return
        self._object = answer
        self._election.won(bid, _record(answer, self._election.timing.duration_s).version)

    def _body(self, bid: Bid) -> Json:
        spec = dict(self._object.get("spec") or {})
        stamp = _stamp(str(spec.get("renewTime", "")))
        spec |= {
            "holderIdentity": bid.holder,
            "leaseDurationSeconds": self._election.timing.duration_s,
            "leaseTransitions": bid.transitions,
            "renewTime": stamp,
        }
        if bid.takes_over:
            spec["acquireTime"] = stamp
        metadata: Json = {"labels": {MANAGED_BY_LABEL: FIELD_MANAGER}} | dict(self._object.get("metadata") or {})
        metadata |= {"name": self._name, "namespace": self._namespace}
        metadata.pop("managedFields", None)
        if bid.version is not None:
            metadata["resourceVersion"] = bid.version
        return {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": spec}

    def _release(self) -> None:
        try:
            if self._election.must_look:
                self._look()
            bid = self._election.release(self._clock())
            if bid is not None:
                self._send(bid)
        except TransientError as error:
            _log.warning("lease not released: a successor waits until it ends", error=str(error))

    def _say(self) -> None:
        held = self.held()
        if held != self._was_held:
            self._was_held = held
            text = "leading" if held else "no longer leading"
            _log.info(text, identity=self.identity, holder=self.holder, generation=self.generation, error=self.error)


def _record(found: Json, duration_s: float) -> LeaseRecord:
    """Raises TransientError where it has no resource version: then nothing can be based on it."""
    spec, version = found.get("spec") or {}, str(found.get("metadata", {}).get("resourceVersion") or "")
    if not version:
        raise TransientError("the API server answered with a Lease that has no resource version")
    return LeaseRecord(
        version=version,
        holder=str(spec.get("holderIdentity") or ""),
        duration_s=float(spec.get("leaseDurationSeconds") or duration_s),
        transitions=int(spec.get("leaseTransitions") or 0),
    )


def _stamp(before: str) -> str:
    """The time, for people. Never the one before: a write that changes nothing makes no new resource version, and the
    others would not see that it was renewed.
    """
    now = datetime.now(UTC)
    text = _micro(now)
    return text if text != before else _micro(now + timedelta(microseconds=1))


def _micro(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
