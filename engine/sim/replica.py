"""One vLLM replica, step by step: pure Python, seeded, on a virtual clock."""

from __future__ import annotations

import heapq
from collections.abc import Sequence as Many
from random import Random

from engine.sim.card import Card
from engine.sim.counters import EngineCounters
from engine.sim.interface import EngineSnapshot, Finished, Request, StepEvents
from engine.sim.scheduler import Batch, Scheduler
from engine.sim.sequence import Sequence


class Replica:
    """The reference `EngineModel`: every step is computed by itself, every token costs about a microsecond.

    A step begins when the one before ends, or when a request enters an idle engine, and lasts
    T = a + b*P + e*A + c*B + d*K times lognormal noise of mean 1. It is scheduled when it begins; whatever arrives
    meanwhile waits for the next. A step that completes a prompt also brings its first token.
    """

    def __init__(self, card: Card, seed: int | str, start_at: float = 0.0) -> None:
        self._card = card
        self._rng = Random(f"steps:{seed}")
        self._scheduler = Scheduler(card.limits, card.prefix_hit_ratio)
        self._counters = EngineCounters(card.limits.max_model_len)
        self._arriving: list[tuple[float, int, Sequence]] = []
        """Heap of (when it enters the scheduler's queue, order of submission, sequence)."""
        self._live: dict[str, Sequence] = {}
        self._submitted = 0
        self._now = start_at
        self._batch: Batch | None = None
        self._began_at = start_at
        self._ends_at = start_at
        self._busy_s = 0.0
        self._aborts = False

    @property
    def now(self) -> float:
        """The virtual clock."""
        return self._now

    def submit(self, request: Request, at: float) -> None:
        """See `EngineModel.submit`."""
        limits = self._card.limits
        if at < self._now:
            raise ValueError(f"request {request.id} arrives at {at}, before the clock ({self._now})")
        if not 1 <= request.prompt_tokens < limits.max_model_len or request.output_tokens < 1:
            raise ValueError(f"request {request.id} does not fit: 1 <= prompt < {limits.max_model_len}, output >= 1")
        if request.id in self._live:
            raise ValueError(f"request {request.id} is already here")
        seq = Sequence(request, at, at + self._card.api_overhead_s, limits.max_model_len)
        self._live[request.id] = seq
        self._submitted += 1
        heapq.heappush(self._arriving, (seq.queued_at, self._submitted, seq))

    def abort(self, request_id: str, at: float) -> None:
        """See `EngineModel.abort`."""
        if at < self._now:
            raise ValueError(f"request {request_id} cannot be aborted at {at}, before the clock ({self._now})")
        seq = self._live.pop(request_id, None)
        if seq is None:
            return
        seq.aborted = True
        if seq in self._scheduler.waiting:
            self._scheduler.waiting.remove(seq)
        self._aborts = True

    def next_event_at(self) -> float | None:
        """See `EngineModel.next_event_at`."""
        if self._batch is not None:
            return self._ends_at
        return max(self._arriving[0][0], self._now) if self._arriving else None

    def advance_to(self, t: float) -> Many[StepEvents]:
        """See `EngineModel.advance_to`."""
        if t < self._now:
            raise ValueError(f"the clock stands at {self._now} and cannot go back to {t}")
        events: list[StepEvents] = []
        while (at := self.next_event_at()) is not None and at <= t:
            self._now = at
            self._enqueue(at)
            if self._batch is not None:
                events.append(self._end_step(self._batch, at))
            self._begin_step(at)
        self._now = t
        return events

    def snapshot(self) -> EngineSnapshot:
        """See `EngineModel.snapshot`. As in vLLM, who arrived during a step is waiting only when it ends."""
        counters, scheduler = self._counters, self._scheduler
        unfinished_s = self._ends_at - self._now if self._batch is not None else 0.0
        return EngineSnapshot(
            at=self._now,
            running=sum(not seq.aborted for seq in scheduler.running),
            waiting=len(scheduler.waiting),
            kv_usage_ratio=scheduler.kv_usage_ratio,
            busy_s=self._busy_s - unfinished_s,
            preemptions=counters.preemptions,
            prompt_tokens=counters.prompt_tokens,
            cached_tokens=counters.cached_tokens,
            generation_tokens=counters.generation_tokens,
            prefix_queries=counters.prefix_queries,
            prefix_hits=counters.prefix_hits,
            finished=dict(counters.finished),
            histograms=counters.histograms(),
        )

    def _enqueue(self, at: float) -> None:
        while self._arriving and self._arriving[0][0] <= at:
            seq = heapq.heappop(self._arriving)[2]
            if not seq.aborted:
                self._scheduler.waiting.append(seq)

    def _begin_step(self, at: float) -> None:
        batch = self._scheduler.schedule()
        self._batch = None if batch.empty else batch
        if batch.empty:
            return
        for seq in batch.admitted:
            seq.scheduled_at = at
            self._counters.prefix_queries += seq.prompt
            self._counters.prefix_hits += seq.cached
        self._counters.preemptions += len(batch.preempted)
        self._began_at = at
        duration_s = self._step_s(batch)
        self._busy_s += duration_s
        self._ends_at = at + duration_s

    def _step_s(self, batch: Batch) -> float:
        law_s = self._card.law.step_s(
            batch.prefill_tokens, batch.attention_tokens2, len(batch.decoding), batch.kv_tokens
        )
        sigma = self._card.noise_ratio
        return law_s * self._rng.lognormvariate(-sigma * sigma / 2, sigma) if sigma else law_s

    def _end_step(self, batch: Batch, at: float) -> StepEvents:
        ended: list[Sequence] = []
        tokens = self._end_decodes(batch, at, ended)
        first = self._end_chunks(batch, at, tokens, ended)
        if tokens:
            self._counters.generation_tokens += len(tokens)
            self._counters.iteration_tokens.observe(len(tokens) + sum(seq.prompt - seq.cached for seq in first))
        finished = [self._finish(seq, at) for seq in ended]
        if ended or self._aborts:
            self._drop_gone()
        return StepEvents(at, tokens, [seq.id for seq in first], finished, [seq.id for seq in batch.preempted])

    def _end_decodes(self, batch: Batch, at: float, ended: list[Sequence]) -> list[str]:
        """One token for every decoding sequence; the hot loop. Tokens of steps that follow each other share a gap."""
        tokens: list[str] = []
        began_at, steady = self._began_at, 0
        for seq in batch.decoding:
            if seq.aborted:
                continue
            seq.computed += 1
            seq.total += 1
            seq.left -= 1
            if seq.last_at == began_at:
                steady += 1
            else:
                self._counters.itl.observe(at - seq.last_at)
            seq.last_at = at
            tokens.append(seq.id)
            if not seq.left:
                ended.append(seq)
        if steady:
            self._counters.itl.observe(at - began_at, steady)
        return tokens

    def _end_chunks(self, batch: Batch, at: float, tokens: list[str], ended: list[Sequence]) -> list[Sequence]:
        """Advance prompts; those completed get a token. Returns the sequences for which it was the first."""
        first: list[Sequence] = []
        for seq, chunk in batch.prefilling:
            seq.computed += chunk
            if seq.aborted or seq.computed < seq.total:
                continue
            if seq.first_at is None:
                seq.first_at = at
                first.append(seq)
                self._count_first(seq, at)
            else:
                self._counters.itl.observe(at - seq.last_at)
            seq.total += 1
            seq.left -= 1
            seq.last_at = at
            tokens.append(seq.id)
            if not seq.left:
                ended.append(seq)
        return first

    def _count_first(self, seq: Sequence, at: float) -> None:
        self._counters.ttft.observe(at - seq.arrived_at)
        self._counters.prompt_tokens += seq.prompt
        self._counters.cached_tokens += seq.cached

    def _finish(self, seq: Sequence, at: float) -> Finished:
        end = seq.finished(at)
        self._counters.finish(end, seq.max_tokens)
        self._scheduler.release(seq)
        del self._live[seq.id]
        return end

    def _drop_gone(self) -> None:
        """Take finished and aborted sequences off the running list and free what aborted ones held."""
        kept: list[Sequence] = []
        for seq in self._scheduler.running:
            if seq.aborted:
                self._scheduler.release(seq)
            elif seq.left:
                kept.append(seq)
        self._scheduler.running = kept
        self._aborts = False
