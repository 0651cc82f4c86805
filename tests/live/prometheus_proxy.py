"""A proxy in front of Prometheus that adds warnings to its answers on demand, as Thanos does for partial ones."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import requests


class PrometheusProxy(ThreadingHTTPServer):
    """Listens on a free port of loopback. `warning` is added to every answer while it is not empty."""

    daemon_threads = True

    def __init__(self, upstream: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.upstream = upstream
        self.warning = ""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: PrometheusProxy

    def do_GET(self) -> None:
        self._pass_on("GET", None)

    def do_POST(self) -> None:
        self._pass_on("POST", self.rfile.read(int(self.headers.get("Content-Length", 0))))

    def _pass_on(self, method: str, body: bytes | None) -> None:
        kind = {"Content-Type": self.headers["Content-Type"]} if body else {}
        answer = requests.request(method, self.server.upstream + self.path, data=body, headers=kind, timeout=10)
        content = self._warned(answer.json()) if self.server.warning else answer.content
        self.send_response(answer.status_code)
        self.send_header("Content-Type", answer.headers.get("Content-Type", "application/json"))
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _warned(self, document: dict[str, Any]) -> bytes:
        return json.dumps({**document, "warnings": [self.server.warning]}).encode()

    def log_message(self, *args: object) -> None:
        """Say nothing."""


@contextmanager
def prometheus_proxy(upstream: str) -> Iterator[PrometheusProxy]:
    """A running proxy."""
    proxy = PrometheusProxy(upstream)
    thread = threading.Thread(target=proxy.serve_forever, name="prometheus proxy")
    thread.start()
    try:
        yield proxy
    finally:
        proxy.shutdown()
        proxy.server_close()
        thread.join()
