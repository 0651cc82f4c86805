"""A replica that starts in a moment and says of itself what it was told: `/told?waiting=90&gpu=95`.

It has vLLM's names and a card's busy percentage, and counters that run on, so that every reading is complete.
"""

from __future__ import annotations

import argparse
import os
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit

_BORN = time.monotonic()


class Told:
    """What it was told last."""

    running = 1.0
    waiting = 0.0
    gpu = 50.0
    ready_at = 0.0
    model = ""


def page() -> str:
    """The metrics page: one request/s finishes, with 100 prompt and 10 answer tokens."""
    count = time.monotonic() - _BORN
    own = f'engine="0",model_name="{Told.model}"'
    rows = [
        (f"vllm:num_requests_running{{{own}}}", Told.running),
        (f"vllm:num_requests_waiting{{{own}}}", Told.waiting),
        (f"vllm:kv_cache_usage_perc{{{own}}}", 0.1),
        (f'vllm:request_success_total{{{own},finished_reason="stop"}}', count),
        (f"vllm:prompt_tokens_total{{{own}}}", 100 * count),
        (f"vllm:prompt_tokens_cached_total{{{own}}}", 0.0),
        (f"vllm:generation_tokens_total{{{own}}}", 10 * count),
        ('DCGM_FI_DEV_GPU_UTIL{gpu="0"}', Told.gpu),
    ]
    rows += [(f'vllm:time_to_first_token_seconds_bucket{{{own},le="{le}"}}', count) for le in ("1.0", "+Inf")]
    return "".join(f"{name} {value}\n" for name, value in rows)


class Handler(BaseHTTPRequestHandler):
    """GET only."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        if parts.path == "/told":
            for name, value in parse_qsl(parts.query):
                setattr(Told, name, float(value))
        status = 503 if parts.path == "/health" and time.monotonic() < Told.ready_at else 200
        content = (page() if parts.path == "/metrics" else f"{os.getpid()}\n").encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *args: object) -> None:
        """Say nothing."""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--ready-after", type=float, default=0.0)
    options = parser.parse_args()
    Told.ready_at, Told.model = _BORN + options.ready_after, options.model
    server = ThreadingHTTPServer(("127.0.0.1", options.port), Handler)
    threading.current_thread().name = "replica"
    server.serve_forever()


if __name__ == "__main__":
    main()
