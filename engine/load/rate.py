"""Bring recorded arrivals to another mean rate without inventing traffic.

The rate is of the stretch that is played: a trace's first `duration_s` (from its first arrival on, where it is longer),
or as many laps of it as that time holds. What the trace does later does not count.

Down: each request is kept with the same probability, at its own time (thinning keeps the burst structure; stretching
the gaps would slow bursts down). Up: the trace is laid over itself, each copy turned by a share of its length, the
last copy thinned. Everything is streamed; what is held in memory is one reader per copy.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from heapq import merge
from itertools import count

from controller.errors import UsageError
from engine.load.arrivals import Arrival

MOST_COPIES = 64


@dataclass(frozen=True, slots=True)
class Extent:
    """How much there is: `span_s` includes one mean gap after the last arrival, so that rate = requests/span."""

    requests: int
    span_s: float

    @property
    def rate_rps(self) -> float:
        """Mean arrivals per second."""
        return self.requests / self.span_s


def extent(arrivals: Iterable[Arrival]) -> Extent:
    """Read arrivals through once. Raises UsageError if fewer than 2 requests or all at one instant."""
    requests, last_s = 0, 0.0
    for arrival in arrivals:
        requests, last_s = requests + 1, arrival.at_s
    if requests < 2 or last_s <= 0:
        raise UsageError(f"the trace holds {requests} request(s) in {last_s:g} s: no rate; give a longer one")
    return Extent(requests, last_s * requests / (requests - 1))


def to_rate(arrivals: Iterable[Arrival], rate_rps: float, seed: int) -> Iterator[Arrival]:
    """One span of `arrivals` at a mean of `rate_rps`, in order of time.

    `arrivals` must begin at 0 and be readable several times (a `Trace`, a list). Raises UsageError when the rate is
    not positive or more than 64 times the trace's own.
    """
    return _at_rate(arrivals, extent(arrivals), rate_rps, seed)


def _at_rate(arrivals: Iterable[Arrival], own: Extent, rate_rps: float, seed: int) -> Iterator[Arrival]:
    if not rate_rps > 0:
        raise UsageError(f"a rate of {rate_rps:g} requests/s is none; give one above 0")
    ratio = rate_rps / own.rate_rps
    if ratio > MOST_COPIES:
        raise UsageError(
            f"{rate_rps:g} requests/s is {ratio:.0f} times the trace's own {own.rate_rps:.3g}; "
            f"at most {MOST_COPIES} copies are laid over each other: give a rate up to {own.rate_rps * MOST_COPIES:.4g}"
        )
    whole = int(ratio)
    shares = [1.0] * whole + ([ratio - whole] if ratio > whole else [])
    return merge(*(_copy(arrivals, own.span_s, k, shares, seed) for k in range(len(shares))), key=lambda a: a.at_s)


def _copy(arrivals: Iterable[Arrival], span_s: float, k: int, shares: list[float], seed: int) -> Iterator[Arrival]:
    rng = random.Random(f"{seed}/{k}")
    for arrival in _turned(arrivals, span_s, span_s * k / len(shares)):
        if shares[k] >= 1 or rng.random() < shares[k]:
            yield arrival


def _turned(arrivals: Iterable[Arrival], span_s: float, by_s: float) -> Iterator[Arrival]:
    """The trace begun `by_s` seconds in, what came before appended at the end."""
    for arrival in arrivals:
        if arrival.at_s >= by_s:
            yield replace(arrival, at_s=arrival.at_s - by_s)
    if by_s > 0:
        for arrival in arrivals:
            if arrival.at_s >= by_s:
                return
            yield replace(arrival, at_s=arrival.at_s + span_s - by_s)


@dataclass(frozen=True, slots=True)
class _Stretch:
    """What is played of a trace, as a trace of its own that can be read several times: lap after lap to `end_s`."""

    arrivals: Iterable[Arrival]
    lap_s: float
    end_s: float

    def __iter__(self) -> Iterator[Arrival]:
        for lap in count():
            start_s = lap * self.lap_s
            if start_s >= self.end_s:
                return
            for arrival in self.arrivals:
                at_s = start_s + arrival.at_s
                if at_s >= self.end_s:
                    return
                yield replace(arrival, at_s=at_s)


def _stretch(arrivals: Iterable[Arrival], duration_s: float | None) -> _Stretch:
    """Reads no further than it has to: a trace of a day is not read through for a minute of it."""
    if duration_s is not None and any(arrival.at_s >= duration_s for arrival in arrivals):
        return _Stretch(arrivals, duration_s, duration_s)
    lap_s = extent(arrivals).span_s
    return _Stretch(arrivals, lap_s, lap_s if duration_s is None else duration_s)


def replayed(
    arrivals: Iterable[Arrival], rate_rps: float | None, duration_s: float | None, seed: int
) -> Iterator[Arrival]:
    """A trace as load for `duration_s` (None: one lap), repeated where it is shorter: as it is, or at `rate_rps`.

    `rate_rps` is the mean over what is played, not over the whole trace. `arrivals` must begin at 0 and be readable
    several times. Raises UsageError as `extent` and `to_rate` do.
    """
    played = _stretch(arrivals, duration_s)
    if rate_rps is None:
        return iter(played)
    return _at_rate(played, Extent(sum(1 for _ in played), played.end_s), rate_rps, seed)
