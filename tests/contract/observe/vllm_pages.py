"""vLLM metrics pages whose counters grow at known rates, and tiny HTTP servers that serve them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self

Lines = Iterator[str]


@dataclass(frozen=True)
class Engine:
    """One engine in a steady state; rates per second, counters start at zero with the engine."""

    model: str
    running: float = 6.0
    waiting: float = 2.0
    kv_usage: float = 0.25
    blocks: int = 100
    block_size: int = 16
    finished: float = 4.0
    prompt: float = 400.0
    cached: float = 100.0
    generated: float = 800.0
    preemptions: float = 0.5
    steps: float = 50.0
    ttft_within: float = 0.75
    tpot_within: float = 0.5
    itl_s: float = 0.02
    gpu_percent: float = 40.0
    rename: dict[str, str] = field(default_factory=dict)
    hidden: tuple[str, ...] = ()

    def page(self, age_s: float) -> str:
        """The page after so many seconds of life."""
        text = "\n".join(line for line in self._lines(age_s) if not line.startswith(self.hidden or ("\0",))) + "\n"
        for new, old in self.rename.items():
            text = text.replace(new, old)
        return text

    def _lines(self, age_s: float) -> Lines:
        base = f'engine="0",model_name="{self.model}"'
        yield "# TYPE vllm:num_requests_running gauge"
        yield f"vllm:num_requests_running{{{base}}} {self.running}"
        yield f"vllm:num_requests_waiting{{{base}}} {self.waiting}"
        yield f"vllm:kv_cache_usage_perc{{{base}}} {self.kv_usage}"
        info = f'engine="0",num_gpu_blocks="{self.blocks}",block_size="{self.block_size}",cache_dtype="auto"'
        yield f"vllm:cache_config_info{{{info}}} 1.0"
        yield f'vllm:request_success_total{{{base},finished_reason="stop"}} {self.finished * age_s * 0.5}'
        yield f'vllm:request_success_total{{{base},finished_reason="length"}} {self.finished * age_s * 0.5}'
        yield f"vllm:prompt_tokens_total{{{base}}} {self.prompt * age_s}"
        yield f"vllm:prompt_tokens_cached_total{{{base}}} {self.cached * age_s}"
        yield f"vllm:generation_tokens_total{{{base}}} {self.generated * age_s}"
        yield f"vllm:num_preemptions_total{{{base}}} {self.preemptions * age_s}"
        yield f"vllm:iteration_tokens_total_sum{{{base}}} {self.generated * age_s}"
        yield f"vllm:iteration_tokens_total_count{{{base}}} {self.steps * age_s}"
        yield from _histogram(
            "time_to_first_token_seconds", base, self.finished * age_s, self.ttft_within, "1.0", "2.5"
        )
        tpot = "request_time_per_output_token_seconds"
        yield from _histogram(tpot, base, self.finished * age_s, self.tpot_within, "0.05", "0.1")
        yield from _histogram("inter_token_latency_seconds", base, self.generated * age_s, 0.9, "0.05", "0.1")
        yield f"vllm:inter_token_latency_seconds_sum{{{base}}} {self.generated * self.itl_s * age_s}"
        yield f'DCGM_FI_DEV_GPU_UTIL{{gpu="0",UUID="GPU-0"}} {self.gpu_percent}'
        yield 'DCGM_FI_DEV_FB_USED{gpu="0",UUID="GPU-0"} 40000'
        yield 'DCGM_FI_DEV_FB_FREE{gpu="0",UUID="GPU-0"} 10000'


def _histogram(name: str, base: str, count: float, within: float, edge: str, later: str) -> Lines:
    for le, value in ((edge, count * within), (later, count), ("+Inf", count)):
        yield f'vllm:{name}_bucket{{{base},le="{le}"}} {value}'
    yield f"vllm:{name}_count{{{base}}} {count}"


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


class PageServer:
    """One replica's HTTP server. What it serves can be changed at any time."""

    def __init__(self, page: Callable[[float], str]) -> None:
        self.page = page
        self.born_at = time.monotonic()
        self.hangs = threading.Event()
        self.closed = False
        self._released = threading.Event()
        self._server = _Server(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    @property
    def address(self) -> str:
        """host:port."""
        return f"127.0.0.1:{self._server.server_port}"

    def restart(self) -> None:
        """The process was replaced: counters begin at zero again."""
        self.born_at = time.monotonic()

    def close(self) -> None:
        """Stop serving."""
        self.closed = True
        self._released.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if outer.hangs.is_set():
                    outer._released.wait(30)
                    return
                body = outer.page(time.monotonic() - outer.born_at).encode()
                self.send_response(200)
                self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: object) -> None:
                """Quiet."""

        return Handler


def engine_server(model: str, **changes: object) -> PageServer:
    """A server of one steady engine."""
    engine = replace(Engine(model), **changes)  # type: ignore[arg-type]
    return PageServer(engine.page)
