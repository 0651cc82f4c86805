"""What one look at a metric source yields, before it is sorted into fleets: tables of numbers by variant.

Both sources fill the same tables, so that everything after them (what is fresh, stale, absent or implausible) is
decided in one place.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Key = tuple[str, str, str]
"""(namespace, model name, variant)."""
Row = tuple[Any, ...]
"""A table's row: a `Key`; for histograms with the bucket's edge in seconds after it; a proxy cluster's name."""

VITALS = ("engines", "distinct", "replicas", "age")
GAUGES = (
    "running",
    "waiting",
    "before",
    "before_replicas",
    "before_age",
    "kv_avg",
    "kv_max",
    "kv_capacity",
    "gpu",
    "gpu_memory",
    "gpu_age",
)
RATES = ("itl_sum", "itl_count", "prompt", "cached", "generated", "finished", "steps", "preemptions")
LEGS = (*VITALS, *GAUGES, *RATES, "ttft", "tpot", "refused", "refused_age")
"""Names of all tables; the queries say what each is."""


@dataclass(slots=True)
class Leg:
    """One table. `failed` says why it could not be had at all, `stale` why it is not to be trusted for a reduction."""

    rows: dict[Row, float] = field(default_factory=dict)
    impossible: dict[Row, str] = field(default_factory=dict)
    """What is wrong with rows that cannot be: there more than once, from the future."""
    failed: str = ""
    stale: str = ""


@dataclass(slots=True)
class Observation:
    """All tables of one look. `legs` holds every name of `LEGS` that was asked for."""

    source: str
    window_s: float
    legs: Mapping[str, Leg]
    families: Mapping[Key, str] = field(default_factory=dict)
    """Version family by variant."""
    source_skew_s: float | None = None
    warnings: tuple[str, ...] = ()
    at_s: float | None = None
    """The instant of the look by the source's clock, UTC seconds; None where it is not known."""
