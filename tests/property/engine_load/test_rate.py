"""Bringing a trace to another rate: the mean is right, order is kept, nothing is invented."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import islice, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.errors import UsageError
from engine.load.arrivals import Arrival, RateSegment, poisson_times_s
from engine.load.rate import extent, replayed, to_rate


def poisson_trace(requests: int, rps: float, seed: int) -> list[Arrival]:
    rng, at_s, arrivals = random.Random(seed), 0.0, []
    for number in range(requests):
        arrivals.append(Arrival(at_s, number + 1, 1))
        at_s += rng.expovariate(rps)
    return arrivals


@given(ratio=st.floats(0.05, 12), seed=st.integers(0, 1000))
def test_the_mean_rate_is_what_was_asked_and_the_order_is_kept(ratio: float, seed: int) -> None:
    trace = poisson_trace(2000, 5.0, seed)
    own = extent(trace)
    made = list(to_rate(trace, own.rate_rps * ratio, seed))
    expected = own.requests * ratio
    thinned = expected % own.requests
    assert abs(len(made) - expected) <= 5 * thinned**0.5 + 1
    assert all(before.at_s <= after.at_s for before, after in pairwise(made))
    assert all(0 <= arrival.at_s <= own.span_s for arrival in made)
    assert {a.prompt_tokens for a in made} <= {a.prompt_tokens for a in trace}


@given(seed=st.integers(0, 1000), share=st.floats(0.1, 0.9))
def test_thinning_keeps_each_request_at_its_own_time(seed: int, share: float) -> None:
    trace = poisson_trace(300, 5.0, seed)
    kept = set(to_rate(trace, extent(trace).rate_rps * share, seed))
    assert kept <= set(trace)


@given(copies=st.integers(1, 8))
def test_a_whole_multiple_uses_each_request_that_often(copies: int) -> None:
    trace = poisson_trace(200, 5.0, 1)
    made = list(to_rate(trace, extent(trace).rate_rps * copies * (1 + 1e-12), 1))
    counts = [sum(a.prompt_tokens == n + 1 for a in made) for n in range(200)]
    assert set(counts) == {copies}


def test_a_burst_stays_a_burst_when_thinned() -> None:
    quiet = [Arrival(float(second), 1, 1) for second in range(1000)]
    burst = [Arrival(500 + k / 100, 2, 1) for k in range(1000)]
    trace = sorted(quiet + burst, key=lambda a: a.at_s)
    made = list(to_rate(trace, extent(trace).rate_rps / 2, 7))
    assert 400 < sum(500 <= a.at_s < 510 for a in made) < 600


def test_a_trace_is_repeated_to_the_end_of_the_duration() -> None:
    trace = poisson_trace(50, 5.0, 2)
    span_s = extent(trace).span_s
    laps = list(replayed(trace, None, 3.5 * span_s, 1))
    assert [a.prompt_tokens for a in laps[:100]] == [a.prompt_tokens for a in trace] * 2
    assert max(a.at_s for a in laps) < 3.5 * span_s
    assert len(laps) > 150
    assert len(list(replayed(trace, None, None, 1))) == 50


@given(rate_rps=st.floats(0.5, 12), seconds=st.floats(40, 900), seed=st.integers(0, 1000))
def test_the_rate_is_of_what_is_played_not_of_the_whole_trace(rate_rps: float, seconds: float, seed: int) -> None:
    """A trace that begins at a third of its own mean rate, played in part or several times."""
    quiet, loud = poisson_trace(200, 2.0, seed), poisson_trace(1600, 10.0, seed + 1)
    trace = [*quiet, *(Arrival(quiet[-1].at_s + 0.1 + a.at_s, 1, 1) for a in loud)]
    made = list(replayed(trace, rate_rps, seconds, seed))
    expected = rate_rps * seconds
    assert abs(len(made) - expected) <= 5 * expected**0.5 + 1
    assert all(before.at_s <= after.at_s for before, after in pairwise(made))
    assert all(0 <= arrival.at_s <= seconds for arrival in made)


def test_a_short_stretch_is_played_without_reading_on() -> None:
    read = []

    class Watched:
        def __iter__(self) -> Iterator[Arrival]:
            for second in range(10_000):
                read.append(second)
                yield Arrival(float(second), 1, 1)

    assert len(list(replayed(Watched(), 1.0, 25.0, 1))) == 25
    assert max(read) == 25


@pytest.mark.parametrize("rate_rps", [0.0, -1.0, float("nan"), 1e6], ids=str)
def test_an_impossible_rate_is_refused(rate_rps: float) -> None:
    with pytest.raises(UsageError):
        to_rate(poisson_trace(50, 5.0, 2), rate_rps, 1)


@pytest.mark.parametrize("requests", [0, 1])
def test_too_little_to_have_a_rate_is_refused(requests: int) -> None:
    with pytest.raises(UsageError, match="give a longer one"):
        to_rate(poisson_trace(requests, 5.0, 2), 1.0, 1)


@given(peak=st.floats(1, 20), share=st.floats(0, 1), seed=st.integers(0, 10_000))
def test_poisson_arrivals_rise_and_follow_their_rate(peak: float, share: float, seed: int) -> None:
    segments = [RateSegment(400.0, peak, lambda s: peak if s < 200 else peak * share)]
    times_s = list(poisson_times_s(segments, random.Random(seed)))
    assert all(before < after for before, after in pairwise(times_s))
    for expected, got in (
        (peak * 200, sum(t < 200 for t in times_s)),
        (peak * share * 200, sum(t >= 200 for t in times_s)),
    ):
        assert abs(got - expected) <= 6 * expected**0.5 + 1


def test_an_endless_segment_goes_on_after_a_finite_one() -> None:
    segments = [RateSegment(10.0, 0.0, lambda _: 0.0), RateSegment(None, 100.0, lambda _: 100.0)]
    times_s = list(islice(poisson_times_s(segments, random.Random(1)), 1000))
    assert times_s[0] > 10
    assert times_s[-1] == pytest.approx(20, abs=2)
