"""The open-loop load generator: arrivals come when they come, whether or not anything was answered.

TTFT counts from the *scheduled* arrival, so that neither a slow generator nor a slow connection flatters the fleet.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from engine.load.arrivals import Arrival
from engine.load.client import Client, Exchange, Target
from engine.load.host import HostProbe
from engine.load.live import LiveWindow, Stats
from engine.load.prompts import PromptForm, completion_body, prompt_json
from engine.load.records import JudgedObjectives, RequestRecord, RunEnd, RunStart, Status

_SHORTEST_SLEEP_S = 0.001
"""Event loops round shorter sleeps to nothing, and would spin."""


@dataclass(frozen=True, slots=True)
class LoadSettings:
    """What to send where, and how long to wait."""

    target: Target
    model: str
    objectives: JudgedObjectives = field(default_factory=JudgedObjectives)
    duration_s: float | None = None
    request_timeout_s: float = 300.0
    answer_timeout_s: float = 60.0
    max_model_len: int | None = None
    """Longer requests are shortened: the prompt first."""
    prompt_form: PromptForm = "words"
    source: str = ""
    seed: int = 0


@dataclass(slots=True)
class _Open:
    """A request under way."""

    exchange: Exchange
    arrival: Arrival
    due_s: float
    started_s: float
    timer: asyncio.TimerHandle


class Generator:
    """One run. `record` is given every settled request, `show` the statistics once a second."""

    def __init__(
        self,
        settings: LoadSettings,
        record: Callable[[RunStart | RequestRecord | RunEnd], None],
        show: Callable[[Stats], None],
    ) -> None:
        self._settings = settings
        self._record = record
        self._show = show
        self._client = Client(settings.target)
        self._probe = HostProbe()
        self._window = LiveWindow(settings.objectives)
        self._open: dict[int, _Open] = {}
        self._sent = 0
        self._tokens_settled = 0
        self._clipped = 0
        self._zero_s = 0.0
        self._zero_at = 0.0
        self._idle = asyncio.Event()
        self._stopped = asyncio.Event()
        self._stop_reason = ""

    def stop(self, reason: str) -> None:
        """End the run now: what is under way is written down as interrupted."""
        self._stop_reason = self._stop_reason or reason
        self._stopped.set()

    async def run(self, arrivals: Iterable[Arrival]) -> RunEnd:
        """Send everything, wait for the answers, write the end. Raises what reading `arrivals` raises."""
        iterator = iter(arrivals)
        first = next(iterator, None)
        self._zero_s, self._zero_at = time.monotonic(), time.time()
        settings = self._settings
        target = f"http://{settings.target.host}:{settings.target.port}"
        self._record(RunStart(self._zero_at, settings.source, settings.seed, target))
        work = [asyncio.create_task(w) for w in (self._drive(first, iterator), self._report(), self._stopping())]
        probing = asyncio.create_task(self._probe.watch())
        try:
            done, _ = await asyncio.wait(work, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in (*work, probing):
                task.cancel()
            await asyncio.gather(*work, probing, return_exceptions=True)
            self._abandon_rest()
            await self._client.close()
        return self._end()

    async def _stopping(self) -> None:
        await self._stopped.wait()

    async def _drive(self, first: Arrival | None, rest: Iterator[Arrival]) -> None:
        """Every arrival at its time, then the end of the duration, then the answers."""
        duration_s = self._settings.duration_s
        arrival = first
        while arrival is not None and (duration_s is None or arrival.at_s < duration_s):
            await self._sleep_until(arrival.at_s)
            self._send(arrival)
            arrival = next(rest, None)
        if duration_s is not None:
            await self._sleep_until(duration_s)
        await self._answers()

    async def _sleep_until(self, at_s: float) -> None:
        while (wait_s := self._zero_s + at_s - time.monotonic()) > 0:
            await asyncio.sleep(max(wait_s, _SHORTEST_SLEEP_S))

    async def _answers(self) -> None:
        if self._open:
            self._idle.clear()
            try:
                await asyncio.wait_for(self._idle.wait(), self._settings.answer_timeout_s)
            except TimeoutError:
                return

    def _send(self, arrival: Arrival) -> None:
        number, self._sent = self._sent, self._sent + 1
        arrival = self._fitted(arrival)
        settings = self._settings
        prompt = prompt_json(number + settings.seed * 1_000_003, arrival.prompt_tokens, settings.prompt_form)
        body = completion_body(settings.model, prompt, arrival.output_tokens)
        exchange = Exchange(settings.target.request(body), lambda: self._settled(number))
        due_s = self._zero_s + arrival.at_s
        loop = asyncio.get_running_loop()
        patience_s = settings.request_timeout_s
        timer = loop.call_later(patience_s, exchange.give_up, f"no complete answer within {patience_s:g} s")
        self._open[number] = _Open(exchange, arrival, due_s, time.monotonic() - due_s, timer)
        self._client.send(exchange)

    def _fitted(self, arrival: Arrival) -> Arrival:
        """The arrival within the model's context; the answer keeps at most half of it, the prompt takes the rest."""
        limit = self._settings.max_model_len
        if limit is None or arrival.prompt_tokens + arrival.output_tokens <= limit:
            return arrival
        self._clipped += 1
        output_tokens = min(arrival.output_tokens, max(1, limit // 2))
        return Arrival(arrival.at_s, min(arrival.prompt_tokens, limit - output_tokens), output_tokens)

    def _settled(self, number: int, status: Status | None = None) -> None:
        request = self._open.pop(number)
        request.timer.cancel()
        record = self._record_of(request, status)
        self._tokens_settled += record.tokens_out
        self._window.settle(time.monotonic(), record)
        self._record(record)
        if not self._open:
            self._idle.set()

    def _record_of(self, request: _Open, status: Status | None) -> RequestRecord:
        exchange, due_s = request.exchange, request.due_s
        end, first_at = exchange.stream.end(), exchange.stream.first_at
        streamed = first_at is not None and end.last_token_at is not None
        return RequestRecord(
            scheduled_at=round(self._zero_at + request.arrival.at_s, 6),
            started_s=round(request.started_s, 6),
            first_token_s=_since(due_s, first_at) if streamed else None,
            last_token_s=_since(due_s, end.last_token_at) if streamed else None,
            ended_s=round(time.monotonic() - due_s, 6),
            tokens_out=end.tokens if streamed else 0,
            asked_tokens=request.arrival.output_tokens,
            prompt_tokens=request.arrival.prompt_tokens,
            status=status or _status(exchange, complete=end.complete, streamed=streamed),
            http_status=exchange.http_status,
            error=(exchange.broken or end.error or exchange.refusal)[:300],
            body_bytes=exchange.stream.body_bytes,
        )

    def _abandon_rest(self) -> None:
        """What is still open when the run is over."""
        status = Status.INTERRUPTED if self._stop_reason else Status.UNANSWERED
        for number, request in list(self._open.items()):
            self._settled(number, status)
            request.exchange.abandon()

    async def _report(self) -> None:
        second = 0
        while True:
            self._show(self._stats())
            second += 1
            await self._sleep_until(second)

    def _stats(self) -> Stats:
        now_s = time.monotonic()
        waiting_s = (now_s - r.due_s for r in self._open.values() if r.exchange.stream.first_at is None)
        latencies = self._window.latencies(now_s, waiting_s)
        tokens = self._tokens_settled + sum(r.exchange.stream.events for r in self._open.values())
        offered_rps, output_tps = self._window.second(self._sent, tokens)
        return Stats(
            at=round(time.time(), 3),
            elapsed_s=round(now_s - self._zero_s, 3),
            requests=self._sent,
            inflight=len(self._open),
            failed=self._window.failed,
            truncated=self._window.truncated,
            offered_rps=round(offered_rps, 2),
            output_tps=round(output_tps, 1),
            attainment_ratio=self._window.attainment_ratio,
            window_attainment_ratio=latencies.attainment_ratio,
            ttft_p95_s=latencies.ttft_p95_s,
            tpot_p95_s=latencies.tpot_p95_s,
            loop_lag_p99_s=self._probe.loop_lag_p99_s,
            cpu_ratio=self._probe.cpu_ratio,
        )

    def _end(self) -> RunEnd:
        end = RunEnd(
            ended_at=time.time(),
            reason=self._stop_reason or "finished",
            requests=self._sent,
            tokens_out=self._tokens_settled,
            clipped=self._clipped,
            cpu_ratio=self._probe.cpu_ratio,
            loop_lag_p99_s=self._probe.loop_lag_p99_s,
            client_cpu_s=round(self._probe.client_cpu_s, 3),
        )
        self._record(end)
        return end


def _since(due_s: float, at_s: float | None) -> float | None:
    return None if at_s is None else round(at_s - due_s, 6)


def _status(exchange: Exchange, *, complete: bool, streamed: bool) -> Status:
    if not streamed:
        return Status.FAILED
    return Status.OK if complete and not exchange.broken else Status.TRUNCATED
