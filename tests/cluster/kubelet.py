"""A kubelet for the pods of the end-to-end tests: one simulated replica process behind each bound pod.

Pods that carry the annotation `governor.dev/test-kubelet: "true"` are left alone by KWOK and given a body here: the
process is started, readiness follows its /health, deletion drains it (no new requests, running ones to their end, at
most the grace period), and whoever routes or scrapes is told through `changed`. Annotations say what the process is:
`governor.dev/test-profile` (its truth) and `governor.dev/test-model`.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from zlib import crc32

import requests

from controller.cluster.client import ClusterClient, NotFoundError, PatchKind, Resource
from controller.errors import TransientError
from engine.local.ports import LOOPBACK, free_port
from engine.local.pressure import load_of
from engine.local.process import Process

MARK = "governor.dev/test-kubelet"
PODS = Resource("", "v1", "pods")
_LOOK_S = 0.2
_PROPAGATION_S = 1.0
"""After a pod has left the endpoints, before its load is believed: proxies need to hear of it."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A pod's body as proxies and Prometheus need to know it."""

    pod: str
    labels: Mapping[str, str]
    port: int
    ready: bool
    """Takes requests: ready and not leaving."""
    scraped: bool
    """Was ready once: a page that is scraped before would be of nobody."""

    @property
    def address(self) -> str:
        return f"{LOOPBACK}:{self.port}"


@dataclass
class _Body:
    pod: str
    labels: Mapping[str, str]
    port: int
    process: Process
    ready: bool = False
    restarts: int = 0
    leaving_since: float | None = None
    quiet: int = 0


@dataclass
class Kubelet:
    """Runs in a thread of its own until the `with` block ends; then every process is ended."""

    client: ClusterClient
    namespace: str
    logs: Path
    changed: Callable[[Sequence[Endpoint]], None]
    cold_start_s: float = 0.0
    """Of processes started from now on."""
    never_ready: set[str] = field(default_factory=set)
    """Variants (label governor.dev/variant) whose pods do not become ready."""

    def __post_init__(self) -> None:
        self._bodies: dict[str, _Body] = {}
        self._told: list[Endpoint] | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="kubelet", daemon=True)
        self.faults: list[str] = []
        self.ready_counts: list[int] = []
        """How many pods took requests, after each change."""

    def __enter__(self) -> Self:
        self.logs.mkdir(parents=True, exist_ok=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        for body in self._bodies.values():
            body.process.end(1.0)

    def pids(self) -> dict[str, int]:
        """Process id of each pod's body."""
        return {body.pod: body.process.pid for body in list(self._bodies.values())}

    def endpoints(self) -> Sequence[Endpoint]:
        """The bodies that there were at the last look."""
        return self._told or ()

    def _run(self) -> None:
        while not self._stop.wait(_LOOK_S):
            try:
                self._look()
            except TransientError as error:
                self.faults.append(str(error))

    def _look(self) -> None:
        pods = {pod["metadata"]["uid"]: pod for pod in self._pods()}
        for uid in self._bodies.keys() - pods.keys():
            self._bodies.pop(uid).process.end(2.0)
        for uid, pod in pods.items():
            with suppress(NotFoundError):
                self._tend(uid, pod)
        self._tell()

    def _pods(self) -> list[dict[str, Any]]:
        found = self.client.get(PODS.path(self.namespace))["items"]
        return [
            pod
            for pod in found
            if pod["metadata"].get("annotations", {}).get(MARK) == "true" and pod["spec"].get("nodeName")
        ]

    def _tend(self, uid: str, pod: Mapping[str, Any]) -> None:
        body = self._bodies.get(uid)
        if "deletionTimestamp" in pod["metadata"]:
            self._let_go(uid, pod, body)
        elif body is None:
            self._bodies[uid] = self._started(pod)
            self._say(self._bodies[uid], pod)
        elif body.process.exit_code() is not None:
            self._bodies[uid] = self._started(pod, body.restarts + 1)
            self._say(self._bodies[uid], pod)
        elif not body.ready and self._healthy(body):
            body.ready = True
            self._say(body, pod)

    def _started(self, pod: Mapping[str, Any], restarts: int = 0) -> _Body:
        meta, port = pod["metadata"], free_port()
        said, name = meta["annotations"], meta["name"]
        argv = [sys.executable, "-m", "engine.serve", "--profile", said["governor.dev/test-profile"]]
        argv += ["--port", str(port), "--model", said["governor.dev/test-model"], "--stdin-lifeline"]
        argv += ["--cold-start", f"{self.cold_start_s:g}", "--seed", str(crc32(name.encode()))]
        process = Process(name, argv, self.logs / f"{name}.log")
        return _Body(name, meta.get("labels", {}), port, process, restarts=restarts)

    def _healthy(self, body: _Body) -> bool:
        if body.labels.get("governor.dev/variant") in self.never_ready:
            return False
        with suppress(requests.RequestException):
            return requests.get(f"http://{LOOPBACK}:{body.port}/health", timeout=1).ok
        return False

    def _let_go(self, uid: str, pod: Mapping[str, Any], body: _Body | None) -> None:
        """Out of the endpoints at once; ended when nothing runs any more, or when the grace period is over."""
        if body is not None:
            if body.leaving_since is None:
                body.leaving_since = time.monotonic()
                return
            if body.process.exit_code() is None and not self._finished(body, pod):
                return
            body.process.end(2.0)
        self.client.delete(PODS.path(self.namespace, pod["metadata"]["name"]), {"gracePeriodSeconds": 0})
        self._bodies.pop(uid, None)

    def _finished(self, body: _Body, pod: Mapping[str, Any]) -> bool:
        waited_s = time.monotonic() - (body.leaving_since or 0.0)
        if waited_s > pod["metadata"].get("deletionGracePeriodSeconds", 30):
            return True
        if waited_s < _PROPAGATION_S:
            return False
        with suppress(requests.RequestException):
            page = requests.get(f"http://{LOOPBACK}:{body.port}/metrics", timeout=1).text
            body.quiet = body.quiet + 1 if load_of(page) == 0 else 0
        return body.quiet >= 2

    def _say(self, body: _Body, pod: Mapping[str, Any]) -> None:
        """The pod's status as a kubelet writes it."""
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        truth = {True: "True", False: "False"}[body.ready]
        states = {"PodScheduled": "True", "Initialized": "True", "ContainersReady": truth, "Ready": truth}
        container = pod["spec"]["containers"][0]
        status = {
            "phase": "Running",
            "startTime": now,
            "conditions": [{"type": t, "status": s, "lastTransitionTime": now} for t, s in states.items()],
            "containerStatuses": [
                {
                    "name": container["name"],
                    "image": container["image"],
                    "imageID": "",
                    "ready": body.ready,
                    "started": body.ready,
                    "restartCount": body.restarts,
                    "state": {"running": {"startedAt": now}},
                }
            ],
        }
        path = PODS.path(self.namespace, body.pod, "status")
        self.client.patch(path, {"status": status}, PatchKind.MERGE)

    def _tell(self) -> None:
        bodies = sorted(self._bodies.values(), key=lambda body: body.pod)
        now = [Endpoint(b.pod, b.labels, b.port, b.ready and b.leaving_since is None, b.ready) for b in bodies]
        if now != self._told:
            self.changed(now)
            self._told = now
            self.ready_counts.append(sum(endpoint.ready for endpoint in now))
