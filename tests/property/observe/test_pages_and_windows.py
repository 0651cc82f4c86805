"""Nothing that a page contains raises, and rates behave whatever the samples are."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.observe.windows import increase, rate
from engine.exposition import read_page

LINES = (Path(__file__).parents[2] / "fixtures" / "vllm" / "saturated.prom").read_text().splitlines(keepends=True)
SOME = "".join(LINES[30:60])
COUNTERS = st.lists(st.floats(min_value=0, max_value=1e9), min_size=2, max_size=30)


@given(st.text(max_size=400))
@settings(max_examples=200)
def test_no_text_at_all_makes_the_reader_raise(text: str) -> None:
    read_page(text)


@given(st.integers(0, len(SOME) - 1), st.text(max_size=10), st.integers(0, 20))
@settings(max_examples=200)
def test_no_splice_into_a_real_page_makes_the_reader_raise(at: int, spliced: str, removed: int) -> None:
    read = read_page(SOME[:at] + spliced + SOME[at + removed :])
    assert all(isinstance(value, float) for value in read.samples.values())


@given(st.integers(1, len(SOME) - 2))
def test_a_page_cut_within_a_line_is_never_called_plausible(length: int) -> None:
    cut = SOME[:length]
    assert cut.endswith("\n") or not read_page(cut).plausible


@given(COUNTERS)
def test_the_increase_of_a_counter_is_never_negative(values: list[float]) -> None:
    assert increase(values) >= 0


@given(st.lists(st.floats(min_value=0, max_value=1e6), min_size=3, max_size=20), st.data())
def test_an_increase_is_the_sum_of_the_increases_of_its_parts(values: list[float], data: st.DataObject) -> None:
    at = data.draw(st.integers(1, len(values) - 2))
    assert increase(values[: at + 1]) + increase(values[at:]) == pytest.approx(increase(values), abs=1e-3)


@given(st.floats(min_value=0, max_value=1e5), st.floats(min_value=0.1, max_value=10), st.integers(3, 30))
def test_a_steady_counter_that_covers_the_window_reads_its_true_rate(
    per_s: float, interval_s: float, count: int
) -> None:
    times = [interval_s * at for at in range(count)]
    values = [1e6 + per_s * at_s for at_s in times]
    assert rate(times, values, 0.0, times[-1]) == pytest.approx(per_s, rel=1e-3, abs=1e-3)


@given(COUNTERS, st.floats(min_value=0.1, max_value=5))
def test_a_part_of_a_counter_never_has_a_higher_rate_than_the_whole(values: list[float], interval_s: float) -> None:
    """Buckets stay below their count: shares never exceed one."""
    whole = sorted(values)
    times = [interval_s * at for at in range(len(whole))]
    part = [value / 2 for value in whole]
    of_whole, of_part = (rate(times, samples, -0.3, times[-1] + 0.4) for samples in (whole, part))
    assert of_whole is not None
    assert of_part is not None
    assert of_part <= of_whole * (1 + 1e-9)


@given(COUNTERS)
def test_a_number_that_is_none_makes_the_rate_none_not_a_number_that_looks_right(values: list[float]) -> None:
    spoiled = rate(list(range(len(values) + 1)), [*values, math.nan], 0.0, float(len(values)))
    assert spoiled is not None
    assert math.isnan(spoiled)
