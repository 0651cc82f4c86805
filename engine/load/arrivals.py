"""When requests arrive: Poisson with a rate that changes in time, and the value that every source of load yields."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Arrival:
    """One request to be sent `at_s` seconds after the load began."""

    at_s: float
    prompt_tokens: int
    output_tokens: int


@dataclass(frozen=True, slots=True)
class RateSegment:
    """A stretch of time with a rate of its own, never above `peak_rps`. `duration_s` None: for ever."""

    duration_s: float | None
    peak_rps: float
    rate_rps: Callable[[float], float]
    """Requests/s at so many seconds after the segment's start."""


def poisson_times_s(segments: Iterable[RateSegment], rng: random.Random) -> Iterator[float]:
    """Arrival times of a non-homogeneous Poisson process, rising, in seconds since the first segment's start.

    Thinning (Lewis and Shedler 1979): candidates at the segment's peak rate, each kept with probability
    rate/peak. A Poisson process has no memory, so each segment starts afresh at its border.
    """
    start_s = 0.0
    for segment in segments:
        yield from _segment_times_s(segment, start_s, rng)
        if segment.duration_s is None:
            return
        start_s += segment.duration_s


def _segment_times_s(segment: RateSegment, start_s: float, rng: random.Random) -> Iterator[float]:
    if segment.peak_rps <= 0:
        return
    offset_s = rng.expovariate(segment.peak_rps)
    while segment.duration_s is None or offset_s < segment.duration_s:
        if rng.random() * segment.peak_rps < segment.rate_rps(offset_s):
            yield start_s + offset_s
        offset_s += rng.expovariate(segment.peak_rps)


def with_lengths(times_s: Iterable[float], lengths: Iterator[tuple[int, int]]) -> Iterator[Arrival]:
    """Give each arrival time the next (prompt, output) pair."""
    for at_s, (prompt_tokens, output_tokens) in zip(times_s, lengths, strict=False):
        yield Arrival(at_s, prompt_tokens, output_tokens)
