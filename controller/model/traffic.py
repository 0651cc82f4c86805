"""Traffic split by hand: which share of the requests each version gets. Written as soon as capacity allows."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from controller.model.fields import Model, Name
from controller.model.problems import Problem, refuse_any, value_text
from controller.model.rollout import VirtualServiceRef

Percent = Annotated[int, Field(ge=0, le=100)]
"""A whole number of hundredths."""


class Traffic(Model):
    """The split that is wanted. Capacity moves first: replicas are ordered, the weights wait until they are ready."""

    virtual_service: VirtualServiceRef
    """Where the weights are."""
    weights: dict[Name, Percent] = Field(min_length=1)
    """Percent of the fleet's requests by subset, 100 together; a subset not named here gets none."""

    @model_validator(mode="after")
    def _whole(self) -> Traffic:
        total = sum(self.weights.values())
        if total != 100:
            remedy = "let them sum to 100: all of the fleet's requests"
            refuse_any([Problem(("weights",), f"sum to {total}", remedy, value_text(self.weights))])
        return self
