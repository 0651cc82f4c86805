"""Rates from samples in memory, by Prometheus's formula."""

from __future__ import annotations

import pytest

from controller.observe.windows import increase, rate


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0, 4, 9], 9),
        ([5, 5, 5], 0),
        ([10, 12, 3, 4], 2 + 3 + 1),
        ([10, 0, 10, 0, 10], 20),
    ],
    ids=["growth", "silence", "one reset", "two resets"],
)
def test_an_increase_repairs_resets(values: list[float], expected: float) -> None:
    assert increase(values) == expected


@pytest.mark.parametrize(
    ("times", "values", "expected"),
    [
        ([1, 2, 3, 4, 5, 6, 7, 8, 9], [v * 2.0 + 50 for v in range(9)], 2.0),
        ([5, 6, 7, 8, 9], [0, 2, 4, 6, 8], (8 + 2) / 10),
        ([1, 2, 3], [100, 102, 104], (4 + 2 + 1) / 10),
        ([5, 6, 7, 8, 9], [2, 4, 6, 8, 10], (8 + 2 + 2) / 10),
        ([9], [5], None),
        ([], [], None),
        ([4, 4], [1, 2], None),
    ],
    ids=["covering", "born at zero", "died", "born", "one sample", "none", "same instant"],
)
def test_a_rate_over_ten_seconds_is_the_growth_in_it(
    times: list[float], values: list[float], expected: float | None
) -> None:
    found = rate(times, values, 0.0, 10.0)
    assert found == (None if expected is None else pytest.approx(expected))
