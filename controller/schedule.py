"""Which schedules of a fleet hold at an instant. Pure but for time zones, which are files of the system.

By the wall clock: where daylight saving skips an hour, a window inside it does not occur that day; where an hour
comes twice, a window inside it holds both times.
"""

from __future__ import annotations

from datetime import datetime
from difflib import get_close_matches
from zoneinfo import ZoneInfo, available_timezones

from controller.errors import UsageError
from controller.model.fleet import Fleet
from controller.model.problems import Problem
from controller.model.scaling import EVERY_DAY, Schedule


def active_schedules(fleet: Fleet, now: float) -> tuple[str, ...]:
    """Names of the schedules that hold at `now` (UTC seconds), in the fleet's order.

    Raises UsageError for a time zone that this system does not know.
    """
    return tuple(s.name for s in fleet.spec.scaling.schedules if _holds(s, _local(s, now)))


def check_zones(fleet: Fleet) -> tuple[Problem, ...]:
    """A problem for each schedule whose time zone this system does not know, with the nearest known one."""
    return tuple(
        Problem(
            ("spec", "scaling", "schedules", index, "timezone"),
            "is no known time zone",
            _remedy(schedule.timezone),
            f'"{schedule.timezone}"',
        )
        for index, schedule in enumerate(fleet.spec.scaling.schedules)
        if _zone(schedule.timezone) is None
    )


def _zone(name: str) -> ZoneInfo | None:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # unknown; not a key; a folder of the database, such as "Europe"
        return None


def _remedy(name: str) -> str:
    known = sorted(available_timezones())
    by_lower = {zone.lower(): zone for zone in known} | {zone.rsplit("/", 1)[-1].lower(): zone for zone in known}
    near = get_close_matches(name.lower(), by_lower, n=1, cutoff=0.75)
    return f"did you mean `{by_lower[near[0]]}`?" if near else 'write one as "Europe/Berlin" or "UTC"'


def _local(schedule: Schedule, now: float) -> datetime:
    zone = _zone(schedule.timezone)
    if zone is None:
        raise UsageError(
            f"schedule {schedule.name}: {schedule.timezone!r} is no known time zone; {_remedy(schedule.timezone)}"
        )
    return datetime.fromtimestamp(now, zone)


def _holds(schedule: Schedule, local: datetime) -> bool:
    today = EVERY_DAY[local.weekday()]
    yesterday = EVERY_DAY[local.weekday() - 1]
    wall = local.time()
    if schedule.start < schedule.end:
        return today in schedule.days and schedule.start <= wall < schedule.end
    return (today in schedule.days and wall >= schedule.start) or (yesterday in schedule.days and wall < schedule.end)
