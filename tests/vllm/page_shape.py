"""The shape of a metrics page, without its numbers: families, types, labels, enumerated label values, bucket edges."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

from prometheus_client.parser import text_string_to_metric_families

ENUMERATED = ("finished_reason", "reason", "source", "sleep_state", "status", "handler", "method", "stage", "quantile")
"""Labels whose values are part of the shape. The rest name a model, an engine, a version or a setting."""


@dataclass(slots=True)
class Family:
    """One family as a page shows it. A family without a sample has no labels."""

    kind: str
    samples: set[str] = field(default_factory=set)
    labels: set[str] = field(default_factory=set)
    values: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    edges: set[float] = field(default_factory=set)


def page_shape(page: str) -> dict[str, Family]:
    """Every family of a page by name."""
    shape: dict[str, Family] = {}
    for parsed in text_string_to_metric_families(page):
        family = shape.setdefault(parsed.name, Family(parsed.type))
        for sample in parsed.samples:
            family.samples.add(sample.name)
            family.labels |= set(sample.labels)
            for name in ENUMERATED:
                if name in sample.labels:
                    family.values[name].add(sample.labels[name])
            if "le" in sample.labels:
                family.edges.add(float(sample.labels["le"]))
    return shape


def differences(real: dict[str, Family], simulated: dict[str, Family]) -> list[str]:
    """Each difference as one line, sorted."""
    lines = [f"{name}: only real" for name in real.keys() - simulated.keys()]
    lines += [f"{name}: only simulated" for name in simulated.keys() - real.keys()]
    for name in real.keys() & simulated.keys():
        lines += [f"{name}: {difference}" for difference in _family_differences(real[name], simulated[name])]
    return sorted(lines)


def _family_differences(real: Family, simulated: Family) -> Iterator[str]:
    if real.kind != simulated.kind:
        yield f"{real.kind} for real, {simulated.kind} simulated"
    yield from _set_differences("sample ", real.samples, simulated.samples)
    yield from _set_differences("label ", real.labels, simulated.labels)
    for label in sorted({*real.values, *simulated.values}):
        yield from _set_differences(f"{label}=", real.values[label], simulated.values[label])
    yield from _set_differences("le=", {f"{e:g}" for e in real.edges}, {f"{e:g}" for e in simulated.edges})


def _set_differences(what: str, real: set[str], simulated: set[str]) -> Iterator[str]:
    yield from (f"{what}{item} only real" for item in sorted(real - simulated))
    yield from (f"{what}{item} only simulated" for item in sorted(simulated - real))
