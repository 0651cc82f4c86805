"""Laws of durations, schedules and bounds."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from controller.model.bounds import effective_bounds
from controller.model.buckets import TPOT_EDGES_S, TTFT_EDGES_S, nearest_edges
from controller.model.fields import Duration, format_duration, parse_duration_s
from controller.model.fleet import Fleet
from controller.model.scaling import EVERY_DAY
from controller.schedule import active_schedules

YEAR_S = 31_536_000
ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "America/Sao_Paulo")
DURATION: TypeAdapter[float] = TypeAdapter(Duration)


def fleet_with(schedules: list[dict[str, Any]], low: int = 2, high: int = 10) -> Fleet:
    variant = {"name": "v1", "scaleTargetRef": {"name": "a"}, "subset": "v1", "accelerator": "x", "costPerHour": 1}
    spec = {"modelName": "m", "host": "h", "variants": [{**variant, "replicas": {"min": low, "max": high}}]}
    return Fleet.model_validate(
        {"metadata": {"name": "f"}, "spec": {**spec, "scaling": {"schedules": schedules}}},
    )


@given(st.floats(min_value=0, max_value=YEAR_S))
def test_any_duration_is_read_back_as_the_very_same_float(seconds: float) -> None:
    assert parse_duration_s(format_duration(seconds)) == seconds
    assert DURATION.validate_json(DURATION.dump_json(seconds)) == seconds


@given(st.integers(0, 10**9), st.sampled_from([("ms", 1000, 1), ("s", 1, 1), ("m", 1, 60), ("h", 1, 3600)]))
def test_a_whole_number_of_units_is_exact(number: int, unit: tuple[str, int, int]) -> None:
    name, divisor, factor = unit
    assert parse_duration_s(f"{number}{name}") == number * factor / divisor


@given(st.text(max_size=12))
def test_any_other_text_is_refused_and_never_crashes(text: str) -> None:
    assume(not re.fullmatch(r"([0-9.]+(ms|s|m|h|d))+", text))
    with pytest.raises(ValueError, match="write a number with its unit"):
        parse_duration_s(text)


@given(st.floats() | st.integers() | st.booleans() | st.none())
def test_in_a_document_a_duration_without_unit_is_refused(value: object) -> None:
    text = "null" if value is None else str(value).lower().replace("inf", "Infinity").replace("nan", "NaN")
    with pytest.raises(ValidationError):
        DURATION.validate_json(text, strict=True)


times = st.times().map(lambda t: t.replace(second=0, microsecond=0, tzinfo=None))
instants = st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC)).map(datetime.timestamp)  # noqa: DTZ001 - hypothesis wants naive limits
day_sets = st.lists(st.sampled_from(EVERY_DAY), min_size=1, unique=True)


@given(times, times, day_sets, st.sampled_from(ZONES), instants)
def test_a_schedule_holds_exactly_when_the_last_begin_by_the_wall_clock_is_nearer_than_the_last_end(
    begin: Any, end: Any, days: list[str], zone: str, now: float
) -> None:
    assume(begin != end)
    fleet = fleet_with([{"name": "s", "from": begin, "to": end, "days": days, "timezone": zone, "min": 3}])
    wall = datetime.fromtimestamp(now, ZoneInfo(zone)).replace(tzinfo=None)
    expected = False
    for back in (0, 1):
        day = (wall - timedelta(days=back)).date()
        start = datetime.combine(day, begin)
        stop = datetime.combine(day if begin < end else day + timedelta(days=1), end)
        expected = expected or (EVERY_DAY[day.weekday()] in days and start <= wall < stop)
    assert (active_schedules(fleet, now) == ("s",)) is expected


@given(times, times, st.sampled_from(ZONES), instants)
def test_a_window_and_its_complement_never_hold_together_and_leave_no_gap(
    begin: Any, end: Any, zone: str, now: float
) -> None:
    assume(begin != end)
    fleet = fleet_with(
        [
            {"name": "in", "from": begin, "to": end, "timezone": zone, "min": 3},
            {"name": "out", "from": end, "to": begin, "timezone": zone, "min": 3},
        ]
    )
    assert len(active_schedules(fleet, now)) == 1


ceilings = st.integers(10, 40)
limits = (
    st.tuples(st.integers(0, 10), ceilings)
    | st.tuples(st.integers(0, 8), st.none())
    | st.tuples(st.none(), ceilings)
    | st.just((0, 0))
)


@given(st.lists(limits, max_size=6), st.integers(0, 8), st.integers(8, 20), st.sets(st.integers(0, 5)))
def test_effective_bounds_never_cross_and_no_schedule_is_denied_its_floor_or_its_ceiling(
    pairs: list[tuple[int | None, int | None]], low: int, high: int, active: set[int]
) -> None:
    schedules = [
        {"name": f"s{i}", "from": "08:00", "to": "18:00", "min": a, "max": b} for i, (a, b) in enumerate(pairs)
    ]
    assume(low <= high and all((a if a is not None else low) <= (b if b is not None else high) for a, b in pairs))
    fleet = fleet_with(schedules, low, high)
    names = [f"s{i}" for i in active]
    bounds = effective_bounds(fleet, "v1", names)
    assert bounds.min <= bounds.max
    for schedule in fleet.spec.scaling.schedules:
        if schedule.name in names:
            assert bounds.min >= (schedule.min or 0)
            assert bounds.max >= (schedule.max or 0)


@given(st.floats(min_value=0, max_value=10_000), st.sampled_from([TTFT_EDGES_S, TPOT_EDGES_S]))
def test_the_nearest_edges_enclose_a_threshold(threshold_s: float, edges: tuple[float, ...]) -> None:
    assume(threshold_s not in edges)
    near = nearest_edges(threshold_s, edges)
    assert set(near) <= set(edges)
    if len(near) == 2:
        assert near[0] < threshold_s < near[1]
        assert edges.index(near[1]) == edges.index(near[0]) + 1
    else:
        assert near in ((edges[0],), (edges[-1],))
