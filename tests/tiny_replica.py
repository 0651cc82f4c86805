"""A replica small enough to start in a moment: /health, /metrics with two of vLLM's gauges, and a slow stream.

It ends at once on SIGTERM: whoever sends that while a stream runs has cut the stream.
"""

from __future__ import annotations

import argparse
import os
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit


class State:
    """What the handler answers with."""

    ready_at = 0.0
    running = 0
    health = 200
    lock = threading.Lock()


class Handler(BaseHTTPRequestHandler):
    """GET only; `/stream?tokens=20&pause=0.05` streams one line for each token, `/health?set=500` turns ill."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        if parts.path == "/stream":
            self.stream(int(query.get("tokens", 20)), float(query.get("pause", 0.05)))
        elif parts.path == "/health":
            State.health = int(query.get("set", State.health))
            self.answer(State.health if time.monotonic() >= State.ready_at else 503, "")
        elif parts.path == "/metrics":
            labels = '{engine="0",model_name="tiny"}'
            page = f"vllm:num_requests_running{labels} {State.running}\nvllm:num_requests_waiting{labels} 0\n"
            self.answer(200, page)
        else:
            self.answer(200, f"{os.getpid()}")

    def answer(self, status: int, text: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def stream(self, tokens: int, pause_s: float) -> None:
        with State.lock:
            State.running += 1
        try:
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for number in range(tokens):
                line = f"{number}\n".encode()
                self.wfile.write(f"{len(line):x}\r\n".encode() + line + b"\r\n")
                time.sleep(pause_s)
            self.wfile.write(b"0\r\n\r\n")
        finally:
            with State.lock:
                State.running -= 1

    def log_message(self, *args: object) -> None:
        """Say nothing."""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--ready-after", type=float, default=0.0)
    parser.add_argument("--die-after", type=float)
    options = parser.parse_args()
    State.ready_at = time.monotonic() + options.ready_after
    if options.die_after is not None:
        time.sleep(options.die_after)
        raise SystemExit("no GPU in this machine")
    ThreadingHTTPServer(("127.0.0.1", options.port), Handler).serve_forever()


if __name__ == "__main__":
    main()
