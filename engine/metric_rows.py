"""The rows of the metric catalogue: every vLLM metric the product knows, as data.

Versions are the first release seen with the name (`since`) and the last one that shows it by default (`until`),
read from the released wheels 0.6.3 to 0.33.0; the exact change may lie one or two minor releases earlier.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from controller.model.buckets import TPOT_EDGES_S, TTFT_EDGES_S

Kind = Literal["gauge", "counter", "histogram", "summary"]
Version = tuple[int, int, int]
Edges = tuple[float, ...]

OLDEST: Version = (0, 6, 0)
"""The oldest release the catalogue speaks about."""

LAT: Edges = (0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0)
LAT = (*LAT, 60.0, 120.0, 240.0, 480.0, 960.0, 1920.0, 7680.0)
"""Bucket edges of request-level times, seconds."""
TTFT: Edges = TTFT_EDGES_S
"""Bucket edges of the time to first token, seconds."""
ITL: Edges = TPOT_EDGES_S
"""Bucket edges of inter-token latency and of the time per output token, seconds."""
STEP = (1.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0, 4096.0, 8192.0, 16384.0)
"""Bucket edges of tokens in one engine step."""
N = (1.0, 2.0, 5.0, 10.0, 20.0)
"""Bucket edges of `n`, the answers asked for by one request."""
PRE = (1.0, 2.0, 3.0, 4.0, 5.0, 10.0, 20.0)
"""Bucket edges of preemptions of one request."""
KVRES: Edges = (
    0.001,
    0.002,
    0.005,
    0.01,
    0.02,
    0.05,
    0.1,
    0.2,
    0.5,
    1.0,
    2.0,
    5.0,
    10.0,
    20.0,
    30.0,
    60.0,
    120.0,
    300.0,
)
KVRES = (*KVRES, 600.0, 1200.0, 1800.0)
"""Bucket edges of KV block residency, seconds (first, last and 1-2-5 rhythm as documented)."""
HTTP = (0.1, 0.5, 1.0)
"""Bucket edges of HTTP durations by route, seconds."""
HTTP_FINE: Edges = (0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5, 5.0, 7.5)
HTTP_FINE = (*HTTP_FINE, 10.0, 30.0, 60.0)
"""Bucket edges of HTTP durations over all routes, seconds."""

BASE = ("model_name", "engine")
"""Labels of nearly every engine metric; `engine` (data-parallel rank) since V1."""


def token_buckets(max_model_len: int) -> Edges:
    """Edges of token-count histograms: 1, 2, 5, 10, ... up to the model's longest context."""
    edges: list[float] = []
    magnitude = 1
    while True:
        for step in (1, 2, 5):
            if step * magnitude > max_model_len:
                return tuple(edges)
            edges.append(float(step * magnitude))
        magnitude *= 10


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric: its PromQL base name (counters with `_total`, histograms without suffix) and what it means."""

    name: str
    kind: Kind
    unit: str
    measure: str = ""
    """What the product reads from it; metrics of one measure are alternatives over versions."""
    labels: tuple[str, ...] = ()
    """Labels beyond `base`."""
    buckets: Edges = ()
    """Bucket edges without +Inf; empty for token histograms (see `token_buckets`)."""
    since: Version = OLDEST
    until: Version | None = None
    replaced_by: str = ""
    optional: bool = False
    """Shown only with an option or on some deployments: its absence says nothing about the version."""
    base: tuple[str, ...] = BASE


V085, V092, V0102, V011, V0112 = (0, 8, 5), (0, 9, 2), (0, 10, 2), (0, 11, 0), (0, 11, 2)
V012, V013, V016, V0171, V020 = (0, 12, 0), (0, 13, 0), (0, 16, 0), (0, 17, 1), (0, 20, 0)
V024, V030, V032 = (0, 24, 0), (0, 30, 0), (0, 32, 0)
V0_LAST: Version = (0, 8, 5)
"""V0's names were last seen in 0.8.5 and are absent in 0.9.2."""

GAUGES = (
    Metric("vllm:num_requests_running", "gauge", "requests", "running"),
    Metric("vllm:num_requests_waiting", "gauge", "requests", "waiting"),
    Metric(
        "vllm:num_requests_waiting_by_reason", "gauge", "requests", "waiting_by_reason", labels=("reason",), since=V020
    ),
    Metric("vllm:num_requests_kv_fetch_by_stage", "gauge", "requests", labels=("stage",), since=V032, optional=True),
    Metric("vllm:kv_cache_usage_perc", "gauge", "ratio", "kv_usage", since=V092),
    Metric(
        "vllm:gpu_cache_usage_perc", "gauge", "ratio", "kv_usage", until=V0102, replaced_by="vllm:kv_cache_usage_perc"
    ),
    Metric("vllm:engine_sleep_state", "gauge", "boolean", "sleep_state", labels=("sleep_state",), since=V0112),
    Metric(
        "vllm:cache_config_info",
        "gauge",
        "info",
        "cache_config",
        labels=("num_gpu_blocks", "block_size"),
        base=("engine",),
    ),
    Metric(
        "vllm:lora_requests_info",
        "gauge",
        "seconds",
        labels=("max_lora", "running_lora_adapters", "waiting_lora_adapters"),
        base=(),
        optional=True,
    ),
    Metric(
        "vllm:gpu_prefix_cache_hit_rate",
        "gauge",
        "ratio",
        until=V0_LAST,
        replaced_by="vllm:gpu_prefix_cache_hits_total",
    ),
    Metric("vllm:cpu_prefix_cache_hit_rate", "gauge", "ratio", until=V0_LAST, optional=True),
    Metric("vllm:cpu_cache_usage_perc", "gauge", "ratio", until=V0_LAST),
    Metric("vllm:num_requests_swapped", "gauge", "requests", until=V0_LAST),
    Metric(
        "vllm:avg_prompt_throughput_toks_per_s",
        "gauge",
        "tokens/second",
        until=V0_LAST,
        replaced_by="vllm:prompt_tokens_total",
    ),
    Metric(
        "vllm:avg_generation_throughput_toks_per_s",
        "gauge",
        "tokens/second",
        until=V0_LAST,
        replaced_by="vllm:generation_tokens_total",
    ),
)

COUNTERS = (
    Metric("vllm:request_success_total", "counter", "requests", "finished", labels=("finished_reason",)),
    Metric(
        "vllm:admission_rejections_total",
        "counter",
        "requests",
        "rejected",
        labels=("reason",),
        since=V032,
        base=("model_name",),
    ),
    Metric("vllm:corrupted_requests_total", "counter", "requests", since=V0112, optional=True),
    Metric("vllm:num_preemptions_total", "counter", "events", "preemptions"),
    Metric("vllm:prompt_tokens_total", "counter", "tokens", "prompt"),
    Metric(
        "vllm:prompt_tokens_by_source_total", "counter", "tokens", "prompt_by_source", labels=("source",), since=V016
    ),
    Metric("vllm:prompt_tokens_cached_total", "counter", "tokens", "cached", since=V016),
    Metric("vllm:prefix_cache_hits_total", "counter", "tokens", "cached", since=V092),
    Metric(
        "vllm:gpu_prefix_cache_hits_total",
        "counter",
        "tokens",
        "cached",
        since=V085,
        until=V0102,
        replaced_by="vllm:prefix_cache_hits_total",
        optional=True,
    ),
    Metric("vllm:prompt_tokens_cached_by_source_total", "counter", "tokens", labels=("source",), since=V032),
    Metric("vllm:prompt_tokens_recomputed_total", "counter", "tokens", since=V016, until=(0, 18, 1)),
    Metric("vllm:generation_tokens_total", "counter", "tokens", "generated"),
    Metric("vllm:prefix_cache_queries_total", "counter", "tokens", "prefix_queries", since=V092),
    Metric(
        "vllm:gpu_prefix_cache_queries_total",
        "counter",
        "tokens",
        "prefix_queries",
        since=V085,
        until=V0102,
        replaced_by="vllm:prefix_cache_queries_total",
        optional=True,
    ),
    Metric("vllm:external_prefix_cache_queries_total", "counter", "tokens", since=V0112),
    Metric("vllm:external_prefix_cache_hits_total", "counter", "tokens", since=V0112),
    Metric("vllm:mm_cache_queries_total", "counter", "items", since=V0112),
    Metric("vllm:mm_cache_hits_total", "counter", "items", since=V0112),
    Metric("vllm:estimated_flops_per_gpu_total", "counter", "flop", since=V0171, optional=True),
    Metric("vllm:estimated_read_bytes_per_gpu_total", "counter", "bytes", since=V0171, optional=True),
    Metric("vllm:estimated_write_bytes_per_gpu_total", "counter", "bytes", since=V0171, optional=True),
    Metric("vllm:spec_decode_num_drafts_total", "counter", "drafts", since=V085, optional=True),
    Metric("vllm:spec_decode_num_draft_tokens_total", "counter", "tokens", since=V085, optional=True),
    Metric("vllm:spec_decode_num_accepted_tokens_total", "counter", "tokens", since=V085, optional=True),
    Metric(
        "vllm:spec_decode_num_accepted_tokens_per_pos_total",
        "counter",
        "tokens",
        labels=("position",),
        since=V085,
        optional=True,
    ),
    Metric("vllm:spec_decode_num_emitted_tokens_total", "counter", "tokens", until=V0_LAST, optional=True),
    Metric(
        "vllm:tool_call_parser_invocations_total",
        "counter",
        "calls",
        labels=("mode", "outcome", "request_type"),
        since=V024,
        optional=True,
        base=("model_name",),
    ),
)

HISTOGRAMS = (
    Metric("vllm:time_to_first_token_seconds", "histogram", "seconds", "ttft", buckets=TTFT),
    Metric("vllm:request_time_per_output_token_seconds", "histogram", "seconds", "tpot", buckets=ITL, since=V011),
    Metric("vllm:inter_token_latency_seconds", "histogram", "seconds", "itl", buckets=ITL, since=V0102),
    Metric(
        "vllm:time_per_output_token_seconds",
        "histogram",
        "seconds",
        "itl",
        buckets=ITL,
        until=(0, 11, 2),
        replaced_by="vllm:inter_token_latency_seconds",
    ),
    Metric("vllm:iteration_tokens_total", "histogram", "tokens", "steps", buckets=STEP, since=V085),
    Metric("vllm:e2e_request_latency_seconds", "histogram", "seconds", "e2e", buckets=LAT),
    Metric("vllm:request_queue_time_seconds", "histogram", "seconds", "queue_time", buckets=LAT, since=V085),
    Metric(
        "vllm:time_in_queue_requests",
        "histogram",
        "seconds",
        "queue_time",
        buckets=LAT,
        until=V0_LAST,
        replaced_by="vllm:request_queue_time_seconds",
        optional=True,
    ),
    Metric("vllm:request_prefill_time_seconds", "histogram", "seconds", "prefill_time", buckets=LAT, since=V085),
    Metric("vllm:request_decode_time_seconds", "histogram", "seconds", "decode_time", buckets=LAT, since=V085),
    Metric("vllm:request_inference_time_seconds", "histogram", "seconds", "inference_time", buckets=LAT, since=V085),
    Metric("vllm:request_prompt_tokens", "histogram", "tokens", "prompt_length"),
    Metric("vllm:request_generation_tokens", "histogram", "tokens", "output_length"),
    Metric("vllm:request_max_num_generation_tokens", "histogram", "tokens", since=V085),
    Metric("vllm:request_params_max_tokens", "histogram", "tokens", since=V085),
    Metric("vllm:request_params_n", "histogram", "answers", buckets=N),
    Metric("vllm:request_prefill_kv_computed_tokens", "histogram", "tokens", "prefill_length", since=V013),
    Metric("vllm:request_num_preemptions", "histogram", "events", buckets=PRE, since=V030),
    Metric("vllm:kv_block_lifetime_seconds", "histogram", "seconds", buckets=KVRES, since=V012, optional=True),
    Metric("vllm:kv_block_idle_before_evict_seconds", "histogram", "seconds", buckets=KVRES, since=V012, optional=True),
    Metric("vllm:kv_block_reuse_gap_seconds", "histogram", "seconds", buckets=KVRES, since=V012, optional=True),
    Metric("vllm:model_forward_time_milliseconds", "histogram", "milliseconds", until=V0_LAST, optional=True),
    Metric("vllm:model_execute_time_milliseconds", "histogram", "milliseconds", until=V0_LAST, optional=True),
)

API = (
    Metric("http_requests_total", "counter", "requests", "http", ("handler", "method", "status"), base=()),
    Metric("http_request_size_bytes", "summary", "bytes", labels=("handler",), base=()),
    Metric("http_response_size_bytes", "summary", "bytes", labels=("handler",), base=()),
    Metric("http_request_duration_highr_seconds", "histogram", "seconds", buckets=HTTP_FINE, base=()),
    Metric(
        "http_request_duration_seconds", "histogram", "seconds", labels=("handler", "method"), buckets=HTTP, base=()
    ),
)

ROWS: tuple[Metric, ...] = (*GAUGES, *COUNTERS, *HISTOGRAMS, *API)
"""The whole catalogue; of one measure the newest name comes first."""
