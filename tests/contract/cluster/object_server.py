"""A server that keeps objects as Kubernetes' API does: versions, compare-and-swap, merge patches, sub-resources, pages.

    with ObjectServer() as server:
        server.put("/api/v1/namespaces/llm/pods/a", {...})
        server.fail("PATCH", "/pods/a", 500)
        client = server.client()

It checks nothing that a schema would; faults are what a real server cannot be made to produce.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

import urllib3
from kubernetes.client import ApiClient, Configuration

from controller.cluster.client import ClusterClient

Json = dict[str, Any]
SUBRESOURCES = ("scale", "status")
REASONS = {404: "NotFound", 409: "Conflict", 422: "Invalid"}


@dataclass
class Request:
    method: str
    path: str
    query: dict[str, str]
    body: Any


@dataclass
class Fault:
    """What happens to the requests that it fits, as often as `times`."""

    method: str
    part: str
    status: int
    message: str
    times: float
    effect: bool
    """Whether the request takes effect although it is answered badly."""
    hold: threading.Event | None = None

    def fits(self, method: str, path: str) -> bool:
        return self.times > 0 and method == self.method and self.part in path


class RefusedError(Exception):
    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class ObjectServer:
    """Objects by path. `requests` are all that came, in order; `before` is called ahead of each."""

    def __init__(self) -> None:
        self.objects: dict[str, Json] = {}
        self.requests: list[Request] = []
        self.faults: list[Fault] = []
        self.before: Callable[[str, str], None] = lambda _method, _path: None
        self.delay_s = 0.0
        self._version = 100
        self._lock = threading.RLock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def client(self, timeout_s: float = 5.0) -> ClusterClient:
        settings = Configuration(host=self.url)
        settings.retries = urllib3.Retry(total=0)
        settings.connection_pool_maxsize = 16
        return ClusterClient(ApiClient(settings), timeout_s)

    def put(self, path: str, body: Json) -> str:
        """Store an object, whatever was there; its version."""
        with self._lock:
            parts = path.split("/")
            metadata = {"name": parts[-1], "namespace": parts[-3], "uid": f"uid-{parts[-1]}"}
            return self._store(path, {**body, "metadata": metadata | body.get("metadata", {})})

    def fail(
        self, method: str, part: str, status: int, message: str = "no", times: float = 1, *, effect: bool = False
    ) -> None:
        self.faults.append(Fault(method, part, status, message, times, effect))

    def hang(self, method: str, part: str, times: float = 1, *, effect: bool = True) -> threading.Event:
        """Answer nothing until the event is set."""
        held = threading.Event()
        self.faults.append(Fault(method, part, 0, "", times, effect, held))
        return held

    def asked(self, method: str, part: str = "") -> list[Request]:
        return [r for r in list(self.requests) if r.method == method and part in r.path]

    def _store(self, path: str, body: Json) -> str:
        self._version += 1
        body = deepcopy(body)
        old = self.objects.get(path, {})
        generation = old.get("metadata", {}).get("generation", 0) + (old.get("spec") != body.get("spec"))
        body["metadata"] |= {"resourceVersion": str(self._version), "generation": generation}
        self.objects[path] = body
        return str(self._version)

    def answer(self, request: Request) -> tuple[int, Json]:
        with self._lock:
            try:
                return self._answer(request)
            except RefusedError as refusal:
                return refusal.status, {
                    "kind": "Status",
                    "reason": REASONS.get(refusal.status, ""),
                    "message": str(refusal),
                }

    def _answer(self, request: Request) -> tuple[int, Json]:
        path, subresource = _split(request.path)
        if request.method == "POST":
            name = request.body["metadata"]["name"]
            if f"{path}/{name}" in self.objects:
                raise RefusedError(409, f"{name} already exists")
            self.put(f"{path}/{name}", request.body)
            return 201, self.objects[f"{path}/{name}"]
        if path not in self.objects:
            if request.method == "GET" and _is_collection(path):
                return 200, self._listed(path, request.query)
            raise RefusedError(404, f"{path.split('/')[-1]} not found")
        return self._on_object(path, subresource, request)

    def _on_object(self, path: str, subresource: str, request: Request) -> tuple[int, Json]:
        found = self.objects[path]
        if request.method == "DELETE":
            wanted = (request.body or {}).get("preconditions", {}).get("resourceVersion")
            self._check(found, wanted)
            return 200, self.objects.pop(path)
        if request.method in ("PUT", "PATCH"):
            self._check(found, request.body.get("metadata", {}).get("resourceVersion"))
            changed = self._changed(found, subresource, request)
            if changed != found:
                self._store(path, changed)
            found = self.objects[path]
        return 200, _scale(found) if subresource == "scale" else found

    def _check(self, found: Json, version: str | None) -> None:
        if version is not None and version != found["metadata"]["resourceVersion"]:
            raise RefusedError(409, "the object has been modified; please apply your changes to the latest version")

    def _changed(self, found: Json, subresource: str, request: Request) -> Json:
        if subresource == "scale":
            return {**found, "spec": {**found.get("spec", {}), "replicas": request.body["spec"]["replicas"]}}
        if request.method == "PUT":
            return {**request.body, "metadata": {**found["metadata"], **request.body["metadata"]}}
        body = {"status": request.body.get("status", {})} if subresource == "status" else dict(request.body)
        metadata = {k: v for k, v in body.get("metadata", {}).items() if k != "resourceVersion"}
        return merge(found, {**body, "metadata": metadata})

    def _listed(self, path: str, query: dict[str, str]) -> Json:
        wanted = dict(part.split("=", 1) for part in query.get("labelSelector", "").split(",") if part)
        found = [
            self.objects[key]
            for key in sorted(self.objects)
            if key.rsplit("/", 1)[0] == path
            and wanted.items() <= self.objects[key]["metadata"].get("labels", {}).items()
        ]
        first = int(query.get("continue", 0))
        last = first + int(query.get("limit", len(found) or 1))
        more = {"continue": str(last)} if last < len(found) else {}
        return {"kind": "List", "metadata": {"resourceVersion": str(self._version), **more}, "items": found[first:last]}

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def _serve(self) -> None:
                parts = urlsplit(self.path)
                query = {name: values[0] for name, values in parse_qs(parts.query).items()}
                length = int(self.headers.get("Content-Length") or 0)
                body = json.loads(self.rfile.read(length)) if length else None
                request = Request(self.command, parts.path, query, body)
                outer.before(self.command, parts.path)
                outer.requests.append(request)
                if outer.delay_s:
                    time.sleep(outer.delay_s)
                fault = next((f for f in outer.faults if f.fits(self.command, parts.path)), None)
                if fault is not None:
                    fault.times -= 1
                if fault is None or fault.effect:
                    status, answer = outer.answer(request)
                if fault is not None:
                    if fault.hold is not None:
                        fault.hold.wait(20)
                        self.close_connection = True
                        return
                    status, answer = fault.status, {"kind": "Status", "message": fault.message}
                text = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *args: object) -> None:
                """Quiet."""

        for method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
            setattr(Handler, f"do_{method}", Handler._serve)
        return Handler


def merge(found: Any, patch: Any) -> Any:
    """RFC 7386."""
    if not isinstance(patch, dict):
        return patch
    result = dict(found) if isinstance(found, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merge(result.get(key), value)
    return result


def _split(path: str) -> tuple[str, str]:
    head, last = path.rsplit("/", 1)
    return (head, last) if last in SUBRESOURCES else (path, "")


def _is_collection(path: str) -> bool:
    """/api/v1/namespaces/NS/PLURAL or /apis/GROUP/VERSION/namespaces/NS/PLURAL."""
    parts = path.strip("/").split("/")
    return len(parts) == (5 if parts[0] == "api" else 6)


def _scale(found: Json) -> Json:
    labels = found.get("spec", {}).get("selector", {}).get("matchLabels", {})
    metadata = {key: found["metadata"][key] for key in ("name", "namespace", "resourceVersion")}
    status = {"replicas": 0, "selector": ",".join(f"{k}={v}" for k, v in labels.items())}
    return {"kind": "Scale", "metadata": metadata, "spec": {"replicas": found["spec"]["replicas"]}, "status": status}
