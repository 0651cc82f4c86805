"""A /metrics page read into a compact value: which catalogued names it really exposes, and their samples.

Never raises for what a page contains. Lines that cannot be read are named in `damage`; a page with damage should be
rejected as a whole, as Prometheus does, for nobody knows what else is missing from it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample as ParsedSample

from engine.metrics import DCGM_NAMES, PREFIX, all_sample_names, family_of

Labels = tuple[tuple[str, str], ...]
"""Sorted (name, value) pairs."""
Sample = tuple[str, Labels]
"""(sample name with vLLM's own prefix, labels)."""
_REMEMBERED = 5
"""So many damaged lines are quoted; more say no more."""


@dataclass(frozen=True, slots=True)
class Page:
    """What one replica said of itself."""

    samples: Mapping[Sample, float]
    names: frozenset[str]
    """vLLM's sample names that are exposed, whether their samples were wanted or not."""
    family: str
    """The range of vLLM versions that the names belong to; empty if it is no page of vLLM."""
    damage: tuple[str, ...] = ()
    """What makes the page unreadable, in words: damaged lines, a cut end."""
    doubtful: tuple[str, ...] = ()
    """Sample names with impossible values (NaN, infinite) or with two values for one series (the first is kept)."""

    @property
    def plausible(self) -> bool:
        """Whether the page is whole and every wanted number on it can be."""
        return not self.damage and not self.doubtful

    def values(self, name: str) -> dict[Labels, float]:
        """The samples of one name, by labels."""
        return {labels: value for (sample, labels), value in self.samples.items() if sample == name}


def read_page(
    text: str,
    *,
    prefix: str = PREFIX,
    wanted: frozenset[str] | None = None,
    edges: frozenset[float] | None = None,
) -> Page:
    """Read a page of the Prometheus text format.

    `wanted` restricts the samples kept to these names (with vLLM's own prefix; None: the whole catalogue and DCGM's
    names), `edges` the histogram buckets kept to these and +Inf (None: all).
    """
    keep = wanted if wanted is not None else all_sample_names() | DCGM_NAMES
    damage = [] if not text or text.endswith("\n") else ["the page ends within a line"]
    lines: list[str] = []
    names: set[str] = set()
    for line in text.splitlines():
        if not line or line[0] == "#":
            continue
        exposed = line[: _name_end(line)]
        name = PREFIX + exposed[len(prefix) :] if exposed.startswith(prefix) else exposed
        names.add(name)
        if name in keep and (edges is None or _at_edge(line, edges)):
            lines.append(line)
        elif not _looks_sound(line):
            damage.append(f"unreadable line {line[:80]!r}")
    samples, doubtful = _collect(_parse(lines, damage), prefix)
    known = frozenset(name for name in names if name.startswith(PREFIX))
    return Page(samples, known, family_of(known), tuple(damage[:_REMEMBERED]), tuple(doubtful))


def _name_end(line: str) -> int:
    brace = line.find("{")
    space = line.find(" ")
    ends = [end for end in (brace, space) if end >= 0]
    return min(ends, default=len(line))


def _looks_sound(line: str) -> bool:
    """Whether a line that nobody needs has a sample's outline: it ends in a number and its braces are closed."""
    head, _, tail = line.rpartition(" ")
    try:
        float(tail)
    except ValueError:
        return False
    return bool(head) and (head[0].isalpha() or head[0] in "_:") and head.count("{") <= head.count("}")


def _at_edge(line: str, edges: frozenset[float]) -> bool:
    """Whether a line is no histogram bucket, or one at a wanted edge. A damaged edge is left to the parser."""
    start = line.find('le="')
    if start < 0 or line[start - 1] not in "{,":
        return True
    try:
        edge = float(line[start + 4 : line.index('"', start + 4)])
    except ValueError:
        return True
    return edge in edges or edge == math.inf


def _parse(lines: list[str], damage: list[str]) -> Iterator[ParsedSample]:
    """Samples of all lines at once; where that fails, line by line to keep what can be read."""
    try:
        return iter(_samples("\n".join(lines) + "\n"))
    except ValueError:
        return chain.from_iterable(_one_by_one(lines, damage))


def _one_by_one(lines: Iterable[str], damage: list[str]) -> Iterator[list[ParsedSample]]:
    for line in lines:
        try:
            yield _samples(line + "\n")
        except ValueError:
            damage.append(f"unreadable line {line[:80]!r}")


def _samples(text: str) -> list[ParsedSample]:
    return [sample for family in text_string_to_metric_families(text) for sample in family.samples]


def _collect(parsed: Iterable[ParsedSample], prefix: str) -> tuple[dict[Sample, float], list[str]]:
    samples: dict[Sample, float] = {}
    doubtful: dict[str, None] = {}
    for sample in parsed:
        name = PREFIX + sample.name[len(prefix) :] if sample.name.startswith(prefix) else sample.name
        key = (name, tuple(sorted(sample.labels.items())))
        value = float(sample.value)
        if not math.isfinite(value) or samples.get(key, value) != value:
            doubtful[name] = None
        samples.setdefault(key, value)
    return samples, list(doubtful)
