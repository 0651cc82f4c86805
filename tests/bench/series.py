"""A large fleet's metrics as OpenMetrics text, for `promtool tsdb create-blocks-from openmetrics`.

Per pod what the daemon's queries read of vLLM 0.32: gauges, counters, the objectives' histogram buckets among a few
others, the cache configuration, and a GPU's utilisation and memory: 28 series. Per fleet one counter of its proxy.

Histograms are given the type `unknown`, because only a few of their buckets are written: the form asks for all.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TextIO

MODEL = "meta-llama/Meta-Llama-3.1-8B-Instruct"
VARIANT = "v1"
TTFT_LE = ("0.25", "0.5", "0.75", "1.0", "2.5", "+Inf")
TPOT_LE = ("0.025", "0.05", "0.075", "0.1", "+Inf")


@dataclass(frozen=True, slots=True)
class Shape:
    """How much of it: `fleets` x `pods`, samples from `start_s` to `end_s` (UTC seconds)."""

    fleets: int
    pods: int
    start_s: int
    end_s: int
    scrape_s: int = 15

    @property
    def times_s(self) -> range:
        """Sample times of the first pod; the others' lie up to a scrape interval later."""
        return range(self.start_s, self.end_s + 1, self.scrape_s)

    @property
    def samples(self) -> int:
        """How many samples are written."""
        return self.fleets * (self.pods * series_per_pod() + 1) * len(self.times_s)


def namespace_of(fleet: int) -> str:
    """Each fleet has a namespace of its own."""
    return f"ns-{fleet:04d}"


def pod_of(fleet: int, pod: int) -> str:
    """Name of a replica."""
    return f"llama-8b-v1-{fleet:04d}-{pod:02d}"


@dataclass(frozen=True, slots=True)
class _Series:
    """One series of every pod: what it is worth at the start, and how much it grows per second at ordinary load."""

    name: str
    labels: str = ""
    start: float = 0.0
    growth_per_s: float = 0.0


@dataclass(frozen=True, slots=True)
class _Family:
    kind: str
    """OpenMetrics type."""
    series: tuple[_Series, ...]


def _gauge(name: str, value: float, labels: str = "") -> _Family:
    return _Family("gauge", (_Series(name, labels, value),))


def _counter(name: str, start: float, growth_per_s: float) -> _Family:
    return _Family("counter", (_Series(f"{name}_total", "", start, growth_per_s),))


def _finished(reason: str, growth_per_s: float) -> _Series:
    return _Series("vllm:request_success_total", f'finished_reason="{reason}"', 100.0, growth_per_s)


def _buckets(name: str, rates: dict[str, float]) -> _Family:
    return _Family(
        "unknown", tuple(_Series(f"{name}_bucket", f'le="{le}"', 50 * rps, rps) for le, rps in rates.items())
    )


def _mean(name: str, sum_per_s: float, count_per_s: float) -> Iterator[_Family]:
    for part, growth in (("sum", sum_per_s), ("count", count_per_s)):
        yield _Family("unknown", (_Series(f"{name}_{part}", "", 50 * growth, growth),))


# A replica of an 8B model at 2 requests/s of 1,150 prompt and 210 output tokens, 12 of them in flight.
_FAMILIES = (
    _gauge("vllm:num_requests_running", 12.0),
    _gauge("vllm:num_requests_waiting", 0.0),
    _gauge("vllm:kv_cache_usage_perc", 0.12),
    _gauge("vllm:cache_config_info", 1.0, 'block_size="16",num_gpu_blocks="11000"'),
    _gauge("DCGM_FI_DEV_GPU_UTIL", 55.0),
    _gauge("DCGM_FI_DEV_FB_USED", 42_000.0),
    _gauge("DCGM_FI_DEV_FB_FREE", 4_000.0),
    _Family("counter", tuple(_finished(*how) for how in (("stop", 1.9), ("length", 0.1)))),
    _counter("vllm:prompt_tokens", 1e5, 2300.0),
    _counter("vllm:prompt_tokens_cached", 1e3, 23.0),
    _counter("vllm:generation_tokens", 2e4, 420.0),
    _counter("vllm:num_preemptions", 1.0, 0.0),
    _buckets("vllm:time_to_first_token_seconds", dict(zip(TTFT_LE, (1.5, 1.9, 1.97, 1.99, 2.0, 2.0), strict=True))),
    _buckets(
        "vllm:request_time_per_output_token_seconds",
        dict(zip(TPOT_LE, (0.4, 1.995, 2.0, 2.0, 2.0), strict=True)),
    ),
    *_mean("vllm:inter_token_latency_seconds", 12.6, 418.0),
    *_mean("vllm:iteration_tokens_total", 2720.0, 33.0),
)
_PROXY = "envoy_cluster_upstream_cx_none_healthy"


def series_per_pod() -> int:
    """How many series each pod has."""
    return sum(len(family.series) for family in _FAMILIES)


def load_of(fleet: int) -> float:
    """A fleet's load against the ordinary one: 0.7 to 1.1."""
    return 0.7 + 0.4 * (fleet * 37 % 101) / 100


def write_openmetrics(shape: Shape, out: TextIO) -> Iterator[float]:
    """Write everything, family by family as the format asks. Yields the share done (0-1) now and then."""
    done = 0
    for family in _FAMILIES:
        for number, series in enumerate(family.series):
            if not number:
                out.write(f"# TYPE {series.name.removesuffix('_total')} {family.kind}\n")
            _write_series(shape, out, series)
            done += 1
            yield done / (series_per_pod() + 1)
    out.write(f"# TYPE {_PROXY} unknown\n")
    for fleet in range(shape.fleets):
        name = f'{_PROXY}{{job="envoy",instance="proxy:9901",envoy_cluster_name="{namespace_of(fleet)}/llama-8b/v1"}}'
        out.writelines(f"{name} 0 {t}\n" for t in shape.times_s)
    out.write("# EOF\n")
    yield 1.0


def _write_series(shape: Shape, out: TextIO, series: _Series) -> None:
    own = _own_labels(series.name) + (f",{series.labels}" if series.labels else "")
    level = series.start if not series.growth_per_s else 0.0
    for fleet in range(shape.fleets):
        load = load_of(fleet) if series.growth_per_s or series.name.startswith("vllm:num_") else 1.0
        for pod in range(shape.pods):
            name = pod_of(fleet, pod)
            head = f'{series.name}{{namespace="{namespace_of(fleet)}",pod="{name}",instance="{name}:8000"{own}}}'
            late_s = pod * shape.scrape_s / shape.pods
            growth = series.growth_per_s * load
            base = level * load if level else series.start + growth * pod * 10
            out.writelines(
                f"{head} {base + growth * (t + late_s - shape.start_s):.3f} {t + late_s:.3f}\n" for t in shape.times_s
            )


def _own_labels(name: str) -> str:
    """What the engine and the scraper say besides; the cache configuration lacks the model's name, as vLLM's does."""
    if name.startswith("DCGM"):
        return ',job="dcgm",gpu="0"'
    own = f',job="vllm",variant="{VARIANT}",engine="0"'
    return own if name == "vllm:cache_config_info" else f'{own},model_name="{MODEL}"'
