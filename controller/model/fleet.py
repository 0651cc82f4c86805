"""The Fleet resource: one served model, its variants, objectives, scaling and rollout.

One pydantic model is the source of the YAML file that the daemon takes outside a cluster, of the CRD's schema
and of the reference documentation. Field names in YAML are camelCase.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from controller.model.fields import Duration, Model, Name, Ratio
from controller.model.rollout import Rollout
from controller.model.scaling import Scaling


class ScaleTargetRef(Model):
    """Any object with a scale subresource, as in the HorizontalPodAutoscaler."""

    api_version: str = "apps/v1"
    kind: str = "Deployment"
    name: Name


class ReplicaBounds(Model):
    """How few and how many replicas a variant may have. `min: 0` opts in to scaling to zero."""

    min: int = Field(default=1, ge=0, le=10_000)
    max: int = Field(default=10, ge=1, le=10_000)


class Variant(Model):
    """A Deployment that can serve the model.

    Variants that share a `subset` are flavours of one version (another accelerator, spot capacity) and may
    replace each other; different subsets are different versions, and traffic moves between them by weight only.
    """

    name: Name
    scale_target_ref: ScaleTargetRef
    subset: Name
    accelerator: Name
    cost_per_hour: float = Field(gt=0, le=100_000, description="Price of one replica, in any one currency per hour.")
    gpus_per_replica: int = Field(default=1, ge=1, le=1024)
    replicas: ReplicaBounds = ReplicaBounds()
    profile: str | None = Field(
        default=None,
        description="Capacity profile to start from: a shipped name or a file; default: by model and accelerator.",
    )


class LatencyObjective(Model):
    """At least `target` of the requests within `threshold`, a bucket edge of vLLM's histogram."""

    threshold: Duration
    target: Ratio = 0.95


class AvailabilityObjective(Model):
    """At least `target` of the requests answered without error."""

    target: Ratio = 0.999


class Objectives(Model):
    """What was promised to the users of the model."""

    ttft: LatencyObjective = LatencyObjective(threshold=1.0)
    tpot: LatencyObjective = LatencyObjective(threshold=0.05)
    availability: AvailabilityObjective = AvailabilityObjective()


class Metadata(Model):
    """Kubernetes object metadata, the part that matters here."""

    name: Name
    namespace: Name = "default"
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)
    generation: int = 0


class FleetSpec(Model):
    """What is wanted."""

    model_name: str = Field(min_length=1, max_length=512, description="vLLM's model_name label.")
    host: Name = Field(description="Kubernetes Service / Istio host.")
    variants: tuple[Variant, ...] = Field(min_length=1, max_length=16)
    objectives: Objectives = Objectives()
    scaling: Scaling = Scaling()
    rollout: Rollout | None = None


class Fleet(Model):
    """One served model."""

    api_version: Literal["governor.dev/v1alpha1"] = "governor.dev/v1alpha1"
    kind: Literal["Fleet"] = "Fleet"
    metadata: Metadata
    spec: FleetSpec

    @property
    def key(self) -> str:
        """namespace/name."""
        return f"{self.metadata.namespace}/{self.metadata.name}"

    def variant(self, name: str) -> Variant:
        """The variant of that name. Raises KeyError."""
        for variant in self.spec.variants:
            if variant.name == name:
                return variant
        raise KeyError(name)


__all__ = [
    "AvailabilityObjective",
    "Fleet",
    "FleetSpec",
    "LatencyObjective",
    "Metadata",
    "Objectives",
    "ReplicaBounds",
    "ScaleTargetRef",
    "Variant",
]
