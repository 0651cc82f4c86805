"""Counters of HTTP calls as vLLM's server keeps them: by route, method and status class, counted when a call ends."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from engine.metric_rows import HTTP, HTTP_FINE
from engine.serve.errors import ApiError, error_response
from engine.serve.exposition import Family, Sample, histogram_samples, labelled
from engine.sim.counters import Tally

UNCOUNTED = frozenset({"/health", "/metrics", "/ping", "/load", "/version", "/server_info", "/faults"})
UNMATCHED = "none"


@dataclass(slots=True)
class _Size:
    count: int = 0
    bytes: int = 0

    def add(self, size: int) -> None:
        self.count += 1
        self.bytes += size


@dataclass(slots=True)
class HttpCounters:
    """One server's calls."""

    started_at: float
    _calls: dict[tuple[str, str, str], int] = field(default_factory=dict)
    _first_at: dict[tuple[str, ...], float] = field(default_factory=dict)
    _received: dict[str, _Size] = field(default_factory=dict)
    _sent: dict[str, _Size] = field(default_factory=dict)
    _times: dict[tuple[str, str], Tally] = field(default_factory=dict)
    _all_times: Tally = field(default_factory=lambda: Tally(HTTP_FINE))

    def record(self, request: web.Request, status: int, response_bytes: int, duration_s: float) -> None:
        """Count one call that ended."""
        handler, method = handler_of(request), request.method
        if handler in UNCOUNTED:
            return
        key = (handler, method, f"{status // 100}xx")
        now = time.time()
        self._calls[key] = self._calls.get(key, 0) + 1
        for first in (key, (handler,), (handler, method)):
            self._first_at.setdefault(first, now)
        self._received.setdefault(handler, _Size()).add(request.content_length or 0)
        self._sent.setdefault(handler, _Size()).add(response_bytes)
        self._times.setdefault((handler, method), Tally(HTTP)).observe(duration_s)
        self._all_times.observe(duration_s)

    def families(self) -> list[Family]:
        """Everything counted, in exposition form."""
        families = [
            Family("http_requests_total", "counter", [(labels, float(n)) for labels, n in self._call_samples()]),
            self._created("http_requests_created", 3),
        ]
        for name, sizes in (("http_request_size_bytes", self._received), ("http_response_size_bytes", self._sent)):
            families += [Family(name, "summary", _size_samples(sizes)), self._created(f"{name}_created", 1)]
        name = "http_request_duration_highr_seconds"
        families += [
            Family(name, "histogram", histogram_samples({}, self._all_times.freeze())),
            Family(f"{name}_created", "gauge", [("", self.started_at)]),
        ]
        times = [s for key, tally in self._times.items() for s in histogram_samples(_route(key), tally.freeze())]
        name = "http_request_duration_seconds"
        return [*families, Family(name, "histogram", times), self._created(f"{name}_created", 2)]

    def _call_samples(self) -> list[tuple[str, int]]:
        return [(labelled(_call(key)), n) for key, n in self._calls.items()]

    def _created(self, name: str, length: int) -> Family:
        makers = {1: lambda key: {"handler": key[0]}, 2: _route, 3: _call}
        make = makers[length]
        return Family(name, "gauge", [(labelled(make(k)), at) for k, at in self._first_at.items() if len(k) == length])


def counting(counters: HttpCounters) -> Middleware:
    """Middleware that counts every call and words errors as vLLM does."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        began_at = time.perf_counter()
        try:
            response = await handler(request)
        except ApiError as error:
            response = error.response()
        except web.HTTPException as error:
            response = error_response(error.status, error.reason, error.reason)
        except asyncio.CancelledError:  # the client went away: vLLM counts that as 2xx
            counters.record(request, 200, 0, time.perf_counter() - began_at)
            raise
        counters.record(request, response.status, response.content_length or 0, time.perf_counter() - began_at)
        return response

    return middleware


def handler_of(request: web.Request) -> str:
    """The route's path; "none" where no route or method matches."""
    resource = request.match_info.route.resource
    return UNMATCHED if resource is None else resource.canonical


def _call(key: tuple[str, ...]) -> dict[str, str]:
    return {"handler": key[0], "method": key[1], "status": key[2]}


def _route(key: tuple[str, ...]) -> dict[str, str]:
    return {"handler": key[0], "method": key[1]}


def _size_samples(sizes: dict[str, _Size]) -> list[Sample]:
    samples: list[Sample] = []
    for handler, size in sizes.items():
        labels = labelled({"handler": handler})
        samples += [(f"_count{labels}", float(size.count)), (f"_sum{labels}", float(size.bytes))]
    return samples
