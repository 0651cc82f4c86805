"""The HTTP face of one simulated vLLM server."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address
from itertools import count

from aiohttp import web
from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector, generate_latest
from pydantic import ValidationError

from engine.profile import EngineLimits
from engine.serve.answers import DONE, Answer, Collected, Envelope, Streamed
from engine.serve.asked import Asked, Kind, read_asked
from engine.serve.errors import ApiError, unknown_model
from engine.serve.exposition import CONTENT_TYPE, render
from engine.serve.faults import GARBAGE, FaultOrder, Faults
from engine.serve.http_counters import HttpCounters, counting
from engine.serve.lengths import AnswerLengths
from engine.serve.page import CallCounters, EnginePage, card_families
from engine.serve.realtime import RealTimeEngine, Sink
from engine.serve.token_text import text_tokens
from engine.sim.interface import EngineModel, Finished, Request

VLLM_VERSION = "0.32.0"
"""The version whose behaviour is imitated."""
MAX_BODY_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class GpuCard:
    """What DCGM would say of the card."""

    accelerator: str
    hostname: str
    memory_mib: float

    def labels(self) -> dict[str, str]:
        """Labels as the DCGM exporter sets them."""
        name = f"NVIDIA {self.accelerator.upper()}"
        uuid_ = f"GPU-{uuid.uuid5(uuid.NAMESPACE_DNS, self.hostname)}"
        return {"gpu": "0", "UUID": uuid_, "device": "nvidia0", "modelName": name, "Hostname": self.hostname}

    def memory_used_free_mib(self) -> tuple[float, float]:
        """VLLM reserves 92 % at start and keeps it."""
        used = float(round(self.memory_mib * 0.92))
        return used, self.memory_mib - used


@dataclass(slots=True)
class Server:
    """Everything that the handlers share. Made inside the running event loop."""

    model_name: str
    limits: EngineLimits
    model: EngineModel
    card: GpuCard
    lengths: AnswerLengths
    faults: Faults | None = None
    started_at: float = field(default_factory=time.time)
    engine: RealTimeEngine = field(init=False)
    calls: CallCounters = field(init=False)
    http: HttpCounters = field(init=False)
    page: EnginePage = field(init=False)
    registry: CollectorRegistry = field(init=False)
    load: int = 0
    sequence_ids: Iterator[int] = field(default_factory=count)

    def __post_init__(self) -> None:
        self.engine = RealTimeEngine(self.model, asyncio.get_running_loop())
        self.calls = CallCounters.for_context(self.limits.max_model_len)
        self.http = HttpCounters(self.started_at)
        self.page = EnginePage(self.model_name, self.limits, self.calls, self.started_at)
        self.registry = CollectorRegistry()
        GCCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        ProcessCollector(registry=self.registry)

    def app(self) -> web.Application:
        """The routes."""
        app = web.Application(middlewares=[counting(self.http)], client_max_size=MAX_BODY_BYTES)
        app.router.add_post("/v1/completions", self._completions)
        app.router.add_post("/v1/chat/completions", self._chat)
        app.router.add_post("/tokenize", self._tokenize)
        app.router.add_get("/v1/models", self._models)
        app.router.add_get("/health", self._health)
        app.router.add_route("*", "/ping", self._health)
        app.router.add_get("/load", self._load)
        app.router.add_get("/version", self._version)
        app.router.add_get("/metrics", self._metrics)
        if self.faults is not None:
            app.router.add_post("/faults", self._set_faults)
            app.router.add_get("/faults", self._show_faults)
        return app

    async def _completions(self, request: web.Request) -> web.StreamResponse:
        return await self._answer("completion", request)

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        return await self._answer("chat", request)

    async def _answer(self, kind: Kind, request: web.Request) -> web.StreamResponse:
        asked = read_asked(kind, await request.read(), self.limits.max_model_len)
        if asked.model is not None and asked.model != self.model_name:
            raise unknown_model(asked.model)
        request_id = request.headers.get("X-Request-Id") or uuid.uuid4().hex
        envelope = Envelope.of(asked, request_id, self.model_name)
        self.load += 1
        try:
            return await (self._stream(request, envelope) if asked.stream else self._whole(envelope))
        finally:
            self.load -= 1

    async def _whole(self, envelope: Envelope) -> web.Response:
        answer = Answer(len(envelope.asked.prompts) * envelope.asked.n)
        await self._generate(envelope, answer, [Collected(answer, i) for i in range(answer.sequences)])
        return web.Response(body=envelope.whole(answer.ends), content_type="application/json")

    async def _stream(self, request: web.Request, envelope: Envelope) -> web.StreamResponse:
        answer = Answer(len(envelope.asked.prompts) * envelope.asked.n)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8"})
        frame = _plain
        if request.version >= (1, 1):
            response.enable_chunked_encoding()
            frame = _chunk
        await response.prepare(request)
        # One write a token straight to the connection: the response object takes over again for the end.
        if request.transport is None:
            raise ConnectionResetError
        write = request.transport.write
        sinks = [Streamed(answer, i, envelope, write, frame) for i in range(answer.sequences)]
        await self._generate(envelope, answer, sinks)
        if envelope.asked.include_usage:
            await response.write(envelope.usage_event(answer.ends))
        await response.write(DONE)
        await response.write_eof()
        return response

    async def _generate(self, envelope: Envelope, answer: Answer, sinks: Sequence[Sink]) -> None:
        """Run all sequences of one call; a client that goes away cancels them."""
        ids = [str(next(self.sequence_ids)) for _ in range(answer.sequences)]
        try:
            for index, (name, sink) in enumerate(zip(ids, sinks, strict=True)):
                self._submit(name, envelope.asked, index, sink)
            await answer.done
        finally:
            if not answer.done.done() or answer.done.cancelled():
                for name in ids:
                    self.engine.abort(name)
        self._count_call(envelope.asked, answer.ends)

    def _submit(self, name: str, asked: Asked, index: int, sink: Sink) -> None:
        prompt = asked.prompts[index // asked.n]
        allowed = asked.allowed_tokens(prompt, self.limits.max_model_len)
        output = self.lengths.draw(asked, allowed)
        self.engine.submit(Request(name, prompt, output, max_tokens=allowed), sink)

    def _count_call(self, asked: Asked, ends: list[Finished]) -> None:
        for first in range(0, len(ends), asked.n):
            group = ends[first : first + asked.n]
            self.calls.finished(asked.n, max(end.output_tokens for end in group))

    async def _tokenize(self, request: web.Request) -> web.Response:
        try:
            body = await request.json()
            tokens = text_tokens(body["prompt"])
        except (ValueError, TypeError, KeyError, AttributeError):
            raise ApiError(400, 'Send {"model": ..., "prompt": "text"}.', param="prompt") from None
        known = {"count": tokens, "max_model_len": self.limits.max_model_len}
        return web.json_response({**known, "tokens": list(range(tokens)), "token_strs": None})

    async def _models(self, _: web.Request) -> web.Response:
        model = {
            "id": self.model_name,
            "object": "model",
            "created": int(self.started_at),
            "owned_by": "vllm",
            "root": self.model_name,
            "parent": None,
            "max_model_len": self.limits.max_model_len,
            "permission": [],
        }
        return web.json_response({"object": "list", "data": [model]})

    async def _health(self, _: web.Request) -> web.Response:
        return web.Response(status=503 if self.faults is not None and self.faults.dead else 200)

    async def _load(self, _: web.Request) -> web.Response:
        return web.json_response({"server_load": self.load})

    async def _version(self, _: web.Request) -> web.Response:
        return web.json_response({"version": VLLM_VERSION})

    async def _metrics(self, _: web.Request) -> web.Response:
        headers = {"Content-Type": CONTENT_TYPE}
        while self.faults is not None and self.faults.metrics == "hang":
            await asyncio.sleep(0.2)
        if self.faults is not None and self.faults.metrics == "garbage":
            return web.Response(body=GARBAGE.encode(), headers=headers)
        return web.Response(body=self.metrics_page(), headers=headers)

    def metrics_page(self) -> bytes:
        """What a scrape gets."""
        snapshot = self.engine.snapshot()
        families = self.page.families(snapshot) + self.http.families()
        busy_ratio = self.engine.busy_ratio(snapshot)
        families += card_families(self.card.labels(), busy_ratio, self.card.memory_used_free_mib())
        if self.faults is not None:
            families = self.faults.distort(families)
        return generate_latest(self.registry) + render(families).encode()

    async def _set_faults(self, request: web.Request) -> web.Response:
        faults = self._faults_for(request)
        try:
            faults.apply(FaultOrder.model_validate_json(await request.read()))
        except ValidationError as error:
            raise ApiError(400, "; ".join(f"{e['loc']}: {e['msg']}" for e in error.errors())) from None
        return web.json_response(faults.state())

    async def _show_faults(self, request: web.Request) -> web.Response:
        return web.json_response(self._faults_for(request).state())

    def _faults_for(self, request: web.Request) -> Faults:
        if self.faults is None or request.remote is None or not ip_address(request.remote).is_loopback:
            raise ApiError(403, "Faults are switched from loopback only.", "Forbidden")
        return self.faults


def _plain(event: bytes) -> bytes:
    return event


def _chunk(event: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(event), event)
