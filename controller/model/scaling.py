"""How replicas follow demand: policy, schedules, pause, manual override."""

from __future__ import annotations

from datetime import datetime, time
from typing import Literal

from pydantic import Field

from controller.model.fields import Duration, Model, Name, Ratio

Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]


class Thresholds(Model):
    """The rule that operators know: up when any signal is above its upper limit, down when all are below the lower."""

    gpu_up: Ratio = Field(default=0.8, description="GPU utilisation above which to grow.")
    queue_up: float = Field(default=50, ge=0, description="Waiting requests above which to grow.")
    gpu_down: Ratio = Field(default=0.3, description="GPU utilisation below which to shrink (with queueDown).")
    queue_down: float = Field(default=5, ge=0, description="Waiting requests below which to shrink (with gpuDown).")
    cooldown: Duration = Field(default=300.0, description="Shortest time between two changes.")
    step_up: int = Field(default=1, ge=1, le=1000)
    step_down: int = Field(default=1, ge=1, le=1000)


class Stabilization(Model):
    """Look-back windows: shrink to the most that was wanted within `down`, grow to the least within `up`."""

    down: Duration = 300.0
    up: Duration = 0.0


class StepLimits(Model):
    """Most replicas added or removed by one decision; unset: no limit up, half of the fleet (at least 1) down."""

    up: int | None = Field(default=None, ge=1, le=10_000)
    down: int | None = Field(default=None, ge=1, le=10_000)


class Schedule(Model):
    """Other bounds for a part of the day: `from` inclusive, `to` exclusive; past midnight when to <= from."""

    name: Name
    days: tuple[Day, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
    start: time = Field(alias="from")
    end: time = Field(alias="to")
    timezone: str = "UTC"
    variant: Name | None = Field(default=None, description="Only this variant; default: all.")
    min: int | None = Field(default=None, ge=0, le=10_000)
    max: int | None = Field(default=None, ge=1, le=10_000)


class Override(Model):
    """Replicas set by hand until a time. Bounds still hold."""

    replicas: dict[Name, int]
    until: datetime
    reason: str = Field(min_length=1, max_length=500)


class Scaling(Model):
    """Scaling of the whole fleet."""

    policy: Literal["slo", "thresholds"] = "slo"
    max_cost_per_hour: float | None = Field(default=None, gt=0)
    headroom: Ratio = Field(default=0.1, description="Share of learned capacity kept free.")
    stabilization: Stabilization = Stabilization()
    steps: StepLimits = StepLimits()
    thresholds: Thresholds = Thresholds()
    schedules: tuple[Schedule, ...] = Field(default=(), max_length=64)
    paused: bool = False
    override: Override | None = None
    cold_start: Duration = Field(default=120.0, description="Expected until measured.")
    start_deadline: Duration = Field(default=1800.0, description="A replica not ready by then is given up.")
    drain_budget: Duration = Field(default=120.0, description="Longest wait for running requests of a leaving replica.")
    idle_after: Duration = Field(
        default=600.0, description="Without demand for so long, a variant with min 0 goes to 0."
    )
