"""How a new version reaches production. Accepted and validated; acted on by the rollout controller."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

from pydantic import Field, model_validator

from controller.model.fields import Duration, Model, Name, Ratio, format_duration
from controller.model.problems import Problem, refuse_any

Mode = Literal["canary", "blueGreen", "allAtOnce", "preview"]
_DEFAULT_STEPS: dict[str, tuple[int, ...]] = {
    "canary": (5, 10, 25, 50, 100),
    "blueGreen": (100,),
    "allAtOnce": (100,),
    "preview": (),
}


def _steps_of_mode(data: dict[str, Any]) -> tuple[int, ...]:
    return _DEFAULT_STEPS[data.get("mode", "canary")]


class VirtualServiceRef(Model):
    """The named http route whose weights are moved."""

    name: Name
    """Name of the VirtualService."""
    namespace: Name | None = None
    """Its namespace; unset: the fleet's."""
    route: str = Field(min_length=1, max_length=253)
    """Name of the http route in it. Other routes are never touched."""


class Tolerances(Model):
    """How much worse than stable the new version may be: an absolute difference of ratios."""

    errors: Ratio = 0.01
    """Share of requests answered with an error."""
    ttft: Ratio = 0.05
    """Share of requests beyond the TTFT threshold."""
    tpot: Ratio = 0.05
    """Share of requests beyond the TPOT threshold."""


class Rollout(Model):
    """A new version takes over by traffic weight, capacity first, judged against the one in production."""

    mode: Mode = "canary"
    """`canary` raises the weight step by step; `blueGreen` builds the whole new fleet, then moves all traffic;
    `allAtOnce` moves all traffic as soon as capacity is ready, without judging; `preview` never moves traffic:
    the new version is reached through routes of your own."""
    virtual_service: VirtualServiceRef
    """Where the weights are."""
    steps: tuple[int, ...] = Field(default_factory=_steps_of_mode, max_length=100)
    """Weights of the new version in percent, each held until judged. Default: [5, 10, 25, 50, 100] for `canary`,
    [100] for `blueGreen` and `allAtOnce`, none for `preview`."""
    bake: Duration = 300.0
    """Shortest time at a step, after traffic has settled, before a verdict counts."""
    max_step_time: Duration = 7200.0
    """Longest time at a step; without a verdict by then `onInconclusive` decides."""
    on_inconclusive: Literal["pause", "abort", "promote"] = "pause"
    """What to do when the evidence allows no verdict in time."""
    capacity: Literal["surge", "balanced", "swap"] = "surge"
    """`surge` keeps all replicas of the old version until the end; `balanced` lets both follow their weights;
    `swap` needs no additional GPU: it takes one replica from the old version for each of the new one."""
    tolerances: Tolerances = Tolerances()
    """How much worse the new version may be before it is taken back."""

    @model_validator(mode="after")
    def _consistent(self) -> Rollout:
        refuse_any(self._contradictions())
        return self

    def _contradictions(self) -> Iterator[Problem]:
        yield from self._wrong_steps()
        if self.mode == "blueGreen" and self.capacity != "surge":
            reason = "contradicts mode blueGreen, which builds the whole new fleet beside the old one"
            yield Problem(("capacity",), reason, "set capacity to surge, or mode to canary", self.capacity)
        if self.max_step_time <= self.bake:
            reason = f"is not longer than bake, which is {format_duration(self.bake)}: no verdict could be reached"
            yield Problem(("maxStepTime",), reason, "lengthen it or shorten bake", format_duration(self.max_step_time))

    def _wrong_steps(self) -> Iterator[Problem]:
        shown = str(list(self.steps))
        if self.mode != "canary":
            expected = _DEFAULT_STEPS[self.mode]
            if self.steps != expected:
                reason = f"contradicts mode {self.mode}, whose steps are {list(expected)}"
                yield Problem(("steps",), reason, "leave steps out, or set mode to canary", shown)
            return
        for index, (before, after) in enumerate(zip((0, *self.steps), self.steps, strict=False)):
            if after <= before:
                reason = f"is not above {f'the step before it, {before}' if index else '0'}"
                yield Problem(("steps", index), reason, "let weights rise strictly from 1 to 100", str(after))
        if not self.steps or self.steps[-1] != 100:
            yield Problem(("steps",), "does not end at 100", "let the last step be 100: all traffic", shown)
