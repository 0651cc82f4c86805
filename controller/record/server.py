"""The daemon's face: health, metrics, JSON API and the live page. Reads only; listens on loopback unless told."""

from __future__ import annotations

import errno
import socket
import sys
import threading
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import structlog

from controller.errors import UsageError
from controller.record.board import StatusBoard
from controller.record.facts import DaemonFacts
from controller.record.router import Answer, Router, problem

_log = structlog.get_logger("governor")
_REQUEST_TIMEOUT_S = 10.0
_THREADS_MAX = 32
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class StatusServer:
    """The HTTP server in threads of its own. Use `start`, then `url`; `stop` when done."""

    def __init__(
        self,
        board: StatusBoard,
        facts: Callable[[], DaemonFacts],
        host: str = "127.0.0.1",
        port: int = 0,
        client_stats: Path | None = None,
    ) -> None:
        """Bind the port. Raises UsageError when it is taken or the address is not this machine's."""
        router = Router(board, facts, client_stats)
        try:
            self._server = _BoundedServer((host, port), _handler(router))
        except OSError as error:
            raise UsageError(_bind_problem(error, host, port)) from error
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), name="status", daemon=True)

    @property
    def url(self) -> str:
        """Where it listens, as a browser takes it."""
        host, port = self._server.server_address[:2]
        name = str(host)
        return f"http://[{name}]:{port}" if ":" in name else f"http://{name}:{port}"

    def start(self) -> None:
        """Answer from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Stop answering and free the port."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()


def _bind_problem(error: OSError, host: str, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {port} on {host} is in use: stop what listens there, or choose another port (0 takes a free one)"
    if error.errno == errno.EACCES:
        return f"port {port} on {host} needs privileges: choose one above 1023"
    return f"cannot listen on {host}:{port}: {error.strerror or error}; choose an address of this machine"


class _BoundedServer(ThreadingHTTPServer):
    """So many requests at once and no more: the rest is turned away before it costs anything."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self._slots = threading.BoundedSemaphore(_THREADS_MAX)
        super().__init__(address, handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        if self._slots.acquire(timeout=1.0):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._slots.release()

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - the base class's signature
        """A client that went away is no event; anything else is a defect."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            _log.exception("request failed: defect", client=str(client_address))


def _handler(router: Router) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        """One request and its answer; no connection is kept."""

        timeout = _REQUEST_TIMEOUT_S
        server_version = "governor"
        sys_version = ""

        def do_GET(self) -> None:
            self._send(router.answer(self.path))

        do_HEAD = do_GET  # noqa: N815 - a name that the base class looks for

        def _refuse(self) -> None:
            self._send(problem(HTTPStatus.METHOD_NOT_ALLOWED, "this address is for reading: use GET"))

        do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = _refuse  # noqa: N815 - as above

        def _send(self, answer: Answer) -> None:
            self.send_response(answer.status)
            self.send_header("Content-Type", answer.kind)
            self.send_header("Content-Length", str(len(answer.body)))
            if answer.status is HTTPStatus.METHOD_NOT_ALLOWED:
                self.send_header("Allow", "GET, HEAD")
            for name, value in _HEADERS.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(answer.body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
            """Requests are no events."""

    return Handler
