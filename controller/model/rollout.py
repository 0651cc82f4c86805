"""How a new version reaches production. Accepted and validated; acted on by the rollout controller."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from controller.model.fields import Duration, Model, Name


class VirtualServiceRef(Model):
    """The named http route whose weights are moved."""

    name: Name
    namespace: Name | None = None
    route: str = Field(min_length=1, max_length=253)


class Rollout(Model):
    """A stepped canary: weights in percent, each held until judged."""

    virtual_service: VirtualServiceRef
    steps: tuple[int, ...] = (5, 10, 25, 50, 100)
    on_inconclusive: Literal["pause", "abort", "promote"] = "pause"
    bake: Duration = 300.0
    capacity: Literal["surge", "balanced", "swap"] = "surge"
