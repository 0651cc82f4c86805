"""The catalogue of vLLM's metrics: names by version, bucket edges, and which version a page belongs to.

Queries, dashboards, alerts and the simulated server take their names from here, so a name that no vLLM exposes
cannot be asked for. DCGM's and Envoy's names that the product uses are here too.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from functools import cache

from engine.metric_rows import (
    BASE,
    ITL,
    LAT,
    OLDEST,
    PRE,
    ROWS,
    STEP,
    TTFT,
    Edges,
    Kind,
    Metric,
    N,
    Version,
    token_buckets,
)

PREFIX = "vllm:"
"""How vLLM itself spells its prefix; exporters in between may change it (`vllm_`, `ray_vllm_`, `kserve_vllm:`)."""

GPU_UTIL_PERCENT = "DCGM_FI_DEV_GPU_UTIL"
"""Share of time in which a kernel ran, in percent (gauge)."""
GPU_ACTIVE_RATIO = "DCGM_FI_PROF_GR_ENGINE_ACTIVE"
"""Share of time in which the graphics or compute engine was active, 0-1 (gauge)."""
GPU_MEMORY_USED_MIB = "DCGM_FI_DEV_FB_USED"
"""Frame buffer in use, MiB. vLLM reserves it at start, so it says nothing about load."""
GPU_MEMORY_FREE_MIB = "DCGM_FI_DEV_FB_FREE"
"""Frame buffer free, MiB."""
DCGM_NAMES = frozenset({GPU_UTIL_PERCENT, GPU_ACTIVE_RATIO, GPU_MEMORY_USED_MIB, GPU_MEMORY_FREE_MIB})
DCGM_LABELS = ("gpu", "UUID", "device", "modelName", "Hostname")
"""Labels of the DCGM exporter that name a GPU (pod, namespace and container are added when it maps pods)."""

ENVOY_NONE_HEALTHY = "envoy_cluster_upstream_cx_none_healthy"
"""Envoy's counter of requests refused because the cluster had no healthy host (exposed without `_total`)."""
ENVOY_CLUSTER_LABEL = "envoy_cluster_name"

_BY_NAME = {row.name: row for row in ROWS}
_SUFFIXES: dict[Kind, tuple[str, ...]] = {
    "gauge": ("",),
    "counter": ("",),
    "histogram": ("_bucket", "_sum", "_count"),
    "summary": ("_sum", "_count"),
}


def metric(name: str) -> Metric:
    """The row of that base name. Raises KeyError."""
    return _BY_NAME[name]


@cache
def alternatives(measure: str) -> tuple[Metric, ...]:
    """Every metric that ever carried `measure`, the newest first. Raises KeyError for an unknown measure."""
    rows = tuple(row for row in ROWS if row.measure == measure)
    if not rows or not measure:
        raise KeyError(measure)
    return rows


def names_for(measure: str, prefix: str = PREFIX) -> tuple[str, ...]:
    """Base names for a measure, the newest first, with the deployment's prefix."""
    return tuple(prefixed(row.name, prefix) for row in alternatives(measure))


def prefixed(name: str, prefix: str) -> str:
    """A catalogue name as a deployment with another prefix exposes it; names that are not vLLM's stay as they are."""
    return prefix + name.removeprefix(PREFIX) if name.startswith(PREFIX) else name


def sample_names(row: Metric) -> tuple[str, ...]:
    """Names of the samples on a metrics page: `_bucket`, `_sum` and `_count` for a histogram."""
    return tuple(row.name + suffix for suffix in _SUFFIXES[row.kind])


@cache
def all_sample_names() -> frozenset[str]:
    """Every sample name that any catalogued version exposes."""
    return frozenset(name for row in ROWS for name in sample_names(row))


def nearest_edges(edges: Edges, threshold: float) -> tuple[float, float]:
    """The bucket edges at or below and at or above `threshold`; both are it when it is an edge.

    Beyond the ends both are the end: below the first edge nothing smaller can be counted.
    """
    below = bisect_right(edges, threshold) - 1
    above = bisect_left(edges, threshold)
    return edges[max(below, 0)], edges[min(above, len(edges) - 1)]


def version_bounds(exposed: Iterable[str], asked: Iterable[str] | None = None) -> tuple[Version, Version | None]:
    """First version that can have these names (sample or base names), and the first that cannot (None: unknown).

    A name shown bounds from below by its birth and from above by its removal; a name that every version since its
    birth shows bounds from above by its absence, if it was among those `asked` for (None: the whole page was read).
    """
    seen = _rows(exposed)
    looked_for = set(ROWS) if asked is None else _rows(asked)
    low = max((row.since for row in seen), default=OLDEST)
    ends = [_after(row.until) for row in seen if row.until is not None]
    missing = [row.since for row in looked_for - seen if _expected(row) and row.since > low]
    return low, min(ends + missing, default=None)


def family_of(exposed: Iterable[str], asked: Iterable[str] | None = None) -> str:
    """The version range that a page with these names belongs to, as a text; empty when no vLLM name is among them."""
    names = set(exposed)
    if not _rows(names):
        return ""
    low, high = version_bounds(names, asked)
    if high is None:
        return f"vLLM {_text(low)} or newer"
    if high <= low:
        return f"vLLM {_text(low)}, with names of other versions shown"
    return f"vLLM before {_text(high)}" if low == OLDEST else f"vLLM {_text(low)} to before {_text(high)}"


def _rows(names: Iterable[str]) -> set[Metric]:
    """VLLM's own rows among these sample or base names."""
    bases = {_base_name(name) for name in names}
    return {_BY_NAME[base] for base in bases if base in _BY_NAME and base.startswith(PREFIX)}


@cache
def family_markers() -> tuple[str, ...]:
    """A few sample names, one series an engine each, whose presence tells version ranges apart (see `family_of`)."""
    own = [row for row in ROWS if row.name.startswith(PREFIX) and row.base == BASE and not row.optional]
    births = {row.since: row for row in reversed(own) if row.since > OLDEST}
    ends = [row for row in own if row.until is not None]
    rows = {row.name: row for row in (*births.values(), *ends)}
    return tuple(sample_names(row)[-1] for row in rows.values())


def _base_name(sample: str) -> str:
    if sample in _BY_NAME:
        return sample
    for suffix in ("_bucket", "_sum", "_count"):
        if sample.endswith(suffix) and sample.removesuffix(suffix) in _BY_NAME:
            return sample.removesuffix(suffix)
    return sample


def _expected(row: Metric) -> bool:
    return row.name.startswith(PREFIX) and not row.optional and row.until is None


def _after(version: Version) -> Version:
    """The next minor release: what is last seen in 0.10.2 is gone in 0.11."""
    return (version[0], version[1] + 1, 0)


def _text(version: Version) -> str:
    return ".".join(str(part) for part in (version if version[2] else version[:2]))


__all__ = [
    "DCGM_LABELS",
    "DCGM_NAMES",
    "ENVOY_CLUSTER_LABEL",
    "ENVOY_NONE_HEALTHY",
    "GPU_ACTIVE_RATIO",
    "GPU_MEMORY_FREE_MIB",
    "GPU_MEMORY_USED_MIB",
    "GPU_UTIL_PERCENT",
    "ITL",
    "LAT",
    "OLDEST",
    "PRE",
    "PREFIX",
    "ROWS",
    "STEP",
    "TTFT",
    "Kind",
    "Metric",
    "N",
    "Version",
    "all_sample_names",
    "alternatives",
    "family_markers",
    "family_of",
    "metric",
    "names_for",
    "nearest_edges",
    "prefixed",
    "sample_names",
    "token_buckets",
    "version_bounds",
]
