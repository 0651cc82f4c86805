"""What any model of one replica must offer, whatever its inside: requests in, events and counters out.

Times are seconds on a virtual clock that only the caller moves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

FinishReason = Literal["stop", "length"]


@dataclass(frozen=True, slots=True)
class Request:
    """One sequence to generate. `id` is unique while the request lives.

    `max_tokens` is what the client allowed (default: exactly `output_tokens`); a shorter output ends with "stop".
    `cached_tokens` overrides the model's prefix-hit ratio for this request.
    """

    id: str
    prompt_tokens: int
    output_tokens: int
    max_tokens: int | None = None
    cached_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Finished:
    """A completed request with its times: TTFT and e2e from arrival, TPOT as the mean after the first token."""

    id: str
    reason: FinishReason
    prompt_tokens: int
    output_tokens: int
    cached_tokens: int
    arrived_at: float
    finished_at: float
    ttft_s: float
    tpot_s: float
    """0 for answers of one token, as vLLM records it."""
    queue_s: float
    """In the scheduler's queue until first scheduled."""
    prefill_s: float
    """First scheduled to first token."""
    preemptions: int

    @property
    def e2e_s(self) -> float:
        """Arrival to last token."""
        return self.finished_at - self.arrived_at


@dataclass(frozen=True, slots=True)
class StepEvents:
    """What one engine step brought. Every id of `first` and of `finished` is also among `tokens`."""

    at: float
    tokens: Sequence[str]
    """Requests that got one token each."""
    first: Sequence[str]
    """Those for which it was the first."""
    finished: Sequence[Finished]
    preempted: Sequence[str]
    """Requests thrown back to the queue when this step was scheduled."""


@dataclass(frozen=True, slots=True)
class Histogram:
    """Observations by bucket: `counts[i]` fell at or below `edges[i]` and above the edge before, the last above all."""

    edges: tuple[float, ...]
    counts: tuple[int, ...]
    sum: float

    @property
    def count(self) -> int:
        """All observations."""
        return sum(self.counts)

    def within(self, threshold: float) -> int:
        """Observations at or below a bucket edge. Raises ValueError if `threshold` is no edge."""
        return sum(self.counts[: self.edges.index(threshold) + 1])


@dataclass(frozen=True, slots=True)
class EngineSnapshot:
    """Gauges and cumulative counters as vLLM exposes them, at one instant. Histograms by their vLLM name."""

    at: float
    running: int
    waiting: int
    kv_usage_ratio: float
    busy_s: float
    """Time spent in steps since the start: its growth over wall time is the GPU's busy ratio."""
    preemptions: int
    prompt_tokens: int
    """Prompt tokens of requests that got their first token, cached ones included."""
    cached_tokens: int
    generation_tokens: int
    prefix_queries: int
    """Prompt tokens looked up in the prefix cache, at admission."""
    prefix_hits: int
    finished: Mapping[str, int]
    """Requests by finished_reason."""
    histograms: Mapping[str, Histogram]

    @property
    def inflight(self) -> int:
        """Running and waiting."""
        return self.running + self.waiting


class EngineModel(Protocol):
    """One replica on a virtual clock."""

    def submit(self, request: Request, at: float) -> None:
        """A request arrives at the API server at `at`, not before the model's clock. Raises ValueError."""
        ...

    def abort(self, request_id: str, at: float) -> None:
        """The client went away: no more tokens; what was held is freed with the step that runs at `at`.

        Unknown ids pass. Raises ValueError for a time before the clock.
        """
        ...

    def next_event_at(self) -> float | None:
        """When something will happen by itself; None while idle."""
        ...

    def advance_to(self, t: float) -> Sequence[StepEvents]:
        """Run the clock to `t`, never back. The events of all steps that ended by then, in order."""
        ...

    def snapshot(self) -> EngineSnapshot:
        """Gauges and counters now."""
        ...
