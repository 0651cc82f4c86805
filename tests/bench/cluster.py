"""Fleets to declare, and a stand-in for the supervisor that owns their replicas: its API, without processes.

All replicas are ready. What the daemon orders above that is accepted and starts for ever.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from controller.model.codec import to_json
from controller.model.snapshot import Replica, ReplicaPhase, ScaleTarget
from tests.bench.series import MODEL, VARIANT, namespace_of, pod_of

_FLEET = """---
apiVersion: governor.dev/v1alpha1
kind: Fleet
metadata: {{name: llama-8b, namespace: {namespace}}}
spec:
  modelName: {model}
  host: vllm-server
  variants:
    - name: {variant}
      scaleTargetRef: {{name: vllm-server-v1}}
      subset: v1
      accelerator: l40s
      costPerHour: 1.86
      replicas: {{min: 2, max: 20}}
  objectives:
    ttft: {{threshold: {ttft}, target: 0.95}}
    tpot: {{threshold: {tpot}, target: 0.95}}
  scaling: {{policy: slo, maxCostPerHour: 40}}
"""
_OBJECTIVES = (("1s", "75ms"), ("1s", "50ms"), ("2500ms", "100ms"))


def write_fleets(path: Path, fleets: int) -> None:
    """Declare them in one file; their objectives differ."""
    with path.open("w", encoding="utf-8") as out:
        for number in range(fleets):
            ttft, tpot = _OBJECTIVES[number % len(_OBJECTIVES)]
            namespace = namespace_of(number)
            out.write(_FLEET.format(namespace=namespace, model=MODEL, variant=VARIANT, ttft=ttft, tpot=tpot))


class Targets:
    """Replicas by fleet, as JSON that is made once for each change."""

    def __init__(self, fleets: int, pods: int, now_s: float) -> None:
        self._lock = threading.Lock()
        self._targets: dict[str, ScaleTarget] = {}
        self._texts: dict[str, bytes] = {}
        for fleet in range(fleets):
            born_s = now_s - 86_400 - fleet
            replicas = tuple(
                Replica(pod_of(fleet, pod), ReplicaPhase.READY, born_s, born_s + 90.0, 12.0, "", "127.0.0.1:8000")
                for pod in range(pods)
            )
            self._put(f"{namespace_of(fleet)}/llama-8b", ScaleTarget(pods, "1", replicas))

    def page(self) -> bytes:
        """The answer to a reading of all targets."""
        with self._lock:
            return b'{"targets":{' + b",".join(self._texts.values()) + b"}}"

    def weights(self) -> bytes:
        """The answer to a reading of all weights."""
        return json.dumps({"weights": {fleet: {VARIANT: 100} for fleet in self._targets}}).encode()

    def scale(self, fleet: str, order: dict[str, Any], now_s: float) -> HTTPStatus:
        """Take an order against the target's version."""
        with self._lock:
            target = self._targets[fleet]
            if order["resourceVersion"] != target.resource_version:
                return HTTPStatus.CONFLICT
            wanted, version = int(order["replicas"]), str(int(target.resource_version) + 1)
            started = tuple(
                Replica(f"new-{version}-{number}", ReplicaPhase.STARTING, now_s)
                for number in range(wanted - len(target.replicas))
            )
            self._put(fleet, ScaleTarget(wanted, version, (target.replicas + started)[:wanted]))
        return HTTPStatus.OK

    def _put(self, fleet: str, target: ScaleTarget) -> None:
        self._targets[fleet] = target
        self._texts[fleet] = f'{json.dumps(fleet)}:{{"{VARIANT}":'.encode() + to_json(target) + b"}"


@contextmanager
def supervisor(targets: Targets, now_s: float) -> Iterator[str]:
    """Serve the targets on a free port of loopback; the address."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            self._answer(HTTPStatus.OK, targets.weights() if self.path == "/v1/weights" else targets.page())

        def do_PUT(self) -> None:
            order = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            namespace, name = self.path.split("/")[3:5]
            status = targets.scale(f"{namespace}/{name}", order, now_s)
            self._answer(status, b'{"error":"it was changed meanwhile"}' if status != HTTPStatus.OK else b"{}")

        def _answer(self, status: HTTPStatus, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_args: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
