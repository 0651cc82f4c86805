"""A variant of a fleet: a Deployment that can serve the model, what it costs and how far it may scale."""

from __future__ import annotations

from pydantic import Field, model_validator

from controller.model.fields import Count, Model, Name
from controller.model.problems import Problem, RefusedError


class ScaleTargetRef(Model):
    """Any object with a scale subresource, as in the HorizontalPodAutoscaler."""

    api_version: str = Field(default="apps/v1", min_length=1, max_length=253)
    """API group and version of the object."""
    kind: str = Field(default="Deployment", min_length=1, max_length=63)
    """Deployment, StatefulSet, LeaderWorkerSet or another kind with a scale subresource."""
    name: Name
    """Name of the object, in the fleet's namespace."""


class ReplicaBounds(Model):
    """How few and how many replicas a variant may have."""

    min: Count = 1
    """Fewest replicas. 0 opts in to scaling to zero."""
    max: int = Field(default=10, ge=1, le=10_000)
    """Most replicas."""

    @model_validator(mode="after")
    def _ordered(self) -> ReplicaBounds:
        if self.min > self.max:
            given = "" if "max" in self.model_fields_set else " by default"
            reason = f"is above max, which is {self.max}{given}"
            raise RefusedError([Problem(("min",), reason, "lower min or raise max", str(self.min))])
        return self


class Variant(Model):
    """A Deployment that can serve the model.

    Variants that share a `subset` are flavours of one version (another accelerator, spot capacity) and may
    replace each other; different subsets are different versions, and traffic moves between them by weight only.
    """

    name: Name
    """Unique in the fleet; also the `variant` label of its metrics."""
    scale_target_ref: ScaleTargetRef
    """The object that is scaled."""
    subset: Name
    """Subset of the DestinationRule: the version that this variant runs."""
    accelerator: Name
    """Name of the GPU, as in capacity profiles: "l40s", "h100", "a10g"."""
    cost_per_hour: float = Field(gt=0, le=100_000)
    """Price of one replica per hour, in any one currency."""
    gpus_per_replica: int = Field(default=1, ge=1, le=1024)
    """GPUs that one replica takes."""
    replicas: ReplicaBounds = ReplicaBounds()
    """How few and how many. Default: 1 to 10."""
    profile: str | None = Field(default=None, min_length=1, max_length=4096)
    """Capacity profile to start from: a shipped name or a file; unset: by model and accelerator."""
