"""What one scraped page comes down to, and a replica's pages over the last windows."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from controller.observe.answers import kv_tokens
from controller.observe.windows import rate
from engine.exposition import Labels, Page
from engine.metrics import (
    ENVOY_NONE_HEALTHY,
    GPU_ACTIVE_RATIO,
    GPU_MEMORY_FREE_MIB,
    GPU_MEMORY_USED_MIB,
    GPU_UTIL_PERCENT,
    names_for,
)

Series = tuple[str, float, Labels]
"""(table, bucket edge, labels); the edge is 0 where there are no buckets."""
Numbers = Mapping[Series, float]

LOOKBACK_S = 300.0
"""Nothing older counts as the newest sample, as in Prometheus."""

_PARTS: Mapping[str, tuple[tuple[str, ...], str]] = {
    "running": (("running",), ""),
    "waiting": (("waiting",), ""),
    "kv": (("kv_usage",), ""),
    "finished": (("finished",), ""),
    "prompt": (("prompt",), ""),
    "cached": (("cached",), ""),
    "generated": (("generated",), ""),
    "preemptions": (("preemptions",), ""),
    "steps": (("steps",), "_count"),
    "itl_sum": (("itl",), "_sum"),
    "itl_count": (("itl",), "_count"),
    "ttft": (("ttft",), "_bucket"),
    "tpot": (("tpot", "itl"), "_bucket"),
}
"""Tables with the measures that fill them, in order of preference, and the part of the metric."""
INSTANT = frozenset(("running", "waiting", "kv", "kv_tokens", "gpu", "gpu_used", "gpu_free"))
"""Tables of newest values; all others are counters."""


def _sources() -> Iterator[tuple[str, tuple[str, int]]]:
    for table, (measures, suffix) in _PARTS.items():
        names = [name + suffix for measure in measures for name in names_for(measure)]
        for order, name in enumerate(names):
            yield name, (table, order)


_TABLE_OF = dict(_sources())
_CACHE_CONFIG = names_for("cache_config")[0]
_GPU = {
    GPU_UTIL_PERCENT: ("gpu", 0, 0.01),
    GPU_ACTIVE_RATIO: ("gpu", 1, 1.0),
    GPU_MEMORY_USED_MIB: ("gpu_used", 0, 1.0),
    GPU_MEMORY_FREE_MIB: ("gpu_free", 0, 1.0),
}
"""DCGM's names: table, rank among the names of one number, factor to the product's unit (MiB stay: a ratio is made)."""
WANTED = frozenset((*_TABLE_OF, _CACHE_CONFIG, *_GPU))
"""Sample names that are read off a replica's page."""
WANTED_OF_PROXY = frozenset((ENVOY_NONE_HEALTHY,))
"""Sample names that are read off a proxy's page."""


def engine_numbers(page: Page, model_name: str) -> Numbers:
    """What a replica says of one model: of one number under several names, that of the newest name."""
    found: dict[Series, tuple[int, float]] = {}
    for (name, labels), value in page.samples.items():
        series, order, number = _number(name, labels, value, model_name)
        if series and (series not in found or order < found[series][0]):
            found[series] = (order, number)
    return {series: number for series, (_, number) in found.items()}


def _number(name: str, labels: Labels, value: float, model_name: str) -> tuple[Series | None, int, float]:
    """Which series a sample belongs to, the rank of its name, and its value in the product's unit."""
    if name in _GPU:
        table, order, factor = _GPU[name]
        return (table, 0.0, labels), order, value * factor
    pairs = dict(labels)
    if name == _CACHE_CONFIG:
        tokens = kv_tokens(pairs)
        return (None if tokens is None else ("kv_tokens", 0.0, labels)), 0, tokens or 0.0
    if pairs.pop("model_name", "") != model_name or name not in _TABLE_OF:
        return None, 0, 0.0
    table, order = _TABLE_OF[name]
    edge = float(pairs.pop("le", 0.0))
    return (table, edge, tuple(pairs.items())), order, value


def proxy_numbers(page: Page) -> Numbers:
    """What a proxy says of its clusters."""
    return {("refused", 0.0, labels): value for (_, labels), value in page.samples.items()}


@dataclass(frozen=True, slots=True)
class Scrape:
    """One scrape: when it began and what it brought; None if nothing could be had."""

    at_s: float
    numbers: Numbers | None


class History:
    """One target's scrapes in order of time. Written by its scraper, read by whoever looks.

    A failed scrape ends the target's newest values at once (Prometheus marks them stale), its counters stay in the
    window.
    """

    def __init__(self, keep_s: float) -> None:
        self._keep_s = keep_s
        self._lock = threading.Lock()
        self._scrapes: deque[Scrape] = deque()
        self._keys: dict[Series, Series] = {}
        self.family = ""
        """Version family of the last readable page."""
        self.problem = ""
        """Why the last scrape brought nothing or something doubtful."""

    def add(self, at_s: float, numbers: Numbers | None) -> None:
        """Append one scrape and forget those that no window reaches."""
        kept = None if numbers is None else {self._keys.setdefault(key, key): n for key, n in numbers.items()}
        with self._lock:
            self._scrapes.append(Scrape(at_s, kept))
            while len(self._scrapes) > 1 and self._scrapes[0].at_s < at_s - self._keep_s:
                self._scrapes.popleft()

    def at(self, instant_s: float) -> Scrape | None:
        """The newest scrape at an instant; None if there was none within the look-back, or it failed."""
        with self._lock:
            for scrape in reversed(self._scrapes):
                if scrape.at_s <= instant_s:
                    there = scrape.numbers is not None and scrape.at_s > instant_s - LOOKBACK_S
                    return scrape if there else None
        return None

    @property
    def ended_at_s(self) -> float:
        """When it was last scraped, in vain or not."""
        with self._lock:
            return self._scrapes[-1].at_s if self._scrapes else float("-inf")

    def rates(self, start_s: float, end_s: float) -> dict[Series, float]:
        """Rates of all counters over a window."""
        with self._lock:
            scrapes = [s for s in self._scrapes if start_s <= s.at_s <= end_s and s.numbers is not None]
        windows: dict[Series, tuple[list[float], list[float]]] = {}
        for scrape in scrapes:
            for series, number in (scrape.numbers or {}).items():
                if series[0] not in INSTANT:
                    times_s, values = windows.setdefault(series, ([], []))
                    times_s.append(scrape.at_s)
                    values.append(number)
        rates = {series: rate(*window, start_s, end_s) for series, window in windows.items()}
        return {series: value for series, value in rates.items() if value is not None}
