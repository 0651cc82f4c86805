"""How the arrival rate moves in time: a scenario is a row of these phases."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import Field

from controller.model.fields import Duration, Model
from engine.load.arrivals import RateSegment

Rps = Annotated[float, Field(ge=0, le=1000, allow_inf_nan=False)]
"""Requests per second."""
Span = Annotated[Duration, Field(gt=0)]


class Phase(Model):
    """A stretch of time. `duration` null: for ever, for the last phase only."""

    name: str = Field(min_length=1, max_length=64)
    duration: Span | None
    load: bool = Field(default=False, description="Part of the load that the report judges recovery on.")


class Constant(Phase):
    """One rate."""

    kind: Literal["constant"]
    rps: Rps

    def segment(self, _before_rps: float) -> RateSegment:
        """As a segment for the arrival process."""
        return RateSegment(self.duration, self.rps, lambda _: self.rps)

    def end_rps(self) -> float:
        """Rate at the phase's end."""
        return self.rps


class Step(Phase):
    """From the rate of the phase before to `rps`, evenly, within `within`; then held."""

    kind: Literal["step"]
    rps: Rps
    within: Span = 1.0

    def segment(self, before_rps: float) -> RateSegment:
        """As a segment for the arrival process."""

        def rate_rps(offset_s: float) -> float:
            return before_rps + (self.rps - before_rps) * min(1.0, offset_s / self.within)

        return RateSegment(self.duration, max(before_rps, self.rps), rate_rps)

    def end_rps(self) -> float:
        """Rate at the phase's end."""
        return self.rps


class Ramp(Phase):
    """Evenly from `from` to `to` over the whole phase."""

    kind: Literal["ramp"]
    duration: Span
    start_rps: Rps = Field(alias="from")
    stop_rps: Rps = Field(alias="to")

    def segment(self, _before_rps: float) -> RateSegment:
        """As a segment for the arrival process."""
        slope = (self.stop_rps - self.start_rps) / self.duration
        return RateSegment(self.duration, max(self.start_rps, self.stop_rps), lambda s: self.start_rps + slope * s)

    def end_rps(self) -> float:
        """Rate at the phase's end."""
        return self.stop_rps


class Burst(Phase):
    """`rps`, and `peak` during the last `length` of every `every`."""

    kind: Literal["burst"]
    rps: Rps
    peak: Rps
    length: Span
    every: Span

    def segment(self, _before_rps: float) -> RateSegment:
        """As a segment for the arrival process."""

        def rate_rps(offset_s: float) -> float:
            return self.peak if offset_s % self.every >= self.every - self.length else self.rps

        return RateSegment(self.duration, max(self.rps, self.peak), rate_rps)

    def end_rps(self) -> float:
        """Rate at the phase's end, between bursts."""
        return self.rps


class Wave(Phase):
    """`rps` plus a sine of `amplitude` and `period`, rising first."""

    kind: Literal["wave"]
    rps: Rps
    amplitude: Rps
    period: Span

    def segment(self, _before_rps: float) -> RateSegment:
        """As a segment for the arrival process; never below 0."""

        def rate_rps(offset_s: float) -> float:
            return max(0.0, self.rps + self.amplitude * math.sin(2 * math.pi * offset_s / self.period))

        return RateSegment(self.duration, self.rps + self.amplitude, rate_rps)

    def end_rps(self) -> float:
        """The wave's middle."""
        return self.rps


AnyPhase = Annotated[Constant | Step | Ramp | Burst | Wave, Field(discriminator="kind")]


def segments_of(phases: tuple[AnyPhase, ...]) -> list[RateSegment]:
    """The phases as one row of segments; a step begins at the rate where the phase before ended."""
    segments, before_rps = [], 0.0
    for phase in phases:
        segments.append(phase.segment(before_rps))
        before_rps = phase.end_rps()
    return segments
