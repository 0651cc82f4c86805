"""Prometheus text exposition, written by hand because it is scraped every second or two on a busy core."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import accumulate

from engine.sim.interface import Histogram

Sample = tuple[str, float]
"""(suffix and labels, value): what follows the family's name."""

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
CUMULATIVE = frozenset({"counter", "histogram", "summary"})


@dataclass(frozen=True, slots=True)
class Family:
    """All samples of one metric."""

    name: str
    kind: str
    samples: list[Sample]


def labelled(labels: Mapping[str, str]) -> str:
    """`{a="1",b="2"}` in alphabetical order; empty without labels."""
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_escaped(labels[name])}"' for name in sorted(labels)) + "}"


def histogram_samples(labels: Mapping[str, str], histogram: Histogram) -> list[Sample]:
    """Cumulative buckets, count and sum."""
    names = bucket_names(labels, histogram.edges)
    return list(zip(names, histogram_values(histogram), strict=True))


def bucket_names(labels: Mapping[str, str], edges: tuple[float, ...]) -> list[str]:
    """Suffixes with labels of a histogram's samples, in the order of `histogram_values`."""
    bounds = [str(edge) for edge in edges] + ["+Inf"]
    plain = labelled(labels)
    return [*(f"_bucket{labelled({**labels, 'le': bound})}" for bound in bounds), f"_count{plain}", f"_sum{plain}"]


def histogram_values(histogram: Histogram) -> list[float]:
    """Values in the order of `bucket_names`."""
    cumulative = list(accumulate(histogram.counts))
    return [*cumulative, cumulative[-1], histogram.sum]


def render(families: Iterable[Family]) -> str:
    """The page."""
    lines: list[str] = []
    for family in families:
        lines.append(f"# TYPE {family.name} {family.kind}")
        name = family.name
        lines += [f"{name}{rest} {float(value)!r}" for rest, value in family.samples]
    return "\n".join(lines) + "\n"


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
