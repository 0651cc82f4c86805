"""Rates over windows of samples kept in memory, as Prometheus computes them.

The formula is Prometheus's extrapolated rate (`prometheus/promql/functions.go`, `extrapolatedRate`): the increase
between the first and the last sample in the window, resets repaired, extended to the window's ends where samples come
close to them (half a sample interval otherwise, and never below zero), over the window's length.
"""

from __future__ import annotations

from collections.abc import Sequence

_CLOSE = 1.1
"""A sample within so many mean sample intervals of the window's end is taken to cover it."""


def increase(values: Sequence[float]) -> float:
    """Growth of a counter over its successive values; one that falls was reset and began again at zero."""
    total = values[-1] - values[0]
    previous = values[0]
    for value in values:
        if value < previous:
            total += previous
        previous = value
    return total


def rate(times_s: Sequence[float], values: Sequence[float], start_s: float, end_s: float) -> float | None:
    """Growth per second over the window from samples within it; None if there are fewer than two.

    A counter that was there for a part of the window (its process was born or died) yields its growth over the
    *whole* window: summed over processes, that is the work done per second.
    """
    if len(values) < 2:
        return None
    grown = increase(values)
    sampled_s = times_s[-1] - times_s[0]
    if sampled_s <= 0:
        return None
    between_s = sampled_s / (len(values) - 1)
    to_start_s = times_s[0] - start_s
    if grown > 0 and values[0] >= 0:
        to_start_s = min(to_start_s, sampled_s * values[0] / grown)
    covered_s = sampled_s + _reach(to_start_s, between_s) + _reach(end_s - times_s[-1], between_s)
    return grown * covered_s / sampled_s / (end_s - start_s)


def _reach(gap_s: float, between_s: float) -> float:
    return gap_s if gap_s < _CLOSE * between_s else between_s / 2
