"""A server with Prometheus's query API that answers what a test tells it: for faults that a real one cannot make."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from controller.model.fleet import Fleet
from controller.observe.queries import LEG, Query, Scope, exposed_names, tick_queries
from engine.metrics import family_markers, family_of

NOW_S = 1_700_000_000.5
Rows = list[tuple[dict[str, str], float]]

STEADY: Mapping[str, float] = {
    "engines": 2,
    "distinct": 2,
    "replicas": 2,
    "age": 1.5,
    "running": 12,
    "waiting": 4,
    "before": 15,
    "before_replicas": 2,
    "before_age": 1.0,
    "kv_avg": 0.5,
    "kv_max": 0.75,
    "itl_sum": 32,
    "itl_count": 1600,
    "prompt": 800,
    "cached": 200,
    "generated": 1600,
    "finished": 8,
    "steps": 100,
    "preemptions": 1,
    "gpu": 0.6,
    "gpu_memory": 0.9,
    "gpu_age": 5.0,
}
"""One variant's numbers by leg."""


class AnsweringServer:
    """`respond(promql, evaluated at)` makes status and body of every query."""

    def __init__(self, respond: Callable[[str, float], tuple[int, bytes]]) -> None:
        self.respond = respond
        self.asked: list[str] = []
        self.drip_s = 0.0
        """Pause between the bytes of an answer."""
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_GET(self) -> None:
                asked = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
                outer.asked.append(asked["query"])
                status, body = outer.respond(asked["query"], float(asked.get("time", NOW_S)))
                try:
                    self._send(status, body)
                except OSError:
                    self.close_connection = True

            def _send(self, status: int, body: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if not outer.drip_s:
                    self.wfile.write(body)
                    return
                for at in range(len(body)):
                    self.wfile.write(body[at : at + 1])
                    time.sleep(outer.drip_s)

            def log_message(self, *args: object) -> None:
                """Quiet."""

        return Handler


def success(result: Any, kind: str = "vector", **more: Any) -> tuple[int, bytes]:
    """An answer of Prometheus's API."""
    return 200, json.dumps({"status": "success", "data": {"resultType": kind, "result": result}, **more}).encode()


def vector(rows: Rows, at_s: float) -> list[dict[str, Any]]:
    """The rows of an instant vector."""
    return [{"metric": labels, "value": [at_s, str(value)]} for labels, value in rows]


class SteadyAnswers:
    """What a healthy Prometheus answers about fleets that all read the same. `more` is put beside every answer's data,
    `change(query name, rows)` may spoil the rows.
    """

    def __init__(
        self,
        fleets: Sequence[Fleet],
        scope: Scope,
        *,
        numbers: Mapping[str, float] = STEADY,
        more: Mapping[str, Any] | None = None,
        change: Callable[[str, Rows], Rows] = lambda _name, rows: rows,
    ) -> None:
        ttft = {fleet.spec.objectives.ttft.threshold for fleet in fleets}
        tpot = {fleet.spec.objectives.tpot.threshold for fleet in fleets}
        queries = (*tick_queries(scope, ttft, tpot), exposed_names(scope))
        self._rows = {
            query.promql: change(query.name, list(_rows(query, fleets, numbers, ttft | tpot))) for query in queries
        }
        self._more = more or {}

    def __call__(self, promql: str, at_s: float) -> tuple[int, bytes]:
        """Status and body for one query."""
        if promql == "time()":
            return success([NOW_S, str(NOW_S)], "scalar")
        return success(vector(self._rows[promql], at_s), **self._more)


def _rows(
    query: Query, fleets: Sequence[Fleet], numbers: Mapping[str, float], edges: Iterable[float]
) -> Iterable[tuple[dict[str, str], float]]:
    if query.name == "refused":
        for fleet in fleets:
            cluster = {"envoy_cluster_name": f"{fleet.key}/v1"}
            yield {**cluster, LEG: "refused"}, 0.0
            yield {**cluster, LEG: "refused_age"}, 2.0
        return
    for fleet in fleets:
        for variant in fleet.spec.variants:
            labels = {
                "namespace": fleet.metadata.namespace,
                "model_name": fleet.spec.model_name,
                "variant": variant.name,
            }
            yield from ((labels | extra, value) for extra, value in _split(query, numbers, edges))


def _split(
    query: Query, numbers: Mapping[str, float], edges: Iterable[float]
) -> Iterable[tuple[dict[str, str], float]]:
    if query.split == LEG:
        return [({LEG: leg}, numbers[leg]) for leg in query.legs]
    if query.split == "le":
        return [*(({"le": str(edge)}, 6.0) for edge in edges), ({"le": "+Inf"}, 8.0)]
    if query.split == "num_gpu_blocks":
        return [({"num_gpu_blocks": "100", "block_size": "16"}, 2.0)]
    return [({"__name__": name}, 1.0) for name in family_markers() if family_of([name], [name]).endswith("newer")]
