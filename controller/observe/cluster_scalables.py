"""Objects with a scale subresource, reduced to what is read of them."""

from __future__ import annotations

from dataclasses import dataclass

from controller.cluster.client import Json
from controller.cluster.raw import at, text, version_of, whole
from controller.cluster.selectors import Selector, parse_selector, selector_of
from controller.observe.cluster_facts import PodFacts
from controller.observe.second_writers import Owner, TargetRef, applies_replicas, replicas_owners


@dataclass(frozen=True, slots=True)
class Scalable:
    """What is wanted of a target, by whom, and which pods are its own."""

    ref: TargetRef
    resource_version: str
    desired: int
    selector: Selector | None
    """None where it cannot be told."""
    owners: tuple[Owner, ...]
    applies_replicas: bool
    """Whether its manifest sets replicas whenever somebody applies it."""

    def owns(self, pod: PodFacts) -> bool:
        """Whether a pod that the selector selects is its own: selectors of two targets may overlap by mistake."""
        kind, name = pod.owner
        if self.ref.kind in {"StatefulSet", "ReplicaSet"}:
            return (kind, name) == (self.ref.kind, self.ref.name)
        if self.ref.kind != "Deployment":
            return True
        revision = pod.labels.get("pod-template-hash", "")
        # A ReplicaSet is named after its Deployment and the hash; one that was adopted has a name of its own.
        return kind == "ReplicaSet" and (name == f"{self.ref.name}-{revision}" or not name.endswith(f"-{revision}"))


@dataclass(frozen=True, slots=True)
class Fields:
    """What the object itself says of the owners of its replicas."""

    owners: tuple[Owner, ...]
    applies_replicas: bool


def fields_of(raw: Json) -> Fields:
    """Of any raw object."""
    return Fields(replicas_owners(raw), applies_replicas(raw))


def scalable_of(raw: Json, group: str, kind: str) -> Scalable:
    """Of a raw object whose `spec.selector` is a label selector: Deployment, StatefulSet."""
    replicas = whole(raw, "spec", "replicas")
    fields = fields_of(raw)
    return Scalable(
        ref=TargetRef(group, kind, text(raw, "metadata", "namespace"), text(raw, "metadata", "name")),
        resource_version=version_of(raw),
        desired=1 if replicas is None else replicas,
        selector=_selector(raw),
        owners=fields.owners,
        applies_replicas=fields.applies_replicas,
    )


def scalable_of_scale(raw: Json, ref: TargetRef, fields: Fields) -> Scalable:
    """Of a raw Scale, the answer of any scale subresource. Its count is 0 where it has none."""
    written = text(raw, "status", "selector")
    try:
        selector = parse_selector(written) if written else None
    except ValueError:
        selector = None
    desired = whole(raw, "spec", "replicas") or 0
    return Scalable(ref, version_of(raw), desired, selector, fields.owners, fields.applies_replicas)


def _selector(raw: Json) -> Selector | None:
    try:
        return selector_of(at(raw, "spec", "selector"))
    except ValueError:
        return None
