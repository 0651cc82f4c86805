"""When the light query wakes a cycle: at a jump against the minute before, and not at noise."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from controller.pressure import PressureWatch


def woken(values: Sequence[float], step_s: float = 1.0, ratio: float = 1.5) -> list[int]:
    """The samples at which the fleet jumps."""
    watch, found = PressureWatch(ratio, 60.0, 2.0), []
    for i, value in enumerate(values):
        if jumped := watch.observe({"f": value}, 1000 + i * step_s):
            watch.woken(jumped, 1000 + i * step_s)
            found.append(i)
    return found


def test_a_jump_wakes_at_its_first_sample() -> None:
    assert woken([20.0] * 30 + [35.0])[0] == 30


@pytest.mark.parametrize(("usual", "peak"), [(20.0, 30.0), (2.0, 4.0)], ids=["within the ratio", "two requests"])
def test_what_stays_within_the_ratio_or_two_requests_does_not_wake(usual: float, peak: float) -> None:
    assert woken([usual] * 30 + [peak] * 5) == []


def test_the_first_sample_above_the_ratio_wakes() -> None:
    assert woken([20.0] * 30 + [30.5])[0] == 30


def test_one_request_after_none_is_no_jump() -> None:
    assert woken([0.0] * 30 + [1.0, 2.0]) == []
    assert woken([0.0] * 30 + [3.0]) == [30]


def test_a_rise_does_not_hide_itself_and_wakes_again_every_two_seconds() -> None:
    assert woken([20.0] * 30 + [35.0, 60.0, 90.0, 120.0, 150.0]) == [30, 32, 34]


def test_after_the_rise_has_become_usual_nothing_wakes() -> None:
    found = woken([20.0] * 30 + [60.0] * 40)
    assert found
    assert max(found) <= 30 + 6


def test_peaks_older_than_the_window_are_forgotten() -> None:
    assert woken([90.0] + [20.0] * 55 + [50.0]) == []
    assert woken([90.0] + [20.0] * 70 + [50.0]) == [71]


def test_a_fleet_without_history_does_not_jump() -> None:
    assert woken([500.0, 900.0]) == []


def test_a_fleet_that_fell_silent_begins_anew() -> None:
    watch = PressureWatch(1.5, 60.0, 2.0)
    for second in range(20):
        watch.observe({"f": 10.0}, second)
    watch.observe({}, 20)
    assert watch.observe({"f": 500.0}, 21) == set()


def test_a_jump_that_got_no_cycle_goes_on_jumping() -> None:
    watch = PressureWatch(1.5, 60.0, 2.0)
    for second in range(20):
        watch.observe({"f": 10.0}, second)
    assert watch.observe({"f": 40.0}, 20) == {"f"}
    assert watch.observe({"f": 40.0}, 21) == {"f"}
    watch.woken({"f"}, 21)
    assert watch.observe({"f": 40.0}, 22) == set()


def told(values: Sequence[float], scrape_interval_s: float = 2.0) -> tuple[tuple[float, float], ...]:
    """What is told of one sample a second, at the newest of them, which woke a cycle."""
    watch = PressureWatch(1.5, 60.0, scrape_interval_s)
    for second, value in enumerate(values):
        watch.observe({"f": value}, second)
    watch.woken({"f"}, len(values) - 1)
    return watch.recent("f", len(values) - 1)


def test_only_after_a_jump_are_samples_told() -> None:
    watch = PressureWatch(1.5, 60.0, 2.0)
    for second in range(20):
        watch.observe({"f": 10.0}, second)
    assert watch.recent("f", 19.5) == ()
    watch.woken({"f"}, 20)
    assert watch.recent("f", 20) != ()
    assert watch.recent("f", 40) == ()


def test_each_value_is_told_once_at_the_time_it_was_stored_last() -> None:
    assert told([10.0] * 20 + [40.0]) == ((2.0, 10.0), (0.0, 40.0))
    assert told([10.0] * 20 + [40.0, 40.0]) == ((3.0, 10.0), (1.0, 40.0))
    assert told([10.0] * 20 + [20.0, 40.0]) == ((3.0, 10.0), (1.0, 20.0), (0.0, 40.0))


def test_seldom_scrapes_are_told_as_far_apart_as_they_are() -> None:
    assert told([10.0] * 20 + [40.0], scrape_interval_s=15.0) == ((15.0, 10.0), (0.0, 40.0))


def test_of_older_samples_the_last_one_is_told() -> None:
    assert told([5.0] * 20 + [10.0] * 5 + [20.0] * 9 + [40.0]) == ((11.0, 10.0), (2.0, 20.0), (0.0, 40.0))
