"""A request inside the engine."""

from __future__ import annotations

from engine.sim.interface import Finished, FinishReason, Request


class Sequence:
    """Mutable state of one request; only the scheduler and the replica touch it."""

    __slots__ = (
        "aborted",
        "arrived_at",
        "cached",
        "cached_override",
        "capacity",
        "computed",
        "first_at",
        "id",
        "last_at",
        "left",
        "max_tokens",
        "output_tokens",
        "preemptions",
        "prompt",
        "queued_at",
        "reason",
        "scheduled_at",
        "total",
    )

    def __init__(self, request: Request, arrived_at: float, queued_at: float, max_model_len: int) -> None:
        self.id = request.id
        self.prompt = request.prompt_tokens
        allowed = request.output_tokens if request.max_tokens is None else request.max_tokens
        room = max_model_len - request.prompt_tokens
        self.output_tokens = min(request.output_tokens, allowed, room)
        self.max_tokens = allowed
        self.reason: FinishReason = "stop" if self.output_tokens < min(allowed, room) else "length"
        self.arrived_at = arrived_at
        self.queued_at = queued_at
        self.scheduled_at: float | None = None
        self.first_at: float | None = None
        self.last_at = 0.0
        self.cached = 0
        """Prompt tokens found in the prefix cache when first scheduled."""
        self.cached_override = request.cached_tokens
        self.computed = 0
        """Tokens whose keys and values are in the cache."""
        self.total = self.prompt
        """Tokens known: prompt and generated."""
        self.left = self.output_tokens
        self.capacity = 0
        """Tokens that the held blocks have room for."""
        self.preemptions = 0
        self.aborted = False

    def finished(self, at: float) -> Finished:
        """The record of a sequence that got its last token at `at`."""
        first_at = at if self.first_at is None else self.first_at
        scheduled_at = self.queued_at if self.scheduled_at is None else self.scheduled_at
        return Finished(
            id=self.id,
            reason=self.reason,
            prompt_tokens=self.prompt,
            output_tokens=self.output_tokens,
            cached_tokens=self.cached,
            arrived_at=self.arrived_at,
            finished_at=at,
            ttft_s=first_at - self.arrived_at,
            tpot_s=(at - first_at) / (self.output_tokens - 1) if self.output_tokens > 1 else 0.0,
            queue_s=scheduled_at - self.queued_at,
            prefill_s=first_at - scheduled_at,
            preemptions=self.preemptions,
        )
