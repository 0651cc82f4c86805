"""Bucket edges of vLLM's latency histograms: only at an edge is the share of requests within a threshold exact.

vLLM 0.6-0.33 defaults, in seconds. From 0.32 on `--custom-histogram-buckets` replaces them; a fleet then says so.
"""

from __future__ import annotations

from bisect import bisect_left

from controller.model.fields import format_duration

TTFT_EDGES_S: tuple[float, ...] = (
    *(0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0),
    *(160.0, 640.0, 2560.0),
)
"""vllm:time_to_first_token_seconds."""
TPOT_EDGES_S: tuple[float, ...] = (
    *(0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0),
)
"""vllm:request_time_per_output_token_seconds and vllm:inter_token_latency_seconds."""


def nearest_edges(threshold_s: float, edges_s: tuple[float, ...]) -> tuple[float, ...]:
    """The edges just below and just above a threshold; one at the ends. `edges_s` is increasing and not empty."""
    at = bisect_left(edges_s, threshold_s)
    return edges_s[max(0, at - 1) : at + 1]


def edges_text(edges_s: tuple[float, ...]) -> str:
    """Edges as one writes them in YAML: `100ms or 250ms`."""
    return " or ".join(format_duration(edge) for edge in edges_s)
