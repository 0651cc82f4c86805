"""A small API server over HTTP, for what a real one cannot be made to do at will: breaks, refusals, silence, 410.

    with ApiServer() as server:
        server.store.put(PODS, a_pod("a"))
        client = server.client()

It lists in pages, watches with bookmarks, and takes POST, PUT, merge patches, DELETE and scale subresources. It has
no defaults, no admission and no controllers: objects are what a test puts.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit

from kubernetes.client import ApiClient, Configuration

from controller.cluster.client import ClusterClient, Json
from tests.contract.cluster.api_store import Kind, Name, RefusedError, Store


@dataclass(frozen=True)
class Path:
    """What a request's path names."""

    kind: Kind
    namespace: str
    name: str
    subresource: str


@dataclass
class Refusal:
    """How requests are refused for a while."""

    plural: str
    code: int
    reason: str
    left: int


class ApiServer:
    """Serves `store` on 127.0.0.1. `absent` are plurals of kinds that it does not know.

    `requests` is what was asked: method and path with its query, in order.
    """

    def __init__(self) -> None:
        self.store = Store()
        self.absent: set[str] = set()
        self.discovery: dict[str, list[Json]] = {}
        """Resources by path, as in {"/apis/x/v1": [{"name": "things", "kind": "Thing"}]}."""
        self.requests: list[str] = []
        self.silent = False
        """Watches are kept open and told nothing: as behind a network that lost them."""
        self.garbled = False
        """The next event is cut in the middle of a line."""
        self.watching = 0
        """Watches that were opened so far and from now on hear of everything."""
        self._refusals: list[Refusal] = []
        self._ended = 0
        self._broken = 0
        self._bookmarks = 0
        self._pages: dict[str, tuple[list[Json], int]] = {}
        self._port = 0
        self._http: ThreadingHTTPServer | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Listen; after a stop on the same port as before."""
        self._http = _Http(self, self._port)
        self._port = self._http.server_port
        threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        """Break all watches and listen no more."""
        http, self._http = self._http, None
        self.break_watches()
        if http is not None:
            http.shutdown()
            http.server_close()

    def client(self, timeout_s: float = 2.0) -> ClusterClient:
        """A client of this server."""
        settings = Configuration()
        settings.host = f"http://127.0.0.1:{self._port}"
        settings.retries = False
        return ClusterClient(ApiClient(settings), timeout_s)

    def bookmark(self) -> None:
        """Tell all watches how far the history is."""
        with self.store.changed:
            self._bookmarks += 1
            self.store.changed.notify_all()

    def end_watches(self) -> None:
        """As a server does when their time is over."""
        with self.store.changed:
            self._ended += 1
            self.store.changed.notify_all()

    def break_watches(self) -> None:
        """As a lost connection does."""
        with self.store.changed:
            self._broken += 1
            self.store.changed.notify_all()

    def refuse(self, plural: str, code: int, reason: str, times: int = 1_000_000) -> None:
        """Refuse the next requests for a kind; `times` 0 ends that."""
        self._refusals = [each for each in self._refusals if each.plural != plural]
        self._refusals.append(Refusal(plural, code, reason, times))

    def asked(self, part: str) -> int:
        """How many requests had this in method or path."""
        return sum(part in request for request in self.requests)

    def check(self, plural: str) -> None:
        """Raises RefusedError where the kind is refused or unknown."""
        for refusal in self._refusals:
            if refusal.plural == plural and refusal.left > 0:
                refusal.left -= 1
                raise RefusedError(refusal.code, refusal.reason, f"{plural} are refused by the test")
        if plural in self.absent:
            raise RefusedError(404, "NotFound", "the server could not find the requested resource")

    def page(self, path: Path, query: Mapping[str, str]) -> Json:
        """One page of a list. Raises RefusedError for a token that was forgotten."""
        token = query.get("continue", "")
        if not token:
            found, version = self.store.list(path.kind, path.namespace, query.get("labelSelector", ""))
        elif token in self._pages and self._pages[token][1] >= self.store.compacted:
            found, version = self._pages.pop(token)
        else:
            raise RefusedError(410, "Expired", "the provided continue parameter is too old")
        limit = int(query.get("limit", "0")) or len(found)
        metadata: Json = {"resourceVersion": str(version)}
        if len(found) > limit:
            metadata["continue"] = f"{version}-{len(self.requests)}"
            self._pages[metadata["continue"]] = found[limit:], version
        return {"kind": "List", "metadata": metadata, "items": found[:limit]}

    def serves(self, http: object) -> bool:
        """Whether a connection belongs to a server that was not stopped since."""
        return http is self._http

    def marks(self) -> tuple[int, int, int]:
        """How often watches were ended, broken and told bookmarks so far."""
        return self._ended, self._broken, self._bookmarks

    def events(self, path: Path, query: Mapping[str, str], marks: tuple[int, int, int]) -> Iterator[Json | None]:
        """What a watch is told, until it ends; None where its connection breaks.

        `marks` are those of the moment at which its request came.
        """
        version, selector = int(query["resourceVersion"]), query.get("labelSelector", "")
        until = time.monotonic() + float(query.get("timeoutSeconds", "60"))
        ended, broken, bookmarks = marks
        self.watching += 1
        while time.monotonic() < until:
            try:
                told, version = self.store.since(version, path.kind, path.namespace, selector)
            except RefusedError as error:
                yield {"type": "ERROR", "object": error.status}
                return
            yield from told
            if self._bookmarks > bookmarks:
                bookmarks = self._bookmarks
                yield {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": str(version)}}}
            if self._broken > broken:
                yield None
                return
            if self._ended > ended:
                return
            with self.store.changed:
                if self.store.version <= version and self._bookmarks == bookmarks:
                    self.store.changed.wait(0.5)

    def scale(self, path: Path) -> Json:
        """The scale subresource of an object that has `spec.replicas`."""
        found = self.store.get(path.kind, (path.namespace, path.name))
        metadata = {key: found["metadata"][key] for key in ("name", "namespace", "resourceVersion", "uid")}
        status = found.get("status", {})
        selector = status.get("hpaPodSelector") or status.get("selector") or ""
        return {
            "kind": "Scale",
            "apiVersion": "autoscaling/v1",
            "metadata": metadata,
            "spec": {"replicas": found.get("spec", {}).get("replicas", 0)},
            "status": {"replicas": status.get("replicas", 0), "selector": selector},
        }

    def write(self, method: str, path: Path, body: Json) -> Json:
        """What a request that changes something does. Raises RefusedError."""
        if method == "DELETE":
            return self.store.delete(path.kind, (path.namespace, path.name))
        if method == "POST":
            body.setdefault("metadata", {})["namespace"] = path.namespace
            return self.store.write(path.kind, (path.namespace, body["metadata"]["name"]), body, create=True)
        name: Name = path.namespace, path.name
        if method == "PUT" and not path.subresource:
            return self.store.write(path.kind, name, body, create=False)
        return self.store.write(path.kind, name, _merged(self.store.get(path.kind, name), body), create=False)


def parse_path(path: str) -> Path | None:
    """None where a path names no kind."""
    parts = [unquote(part) for part in path.strip("/").split("/")]
    group, rest = ("", parts[1:]) if parts[0] == "api" else (parts[1], parts[2:]) if len(parts) > 1 else ("", [])
    if len(rest) < 2:
        return None
    version, rest = rest[0], rest[1:]
    namespace = ""
    if rest[0] == "namespaces" and len(rest) > 2:
        namespace, rest = rest[1], rest[2:]
    name, subresource = [*rest[1:], "", ""][:2]
    return Path((group, version, rest[0]), namespace, name, subresource)


def _merged(there: Json, patch: Json) -> Json:
    """RFC 7386."""
    for key, value in patch.items():
        if value is None:
            there.pop(key, None)
        elif isinstance(value, dict):
            there[key] = _merged(there[key] if isinstance(there.get(key), dict) else {}, value)
        else:
            there[key] = value
    return there


class _Http(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, api: ApiServer, port: int) -> None:
        self.api = api
        super().__init__(("127.0.0.1", port), _Handler)


class _Handler(BaseHTTPRequestHandler):
    server: _Http
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    @property
    def api(self) -> ApiServer:
        return self.server.api

    def do_GET(self) -> None:
        self._answered("GET")

    def do_POST(self) -> None:
        self._answered("POST")

    def do_PUT(self) -> None:
        self._answered("PUT")

    def do_PATCH(self) -> None:
        self._answered("PATCH")

    def do_DELETE(self) -> None:
        self._answered("DELETE")

    def log_message(self, *args: object) -> None:
        """Quiet."""

    def _answered(self, method: str) -> None:
        self._marks = self.api.marks()
        if not self.api.serves(self.server):
            self.close_connection = True
            return
        self.api.requests.append(f"{method} {self.path}")
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length) or b"{}")
        try:
            self._do(method, body)
        except RefusedError as error:
            self._send(error.status["code"], error.status)
        except OSError:
            self.close_connection = True

    def _do(self, method: str, body: Any) -> None:
        split = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(split.query).items()}
        if split.path in self.api.discovery:
            self._send(200, {"kind": "APIResourceList", "resources": self.api.discovery[split.path]})
            return
        path = parse_path(split.path)
        if path is None:
            raise RefusedError(404, "NotFound", "the server could not find the requested resource")
        self.api.check(path.kind[2])
        if query.get("watch") == "true":
            self._watch(path, query)
        else:
            self._send(201 if method == "POST" else 200, self._found(method, path, query, body))

    def _found(self, method: str, path: Path, query: Mapping[str, str], body: Any) -> Json:
        if method != "GET":
            changed = self.api.write(method, path, body)
            return self.api.scale(path) if path.subresource == "scale" else changed
        if not path.name:
            return self.api.page(path, query)
        return (
            self.api.scale(path)
            if path.subresource == "scale"
            else self.api.store.get(path.kind, (path.namespace, path.name))
        )

    def _send(self, code: int, body: Json) -> None:
        content = json.dumps(body).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _watch(self, path: Path, query: Mapping[str, str]) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for event in self.api.events(path, query, self._marks):
            if event is None:
                self.close_connection = True
                return
            if self.api.silent:
                continue
            line = json.dumps(event).encode() + b"\n"
            if self.api.garbled:
                self.api.garbled = False
                line = line[: len(line) // 2] + b"\n"
            self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
        self.wfile.write(b"0\r\n\r\n")
