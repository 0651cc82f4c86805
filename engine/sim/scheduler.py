"""One call of vLLM V1's scheduler: who computes how many tokens in the next step, and who is thrown out.

Rules as in vllm/v1/core/sched/scheduler.py (first-come-first-served): running requests first, in order; where
blocks run out the last running request is preempted and recomputes everything later; waiting requests are
admitted only when nobody was preempted, in order, and the first that does not fit blocks those behind it.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from engine.profile import EngineLimits
from engine.sim.sequence import Sequence


@dataclass(slots=True)
class Batch:
    """The work of one step, with the terms of the step law."""

    decoding: list[Sequence] = field(default_factory=list)
    prefilling: list[tuple[Sequence, int]] = field(default_factory=list)
    admitted: list[Sequence] = field(default_factory=list)
    """Scheduled for the first time."""
    preempted: list[Sequence] = field(default_factory=list)
    kv_tokens: int = 0
    prefill_tokens: int = 0
    attention_tokens2: float = 0.0

    @property
    def empty(self) -> bool:
        """Nothing to compute."""
        return not self.decoding and not self.prefilling

    @property
    def tokens(self) -> int:
        """Tokens computed: what the budget limits."""
        return len(self.decoding) + self.prefill_tokens

    def add_chunk(self, seq: Sequence, tokens: int) -> None:
        """Compute the next `tokens` of a prompt (or of a preempted request's recomputation)."""
        self.prefilling.append((seq, tokens))
        self.prefill_tokens += tokens
        self.attention_tokens2 += tokens * (seq.computed + tokens / 2)


class Scheduler:
    """Queues and KV blocks of one engine."""

    def __init__(self, limits: EngineLimits, prefix_hit_ratio: float) -> None:
        self.limits = limits
        self.running: list[Sequence] = []
        self.waiting: deque[Sequence] = deque()
        self.usable_blocks = limits.num_gpu_blocks - 1
        """vLLM keeps one block as the null block."""
        self.free_blocks = self.usable_blocks
        self._hit_ratio = prefix_hit_ratio
        if self.usable_blocks * limits.block_size < limits.max_model_len:
            raise ValueError(
                f"{limits.num_gpu_blocks} KV blocks cannot hold one request of {limits.max_model_len} tokens"
            )

    @property
    def kv_usage_ratio(self) -> float:
        """Share of the usable blocks that is taken."""
        return 1 - self.free_blocks / self.usable_blocks

    def schedule(self) -> Batch:
        """Plan one step. Tokens count as computed only when the step ends."""
        batch = Batch()
        budget = self._schedule_running(batch)
        if not batch.preempted:
            self._admit_waiting(batch, budget)
        return batch

    def release(self, seq: Sequence) -> None:
        """Give all blocks of a sequence back."""
        self.free_blocks += seq.capacity // self.limits.block_size
        seq.capacity = 0

    def _schedule_running(self, batch: Batch) -> int:
        budget = self.limits.max_num_batched_tokens
        running, decoding = self.running, batch.decoding
        index = kv_tokens = 0
        while index < len(running) and budget > 0:
            seq = running[index]
            tokens = min(seq.total - seq.computed, budget)
            if seq.computed + tokens > seq.capacity and not self._make_room(seq, tokens, batch):
                break
            if tokens == 1 and seq.total > seq.prompt:
                decoding.append(seq)
                kv_tokens += seq.computed
            else:
                batch.add_chunk(seq, tokens)
            budget -= tokens
            index += 1
        batch.kv_tokens = kv_tokens
        return budget

    def _make_room(self, seq: Sequence, tokens: int, batch: Batch) -> bool:
        """Allocate blocks, preempting from the end of the running list; False if `seq` itself had to go."""
        while not self._allocate(seq, seq.computed + tokens):
            victim = self.running.pop()
            self._preempt(victim, batch)
            if victim is seq:
                return False
        return True

    def _preempt(self, victim: Sequence, batch: Batch) -> None:
        self.release(victim)
        victim.computed = 0
        victim.preemptions += 1
        self.waiting.appendleft(victim)
        batch.preempted.append(victim)

    def _admit_waiting(self, batch: Batch, budget: int) -> None:
        while self.waiting and budget > 0 and len(self.running) < self.limits.max_num_seqs:
            seq = self.waiting[0]
            cached = self._cached_tokens(seq)
            tokens = min(seq.total - cached, budget)
            if not self._allocate(seq, cached + tokens):
                break
            self.waiting.popleft()
            self.running.append(seq)
            seq.computed = cached
            if seq.scheduled_at is None:
                seq.cached = cached
                batch.admitted.append(seq)
            batch.add_chunk(seq, tokens)
            budget -= tokens

    def _allocate(self, seq: Sequence, tokens: int) -> bool:
        """Hold blocks for `tokens` in all, or change nothing."""
        size = self.limits.block_size
        needed = -((seq.capacity - tokens) // size)
        if needed <= 0:
            return True
        if needed > self.free_blocks:
            return False
        self.free_blocks -= needed
        seq.capacity += needed * size
        return True

    def _cached_tokens(self, seq: Sequence) -> int:
        """Full blocks of the prompt found in the prefix cache; never the whole prompt."""
        size = self.limits.block_size
        hit = seq.prompt * self._hit_ratio if seq.cached_override is None else seq.cached_override
        return min(int(hit), seq.prompt - 1) // size * size
