"""The Fleet resource: one served model, its variants, objectives, scaling and rollout.

One pydantic model is the source of the YAML file that the daemon takes outside a cluster, of the CRD's schema
and of the reference documentation. Field names in YAML are camelCase.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Literal

from pydantic import Field, model_validator

from controller.model.buckets import TPOT_EDGES_S, TTFT_EDGES_S, edges_text, nearest_edges
from controller.model.contradictions import spec_contradictions
from controller.model.fields import Duration, Model, Name, Ratio, format_duration
from controller.model.problems import Problem, refuse_any
from controller.model.rollout import Rollout
from controller.model.scaling import Scaling
from controller.model.traffic import Traffic
from controller.model.variant import ReplicaBounds, ScaleTargetRef, Variant
from controller.model.weights import RouteRef, Weights


class LatencyObjective(Model):
    """At least `target` of the requests within `threshold`, a bucket edge of vLLM's histogram."""

    threshold: Duration
    """The promise, at a bucket edge: elsewhere the share within it could only be guessed."""
    target: Ratio = 0.95
    """Share of the requests that keep it."""
    bucket_edges: tuple[Duration, ...] | None = Field(default=None, min_length=1, max_length=200)
    """Edges of the histogram where vLLM was started with `--custom-histogram-buckets` (0.32 and later);
    unset: vLLM's own."""

    @model_validator(mode="after")
    def _increasing(self) -> LatencyObjective:
        edges = self.bucket_edges or ()
        refuse_any(
            Problem(
                ("bucketEdges", index + 1),
                f"is not above the edge before it, {format_duration(low)}",
                "list the edges in rising order, each once",
                format_duration(high),
            )
            for index, (low, high) in enumerate(pairwise(edges))
            if high <= low
        )
        return self


class AvailabilityObjective(Model):
    """At least `target` of the requests answered without error."""

    target: Ratio = 0.999
    """Share of the requests answered without error."""


class Objectives(Model):
    """What was promised to the users of the model."""

    ttft: LatencyObjective = LatencyObjective(threshold=1.0)
    """Time to first token: from arrival to the first token, waiting included. Default: 95 % within 1s."""
    tpot: LatencyObjective = LatencyObjective(threshold=0.05)
    """Time per output token after the first, averaged over a request. Default: 95 % within 50ms."""
    availability: AvailabilityObjective = AvailabilityObjective()
    """Requests answered at all. Default: 99.9 % without error."""

    @property
    def ttft_edges_s(self) -> tuple[float, ...]:
        """Bucket edges of the TTFT histogram, in seconds, rising."""
        return self.ttft.bucket_edges or TTFT_EDGES_S

    @property
    def tpot_edges_s(self) -> tuple[float, ...]:
        """Bucket edges of the TPOT histogram, in seconds, rising."""
        return self.tpot.bucket_edges or TPOT_EDGES_S

    @model_validator(mode="after")
    def _at_edges(self) -> Objectives:
        refuse_any(self._off_edge())
        return self

    def _off_edge(self) -> Iterator[Problem]:
        for name, objective, edges in (
            ("ttft", self.ttft, self.ttft_edges_s),
            ("tpot", self.tpot, self.tpot_edges_s),
        ):
            if objective.threshold not in edges:
                near = edges_text(nearest_edges(objective.threshold, edges))
                custom = "" if objective.bucket_edges else ", or list custom edges in bucketEdges"
                yield Problem(
                    (name, "threshold"),
                    f"is no bucket edge of the {name.upper()} histogram, so the share within it cannot be counted",
                    f"write {near}{custom}",
                    format_duration(objective.threshold),
                )


class Metadata(Model):
    """Kubernetes object metadata, the part that matters here."""

    name: Name
    """Name of the fleet."""
    namespace: Name = "default"
    """Namespace of its Deployments, and the `namespace` label of its metrics."""
    labels: dict[str, str] = Field(default_factory=dict)
    """For your own use."""
    annotations: dict[str, str] = Field(default_factory=dict)
    """For your own use."""
    generation: int = Field(default=0, ge=0)
    """Set by Kubernetes: counts changes of `spec`."""


class FleetSpec(Model):
    """What is wanted."""

    model_name: str = Field(min_length=1, max_length=512)
    """The served model as in vLLM's `model_name` label: its first served name."""
    host: Name
    """Kubernetes Service, and Istio host, through which the model is reached."""
    variants: tuple[Variant, ...] = Field(min_length=1, max_length=16)
    """What can serve the model. The first one's subset holds production traffic at the beginning."""
    objectives: Objectives = Objectives()
    """What was promised to the users of the model."""
    scaling: Scaling = Scaling()
    """How replicas follow demand."""
    traffic: Traffic | None = None
    """The split over versions, set by hand; unset: weights are moved by a rollout, or not at all."""
    rollout: Rollout | None = None
    """How a new version takes over; unset: none does by itself."""

    @model_validator(mode="after")
    def _consistent(self) -> FleetSpec:
        refuse_any(spec_contradictions(self.variants, self.scaling, self.rollout, self.traffic))
        return self


class Fleet(Model):
    """One served model."""

    api_version: Literal["governor.dev/v1alpha1"] = "governor.dev/v1alpha1"
    """Version of this resource."""
    kind: Literal["Fleet"] = "Fleet"
    """Kind of this resource."""
    metadata: Metadata
    """Its name."""
    spec: FleetSpec
    """What is wanted."""

    @property
    def key(self) -> str:
        """namespace/name."""
        return f"{self.metadata.namespace}/{self.metadata.name}"

    @property
    def subsets(self) -> tuple[str, ...]:
        """Its versions, in the order of its variants, each once."""
        return tuple(dict.fromkeys(variant.subset for variant in self.spec.variants))

    @property
    def wanted_weights(self) -> Weights | None:
        """The split set by hand, over all subsets; None where there is none."""
        traffic = self.spec.traffic
        return None if traffic is None else tuple((s, traffic.weights.get(s, 0)) for s in self.subsets)

    @property
    def route(self) -> RouteRef | None:
        """Where the weights set by hand are kept; None where there are none."""
        if self.spec.traffic is None:
            return None
        where, host = self.spec.traffic.virtual_service, self.spec.host
        # A short name means another Service in a VirtualService of another namespace.
        full = host if "." in host else f"{host}.{self.metadata.namespace}"
        return RouteRef(where.namespace or self.metadata.namespace, where.name, where.route, full)

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
