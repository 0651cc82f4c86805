"""Tiny HTTP servers on loopback that say which version they are."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self

VERSION_HEADER = "x-served-by"


class Backends:
    """One server for each version; it answers every GET and POST with 200 and its version, in a header too."""

    def __init__(self, versions: Sequence[str] = ("v1", "v2")) -> None:
        self._servers = {version: ThreadingHTTPServer(("127.0.0.1", 0), _handler(version)) for version in versions}
        self._threads = [
            threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
            for server in self._servers.values()
        ]

    @property
    def ports(self) -> Mapping[str, Sequence[int]]:
        """The ports of each version."""
        return {version: (server.server_port,) for version, server in self._servers.items()}

    def __enter__(self) -> Self:
        for server in self._servers.values():
            server.daemon_threads = True
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for server in self._servers.values():
            server.shutdown()
            server.server_close()
        for thread in self._threads:
            thread.join()


def _handler(version: str) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            self._answer()

        def do_POST(self) -> None:
            self._answer()

        def _answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.send_response(200)
            self.send_header(VERSION_HEADER, version)
            self.send_header("Content-Length", str(len(version)))
            self.end_headers()
            self.wfile.write(version.encode())

        def log_message(self, *args: object) -> None:
            """Quiet."""

    return Handler
