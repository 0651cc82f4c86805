"""Schedules by the wall clock of their zone."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from controller.errors import UsageError
from controller.model.fleet import Fleet
from controller.schedule import active_schedules, check_zones


def fleet_with(*schedules: dict[str, Any]) -> Fleet:
    return Fleet.model_validate(
        {
            "metadata": {"name": "llama"},
            "spec": {
                "modelName": "llama",
                "host": "vllm",
                "variants": [
                    {
                        "name": "v1",
                        "scaleTargetRef": {"name": "v1"},
                        "subset": "v1",
                        "accelerator": "l40s",
                        "costPerHour": 1,
                    }
                ],
                "scaling": {"schedules": [{"min": 2, "timezone": "Europe/Berlin", **s} for s in schedules]},
            },
        }
    )


def at(text: str, zone: str = "Europe/Berlin", *, fold: int = 0) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold).timestamp()


WEEK = {"days": ["mon", "tue", "wed", "thu", "fri"], "from": "08:00", "to": "18:00"}
NIGHT = {"days": ["fri"], "from": "22:00", "to": "04:00"}
WHOLE = {"days": ["sun"], "from": "00:00", "to": "24:00"}


@pytest.mark.parametrize(
    ("schedule", "when", "holds"),
    [
        pytest.param(WEEK, "2026-11-23T08:00", True, id="the first instant belongs to it"),
        pytest.param(WEEK, "2026-11-23T07:59:59.999", False, id="the instant before does not"),
        pytest.param(WEEK, "2026-11-23T17:59:59.999", True, id="the last instant belongs to it"),
        pytest.param(WEEK, "2026-11-23T18:00", False, id="its end does not"),
        pytest.param(WEEK, "2026-11-22T12:00", False, id="another day of the week"),
        pytest.param(NIGHT, "2026-11-27T22:00", True, id="past midnight: the evening on which it begins"),
        pytest.param(NIGHT, "2026-11-28T03:59", True, id="past midnight: the morning after"),
        pytest.param(NIGHT, "2026-11-28T04:00", False, id="past midnight: its end"),
        pytest.param(NIGHT, "2026-11-27T03:00", False, id="past midnight: the morning before"),
        pytest.param(NIGHT, "2026-11-28T22:30", False, id="past midnight: the next evening"),
        pytest.param(WHOLE, "2026-11-22T00:00", True, id="whole day: its first instant"),
        pytest.param(WHOLE, "2026-11-22T23:59:59", True, id="whole day: its last second"),
        pytest.param(WHOLE, "2026-11-23T00:00", False, id="whole day: the midnight after"),
    ],
)
def test_a_window_holds_from_its_begin_until_before_its_end(
    schedule: dict[str, Any], when: str, *, holds: bool
) -> None:
    fleet = fleet_with({"name": "s", **schedule})
    assert active_schedules(fleet, at(when)) == (("s",) if holds else ())


@pytest.mark.parametrize(
    ("begin", "end", "when", "fold", "holds"),
    [
        pytest.param(
            "02:15", "02:45", "2026-03-29T03:15", 0, False, id="spring: a window in the lost hour never holds"
        ),
        pytest.param("01:30", "03:30", "2026-03-29T03:15", 0, True, id="spring: a window across it ends by the clock"),
        pytest.param("02:15", "02:45", "2026-10-25T02:30", 0, True, id="autumn: the hour's first time"),
        pytest.param("02:15", "02:45", "2026-10-25T02:30", 1, True, id="autumn: the hour's second time"),
        pytest.param("02:15", "02:45", "2026-10-25T02:50", 0, False, id="autumn: between the two"),
    ],
)
def test_daylight_saving_follows_the_wall_clock(begin: str, end: str, when: str, fold: int, *, holds: bool) -> None:
    fleet = fleet_with({"name": "s", "from": begin, "to": end})
    assert active_schedules(fleet, at(when, fold=fold)) == (("s",) if holds else ())


def test_each_schedule_is_judged_in_its_own_zone_and_order_is_the_fleets() -> None:
    fleet = fleet_with(
        {"name": "kolkata", "from": "17:00", "to": "18:00", "timezone": "Asia/Kolkata"},
        {"name": "berlin", "from": "12:00", "to": "13:00"},
        {"name": "utc", "from": "12:00", "to": "13:00", "timezone": "UTC"},
    )
    assert active_schedules(fleet, at("2026-11-23T12:30")) == ("kolkata", "berlin")


@pytest.mark.parametrize(
    ("zone", "remedy"),
    [
        ("Europe/Berln", "did you mean `Europe/Berlin`?"),
        ("berlin", "did you mean `Europe/Berlin`?"),
        ("Europe", 'write one as "Europe/Berlin" or "UTC"'),
        ("../../../etc/passwd", 'write one as "Europe/Berlin" or "UTC"'),
    ],
)
def test_an_unknown_zone_is_a_problem_with_its_path_and_the_nearest_known_one(zone: str, remedy: str) -> None:
    fleet = fleet_with({"name": "ok", **WEEK}, {"name": "bad", **WEEK, "timezone": zone})
    (problem,) = check_zones(fleet)
    assert problem.path == ("spec", "scaling", "schedules", 1, "timezone")
    assert problem.remedy == remedy
    with pytest.raises(UsageError, match=r"schedule bad: .* is no known time zone"):
        active_schedules(fleet, 0.0)
