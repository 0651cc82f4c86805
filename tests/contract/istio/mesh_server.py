"""A small API server that knows VirtualServices only: what versions it serves and how it fails is the test's word.

Entered, it serves on 127.0.0.1; `client()` talks to it.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from kubernetes.client import ApiClient, Configuration

from controller.cluster.client import ClusterClient
from tests.json_patch import UnmetError, applied
from tests.unit.istio.virtual_services import Document

_PREFIX = "/apis/networking.istio.io/"


class _RefusedError(Exception):
    """An answer that is no success; without a body of Kubernetes' kind where `reason` is empty."""

    def __init__(self, code: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.code, self.reason = code, reason


class MeshServer:
    """`served` are versions of the API; `forbidden` namespaces, `unlisted` ones (objects can be had by name only).

    `before_patch` happens between a read and its patch.
    """

    def __init__(self, served: Sequence[str] = ("v1", "v1beta1", "v1alpha3")) -> None:
        self.served = tuple(served)
        self.objects: dict[tuple[str, str], Document] = {}
        self.requests: list[str] = []
        self.patches: list[tuple[str, list[Document]]] = []
        self.forbidden: set[str] = set()
        self.unlisted: set[str] = set()
        self.before_patch: list[Document] = []
        self.rejection = ""
        """What a webhook says to every patch; empty where there is none."""
        self.page = 500
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"mesh": self}))
        self._http.daemon_threads = True
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02})

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()

    def client(self) -> ClusterClient:
        settings = Configuration()
        settings.host = f"http://127.0.0.1:{self._http.server_address[1]}"
        return ClusterClient(ApiClient(settings), timeout_s=2.0)

    def put(self, document: Document) -> None:
        """Create or replace an object, by name and namespace."""
        metadata = document["metadata"]
        self.objects[metadata["namespace"], metadata["name"]] = document

    def answer(self, method: str, target: str, body: Any) -> Mapping[str, Any]:
        """The answer to a request. Raises _RefusedError."""
        split = urlsplit(target)
        version, _, rest = split.path.removeprefix(_PREFIX).partition("/")
        if not split.path.startswith(_PREFIX) or version not in self.served:
            raise _RefusedError(404, "", "404 page not found")
        parts = rest.split("/")
        namespace, names = ("", []) if len(parts) == 1 else (parts[1], parts[3:])
        if namespace in self.forbidden:
            raise _RefusedError(403, "Forbidden", f"virtualservices is forbidden in the namespace {namespace}")
        query = {name: values[0] for name, values in parse_qs(split.query).items()}
        if not names and namespace in self.unlisted:
            raise _RefusedError(403, "Forbidden", f"virtualservices cannot be listed in the namespace {namespace}")
        if not names:
            return self._list(namespace, query)
        key = (namespace, names[0])
        if key not in self.objects:
            raise _RefusedError(404, "NotFound", f'virtualservices "{names[0]}" not found')
        return self.objects[key] if method == "GET" else self._patched(key, query, body)

    def _list(self, namespace: str, query: Mapping[str, str]) -> Mapping[str, Any]:
        items = [found for (place, _), found in sorted(self.objects.items()) if namespace in ("", place)]
        begin, size = int(query.get("continue", "0")), min(self.page, int(query.get("limit", "500")))
        more = {"continue": str(begin + size)} if begin + size < len(items) else {}
        return {"items": items[begin : begin + size], "metadata": {"resourceVersion": "1", **more}}

    def _patched(self, key: tuple[str, str], query: Mapping[str, str], body: Any) -> Document:
        while self.before_patch:
            self.put(self.before_patch.pop(0))
        if self.rejection:
            raise _RefusedError(400, "BadRequest", f'admission webhook "validation.istio.io" denied: {self.rejection}')
        try:
            found = applied(self.objects[key], body)
        except UnmetError as error:
            raise _RefusedError(422, "Invalid", f"the server rejected our request: {error}") from error
        self.patches.append((query.get("fieldManager", ""), body))
        found["metadata"]["resourceVersion"] = str(int(found["metadata"]["resourceVersion"]) + 1)
        self.objects[key] = found
        return found


class _Handler(BaseHTTPRequestHandler):
    mesh: MeshServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        self._answered("GET")

    def do_PATCH(self) -> None:
        self._answered("PATCH")

    def log_message(self, *args: object) -> None:
        """Quiet."""

    def _answered(self, method: str) -> None:
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"null")
        self.mesh.requests.append(f"{method} {urlsplit(self.path).path}")
        try:
            self._send(200, json.dumps(self.mesh.answer(method, self.path, body)))
        except _RefusedError as refusal:
            status = {"kind": "Status", "code": refusal.code, "reason": refusal.reason, "message": str(refusal)}
            self._send(refusal.code, json.dumps(status) if refusal.reason else str(refusal))

    def _send(self, code: int, text: str) -> None:
        content = text.encode()
        self.send_response(code)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
