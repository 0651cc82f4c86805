"""The counters and histograms that one engine keeps, with vLLM's names and bucket edges."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from itertools import accumulate

from engine.sim.interface import Finished, Histogram

TTFT = "vllm:time_to_first_token_seconds"
ITL = "vllm:inter_token_latency_seconds"
TPOT = "vllm:request_time_per_output_token_seconds"
E2E = "vllm:e2e_request_latency_seconds"
QUEUE = "vllm:request_queue_time_seconds"
INFERENCE = "vllm:request_inference_time_seconds"
PREFILL = "vllm:request_prefill_time_seconds"
DECODE = "vllm:request_decode_time_seconds"
PROMPT_TOKENS = "vllm:request_prompt_tokens"
GENERATION_TOKENS = "vllm:request_generation_tokens"
MAX_TOKENS = "vllm:request_params_max_tokens"
COMPUTED_TOKENS = "vllm:request_prefill_kv_computed_tokens"
PREEMPTIONS = "vllm:request_num_preemptions"
ITERATION_TOKENS = "vllm:iteration_tokens_total"

FINISHED_REASONS = ("stop", "length", "abort", "error", "repetition")

TTFT_EDGES_S = (
    *(0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5),
    *(10.0, 20.0, 40.0, 80.0, 160.0, 640.0, 2560.0),
)
ITL_EDGES_S = (
    *(0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5),
    *(10.0, 20.0, 40.0, 80.0),
)
LATENCY_EDGES_S = (
    *(0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0),
    *(120.0, 240.0, 480.0, 960.0, 1920.0, 7680.0),
)
STEP_EDGES_TOKENS = (1.0, 8.0, *(float(2**k) for k in range(4, 15)))
PREEMPTION_EDGES = (1.0, 2.0, 3.0, 4.0, 5.0, 10.0, 20.0)


def token_edges(max_model_len: int) -> tuple[float, ...]:
    """The 1-2-5 series of vLLM's token histograms, up to the longest possible sequence."""
    series = (float(mantissa * 10**power) for power in range(10) for mantissa in (1, 2, 5))
    return tuple(edge for edge in series if edge <= max_model_len)


class Tally:
    """A histogram that counts."""

    __slots__ = ("counts", "edges", "sum")

    def __init__(self, edges: tuple[float, ...]) -> None:
        self.edges = edges
        self.counts = [0] * (len(edges) + 1)
        self.sum = 0.0

    def observe(self, value: float, times: int = 1) -> None:
        """Count `value`, `times` times."""
        self.counts[bisect_left(self.edges, value)] += times
        self.sum += value * times

    def freeze(self) -> Histogram:
        """The state now."""
        return Histogram(self.edges, tuple(self.counts), self.sum)

    def cumulative(self) -> list[int]:
        """Counts at or below each edge, and of all."""
        return list(accumulate(self.counts))


class EngineCounters:
    """All cumulative counters of one engine."""

    def __init__(self, max_model_len: int) -> None:
        tokens = token_edges(max_model_len)
        self.preemptions = 0
        self.prompt_tokens = 0
        self.cached_tokens = 0
        self.generation_tokens = 0
        self.prefix_queries = 0
        self.prefix_hits = 0
        self.finished = dict.fromkeys(FINISHED_REASONS, 0)
        self.ttft = Tally(TTFT_EDGES_S)
        self.itl = Tally(ITL_EDGES_S)
        self.iteration_tokens = Tally(STEP_EDGES_TOKENS)
        self._finished_tallies = {
            TPOT: Tally(ITL_EDGES_S),
            **{name: Tally(LATENCY_EDGES_S) for name in (E2E, QUEUE, INFERENCE, PREFILL, DECODE)},
            **{name: Tally(tokens) for name in (PROMPT_TOKENS, GENERATION_TOKENS, MAX_TOKENS, COMPUTED_TOKENS)},
            PREEMPTIONS: Tally(PREEMPTION_EDGES),
        }

    def finish(self, end: Finished, max_tokens: int) -> None:
        """Count a completed request. Aborted ones are never counted, as in vLLM."""
        self.finished[end.reason] += 1
        decode_s = end.tpot_s * (end.output_tokens - 1)
        observed = {
            TPOT: end.tpot_s,
            E2E: end.e2e_s,
            QUEUE: end.queue_s,
            DECODE: decode_s,
            INFERENCE: end.prefill_s + decode_s,
            PREFILL: end.prefill_s,
            PROMPT_TOKENS: end.prompt_tokens,
            GENERATION_TOKENS: end.output_tokens,
            MAX_TOKENS: max_tokens,
            COMPUTED_TOKENS: end.prompt_tokens - end.cached_tokens,
            PREEMPTIONS: end.preemptions,
        }
        for name, value in observed.items():
            self._finished_tallies[name].observe(value)

    def histograms(self) -> Mapping[str, Histogram]:
        """All histograms by vLLM's name."""
        tallies = {TTFT: self.ttft, ITL: self.itl, ITERATION_TOKENS: self.iteration_tokens, **self._finished_tallies}
        return {name: tally.freeze() for name, tally in tallies.items()}
