"""The counters and histograms that one engine keeps, with vLLM's names and bucket edges."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping

from engine import metrics
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


class EngineCounters:
    """All cumulative counters of one engine."""

    def __init__(self, max_model_len: int) -> None:
        tokens = metrics.token_buckets(max_model_len)
        self.preemptions = 0
        self.prompt_tokens = 0
        self.cached_tokens = 0
        self.generation_tokens = 0
        self.prefix_queries = 0
        self.prefix_hits = 0
        self.finished = dict.fromkeys(FINISHED_REASONS, 0)
        self.ttft = Tally(metrics.TTFT)
        self.itl = Tally(metrics.ITL)
        self.iteration_tokens = Tally(metrics.STEP)
        self._finished_tallies = {
            TPOT: Tally(metrics.ITL),
            **{name: Tally(metrics.LAT) for name in (E2E, QUEUE, INFERENCE, PREFILL, DECODE)},
            **{name: Tally(tokens) for name in (PROMPT_TOKENS, GENERATION_TOKENS, MAX_TOKENS, COMPUTED_TOKENS)},
            PREEMPTIONS: Tally(metrics.PRE),
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
