"""How the arrival rate moves in time: a scenario is a row of these phases."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Literal

from pydantic import Field, model_validator

from controller.model.fields import Duration, Model
from controller.model.problems import Problem, either, refuse_any
from engine.load.arrivals import RateSegment

Rps = Annotated[float, Field(ge=0, le=1000)]
"""Requests per second."""
Span = Annotated[Duration, Field(gt=0)]
Kind = Literal["constant", "step", "ramp", "burst", "wave"]

_FIELDS: Mapping[Kind, tuple[str, ...]] = {
    "constant": ("rps",),
    "step": ("rps", "within"),
    "ramp": ("from", "to"),
    "burst": ("rps", "peak", "length", "every"),
    "wave": ("rps", "amplitude", "period"),
}
"""What each kind needs, in YAML spelling."""


class Phase(Model):
    """A stretch of time with one shape of rate."""

    name: str = Field(min_length=1, max_length=64)
    """For people."""
    kind: Kind
    """constant: `rps`. step: from where the phase before ended to `rps`, evenly, within `within`; then held.
    ramp: evenly from `from` to `to`. burst: `rps`, and `peak` during the last `length` of every `every`.
    wave: `rps` plus a sine of `amplitude` and `period`, rising first, never below 0."""
    duration: Span | None = None
    """How long; without it, for ever, for the last phase only."""
    load: bool = False
    """Part of the load that the report judges recovery on."""
    rps: Rps | None = None
    within: Span | None = None
    start_rps: Rps | None = Field(default=None, alias="from")
    stop_rps: Rps | None = Field(default=None, alias="to")
    peak: Rps | None = None
    length: Span | None = None
    every: Span | None = None
    amplitude: Rps | None = None
    period: Span | None = None

    @model_validator(mode="after")
    def _fields_of_kind(self) -> Phase:
        refuse_any(self._misfits())
        return self

    def _misfits(self) -> Iterator[Problem]:
        needed = _FIELDS[self.kind]
        given = {info.alias or name: getattr(self, name) for name, info in type(self).model_fields.items()}
        for name in needed:
            if given[name] is None:
                yield Problem((name,), f"is missing: a {self.kind} needs {_all(needed)}", "add it")
        for name in sorted({field for fields in _FIELDS.values() for field in fields} - set(needed)):
            if given[name] is not None:
                yield Problem((name,), f"means nothing in a {self.kind}, which has {_all(needed)}", "remove it")
        if self.kind == "ramp" and self.duration is None:
            yield Problem(("duration",), "is missing: a ramp has an end", "add it")

    def segment(self, before_rps: float) -> RateSegment:
        """As a segment of the arrival process; `before_rps`: the rate where the phase before ended."""
        rate_rps, peak_rps = _SHAPES[self.kind](self, before_rps)
        return RateSegment(self.duration, peak_rps, rate_rps)

    @property
    def end_rps(self) -> float:
        """The rate that it ends at: between bursts, in the middle of a wave."""
        return _given(self.stop_rps if self.kind == "ramp" else self.rps)


Shape = tuple[Callable[[float], float], float]
"""Requests/s at so many seconds after the phase's start, and the most that they ever are."""


def _constant(phase: Phase, _before_rps: float) -> Shape:
    rps = _given(phase.rps)
    return lambda _: rps, rps


def _step(phase: Phase, before_rps: float) -> Shape:
    rps, within_s = _given(phase.rps), _given(phase.within)
    return lambda s: before_rps + (rps - before_rps) * min(1.0, s / within_s), max(before_rps, rps)


def _ramp(phase: Phase, _before_rps: float) -> Shape:
    start, stop, duration_s = _given(phase.start_rps), _given(phase.stop_rps), _given(phase.duration)
    return lambda s: start + (stop - start) * s / duration_s, max(start, stop)


def _burst(phase: Phase, _before_rps: float) -> Shape:
    rps, peak = _given(phase.rps), _given(phase.peak)
    every_s, length_s = _given(phase.every), _given(phase.length)
    return lambda s: peak if s % every_s >= every_s - length_s else rps, max(rps, peak)


def _wave(phase: Phase, _before_rps: float) -> Shape:
    rps, amplitude, period_s = _given(phase.rps), _given(phase.amplitude), _given(phase.period)
    return lambda s: max(0.0, rps + amplitude * math.sin(2 * math.pi * s / period_s)), rps + amplitude


_SHAPES: Mapping[Kind, Callable[[Phase, float], Shape]] = {
    "constant": _constant,
    "step": _step,
    "ramp": _ramp,
    "burst": _burst,
    "wave": _wave,
}


def _given(value: float | None) -> float:
    """A field that validation has made sure of."""
    if value is None:
        raise AssertionError("a validated phase has the fields of its kind")
    return value


def _all(names: tuple[str, ...]) -> str:
    return either(names).replace(" or ", " and ")


def segments_of(phases: tuple[Phase, ...]) -> list[RateSegment]:
    """The phases as one row of segments."""
    segments, before_rps = [], 0.0
    for phase in phases:
        segments.append(phase.segment(before_rps))
        before_rps = phase.end_rps
    return segments
