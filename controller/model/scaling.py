"""How replicas follow demand: policy, schedules, pause, manual override."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from pydantic import AwareDatetime, Field, model_validator

from controller.model.fields import Count, Duration, Model, Name, Ratio, Share, TimeOfDay, WindowEnd, format_duration
from controller.model.problems import Problem, refuse_any

Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
EVERY_DAY: tuple[Day, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


class Thresholds(Model):
    """The rule that operators know: up when any signal is above its upper limit, down when all are below the lower."""

    gpu_up: Ratio = 0.8
    """GPU utilisation (a ratio) above which to grow."""
    queue_up: float = Field(default=50, ge=0, le=1_000_000)
    """Waiting requests of the whole fleet above which to grow."""
    gpu_down: Ratio = 0.3
    """GPU utilisation (a ratio) below which to shrink, together with `queueDown`."""
    queue_down: float = Field(default=5, ge=0, le=1_000_000)
    """Waiting requests of the whole fleet below which to shrink, together with `gpuDown`."""
    cooldown: Duration = 300.0
    """Shortest time between two changes; a fleet at 0 replicas does not wait for it."""
    step_up: int = Field(default=1, ge=1, le=1000)
    """Replicas added by one change."""
    step_down: int = Field(default=1, ge=1, le=1000)
    """Replicas removed by one change."""

    @model_validator(mode="after")
    def _ordered(self) -> Thresholds:
        refuse_any(self._contradictions())
        return self

    def _contradictions(self) -> Iterator[Problem]:
        remedy = "leave a gap between the two, or the fleet grows and shrinks in turn"
        if self.gpu_up <= self.gpu_down:
            yield Problem(("gpuUp",), f"is not above gpuDown, which is {self.gpu_down:g}", remedy, f"{self.gpu_up:g}")
        if self.queue_up <= self.queue_down:
            reason = f"is not above queueDown, which is {self.queue_down:g}"
            yield Problem(("queueUp",), reason, remedy, f"{self.queue_up:g}")


class Stabilization(Model):
    """Look-back windows: shrink to the most that was wanted within `down`, grow to the least within `up`."""

    down: Duration = 300.0
    """Shrink only to the most that was wanted within this time."""
    up: Duration = 0.0
    """Grow only to the least that was wanted within this time; 0s grows at once, and so does a fleet at 0 replicas."""


class StepLimits(Model):
    """Most replicas that one decision may add or remove."""

    up: int | None = Field(default=None, ge=1, le=10_000)
    """Most replicas added by one decision; unset: no limit."""
    down: int | None = Field(default=None, ge=1, le=10_000)
    """Most replicas removed by one decision; unset: half of the fleet, at least 1."""


class Schedule(Model):
    """Other bounds for a part of the day: `from` inclusive, `to` exclusive, in local wall time.

    Past midnight when `to` is earlier than `from`; then `days` are those on which it begins. Where schedules
    overlap, the highest min and the highest max hold.
    """

    name: Name
    """Unique in the fleet; decisions name it."""
    days: tuple[Day, ...] = Field(default=EVERY_DAY, min_length=1)
    """Days of the week on which it begins."""
    start: TimeOfDay = Field(alias="from")
    """Begin, "HH:MM" by the wall clock of `timezone`, inclusive."""
    end: WindowEnd = Field(alias="to")
    """End, exclusive; "24:00" is midnight. "00:00" to "24:00" is the whole day."""
    timezone: str = Field(default="UTC", min_length=1, max_length=64)
    """Name in the IANA time zone database, as "Europe/Berlin"."""
    variant: Name | None = None
    """Only this variant; unset: every variant."""
    min: Count | None = None
    """Fewest replicas meanwhile; unset: the variant's own."""
    max: Count | None = None
    """Most replicas meanwhile (0 switches off); unset: the variant's own."""

    @model_validator(mode="after")
    def _consistent(self) -> Schedule:
        refuse_any(self._contradictions())
        return self

    def _contradictions(self) -> Iterator[Problem]:
        if self.start == self.end and (self.start.hour or self.start.minute or self.start.second):
            reason = "equals from, so the window is empty"
            yield Problem(
                ("to",), reason, 'write another time; the whole day is "00:00" to "24:00"', f"{self.end:%H:%M}"
            )
        twice = sorted({day for day in self.days if self.days.count(day) > 1}, key=EVERY_DAY.index)
        if twice:
            yield Problem(("days",), f"names {twice[0]} twice", "name each day once")
        if self.min is None and self.max is None:
            yield Problem((), "changes nothing", "give it min, max or both")
        elif self.min is not None and self.max is not None and self.min > self.max:
            yield Problem(("min",), f"is above max, which is {self.max}", "lower min or raise max", str(self.min))


class Override(Model):
    """Replicas set by hand until a time. Bounds still hold."""

    replicas: dict[Name, Count] = Field(min_length=1)
    """Replicas by variant; the variants not named here stay under control, with these counted as given."""
    until: AwareDatetime
    """End of the override, with its offset from UTC: "2026-12-24T18:00:00Z"."""
    reason: str = Field(min_length=1, max_length=500)
    """Why; every decision meanwhile repeats it."""


class Scaling(Model):
    """Scaling of the whole fleet."""

    policy: Literal["slo", "thresholds"] = "slo"
    """`slo` sizes for the objectives at the least cost; `thresholds` follows the rule under `thresholds`."""
    max_cost_per_hour: float | None = Field(default=None, gt=0, le=1_000_000_000)
    """Most that all replicas together may cost per hour, in the currency of `costPerHour`; unset: no limit."""
    headroom: Share = 0.1
    """Share of learned capacity kept free."""
    stabilization: Stabilization = Stabilization()
    """Look-back windows against flapping."""
    steps: StepLimits = StepLimits()
    """Most replicas that one decision may change."""
    thresholds: Thresholds = Thresholds()
    """Limits of policy `thresholds`; unused by the other one."""
    schedules: tuple[Schedule, ...] = Field(default=(), max_length=64)
    """Other bounds by time of day."""
    paused: bool = False
    """Observe and explain, change nothing."""
    override: Override | None = None
    """Replicas set by hand until a time."""
    cold_start: Duration = 120.0
    """Time from the order of a replica until it is ready, expected until it was measured."""
    start_deadline: Duration = 1800.0
    """A replica not ready after this time is given up."""
    drain_budget: Duration = 120.0
    """Longest wait for the running requests of a leaving replica."""
    idle_after: Duration = 600.0
    """Without demand for so long, a variant with min 0 goes to 0."""

    @model_validator(mode="after")
    def _consistent(self) -> Scaling:
        refuse_any(self._contradictions())
        return self

    def _contradictions(self) -> Iterator[Problem]:
        if self.start_deadline <= self.cold_start:
            yield Problem(
                ("startDeadline",),
                f"is not longer than coldStart, which is {format_duration(self.cold_start)}: "
                "every replica would be given up",
                "allow several times the expected start",
                format_duration(self.start_deadline),
            )
