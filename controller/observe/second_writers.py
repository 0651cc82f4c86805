"""Who else writes the replicas of a target: autoscalers that point at it, and owners of the field. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from controller.cluster.client import Json
from controller.cluster.names import FIELD_MANAGER
from controller.cluster.raw import at, objects, text

_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
_PAUSED = "autoscaling.keda.sh/paused"

_BY_HAND = frozenset({"kubectl", "kubectl-edit", "kubectl-patch", "kubectl-replace", "kubectl-scale", "oc", "k9s"})
"""Managers of commands that a person gives once."""
_ONE_OFF = frozenset({"kubectl", "helm"})
"""Managers that apply a manifest when a person or a pipeline says so, and not by themselves."""
_SERVER = frozenset({"kube-controller-manager"})
"""Writes replicas for HorizontalPodAutoscalers; those are looked at themselves, and may be gone since."""


@dataclass(frozen=True, slots=True)
class TargetRef:
    """An object with a scale subresource. Its version does not tell it from another."""

    group: str
    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class Autoscaler:
    """An object that makes a controller change a target."""

    kind: str
    namespace: str
    name: str
    target: TargetRef
    mode: str = ""

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class Owner:
    """A field manager that owns `spec.replicas`."""

    manager: str
    operation: str
    subresource: str = ""

    @property
    def ours(self) -> bool:
        """Whether it is we."""
        return self.manager == FIELD_MANAGER

    @property
    def by_hand(self) -> bool:
        """Whether a person did it once, by a command."""
        return self.operation == "Update" and self.manager in _BY_HAND

    @property
    def foreign(self) -> bool:
        """Whether it writes again by itself: what a controller applies, or writes through the scale subresource.

        Whoever merely created the object with a count, edited it or applies it at times is no second writer: most
        objects are born with a count in their manifest, and could never be taken over.
        """
        if self.ours or self.by_hand or self.applied_once or self.manager in _SERVER:
            return False
        return self.operation == "Apply" or self.subresource == "scale"

    @property
    def applied_once(self) -> bool:
        """Whether the count is in a manifest that was applied by a command, on the server's side."""
        return self.operation == "Apply" and self.manager in _ONE_OFF

    def __str__(self) -> str:
        return f"field manager {self.manager} ({self.operation})"


def horizontal_facts(raw: Json) -> Autoscaler:
    """A raw HorizontalPodAutoscaler."""
    return _autoscaler("HorizontalPodAutoscaler", raw, "scaleTargetRef")


def scaled_object_facts(raw: Json) -> Autoscaler | None:
    """A raw ScaledObject of KEDA; None where it is paused: then it lets go of its target."""
    if text(raw, "metadata", "annotations", _PAUSED).lower() == "true":
        return None
    return _autoscaler("ScaledObject", raw, "scaleTargetRef")


def vertical_facts(raw: Json) -> Autoscaler | None:
    """A raw VerticalPodAutoscaler; None where it only recommends."""
    mode = text(raw, "spec", "updatePolicy", "updateMode") or "Auto"
    return None if mode == "Off" else _autoscaler("VerticalPodAutoscaler", raw, "targetRef", mode)


def replicas_owners(raw: Json) -> tuple[Owner, ...]:
    """Managers that own `spec.replicas` of a raw object, by its managedFields."""
    return tuple(
        Owner(text(each, "manager"), text(each, "operation"), text(each, "subresource"))
        for each in objects(raw, "metadata", "managedFields")
        if at(each, "fieldsV1", "f:spec", "f:replicas") is not None
    )


def applies_replicas(raw: Json) -> bool:
    """Whether a manifest that is applied by a command holds `spec.replicas`: each apply sets them anew."""
    if any(owner.applied_once for owner in replicas_owners(raw)):
        return True
    applied = text(raw, "metadata", "annotations", _LAST_APPLIED)
    if '"replicas"' not in applied:
        return False
    try:
        return at(json.loads(applied), "spec", "replicas") is not None
    except ValueError:
        return False


def by_target(autoscalers: Iterable[Autoscaler]) -> Mapping[TargetRef, Autoscaler]:
    """The autoscaler of each target, of several the first by name.

    A ScaledObject comes before the HorizontalPodAutoscaler that KEDA made for it: it is the one to remove.
    """
    found: dict[TargetRef, Autoscaler] = {}
    for each in sorted(autoscalers, key=lambda each: (each.kind != "ScaledObject", each.kind, each.name)):
        found.setdefault(each.target, each)
    return found


def foreign_owner(owners: Sequence[Owner]) -> str:
    """Who else owns the field and will write it again; empty where nobody does."""
    return next((str(owner) for owner in owners if owner.foreign), "")


def hand_of(owners: Sequence[Owner]) -> str:
    """The manager of the command by which a person set the count last; empty where it was no person."""
    return next((owner.manager for owner in owners if owner.by_hand), "")


@dataclass
class TakenBack:
    """Managers that take replicas back whenever we have written them: seen over time, for no single look shows it."""

    within_s: float = 900.0
    times: int = 2
    _ours: set[TargetRef] = field(default_factory=set)
    _taken: dict[TargetRef, list[float]] = field(default_factory=dict)

    def look(self, target: TargetRef, owners: Sequence[Owner], now: float) -> str:
        """Who fights over the target; empty where nobody does. `now` in seconds of any clock that only goes forward."""
        if any(owner.ours for owner in owners):
            self._ours.add(target)
        taken = [at for at in self._taken.get(target, ()) if now - at <= self.within_s]
        taker = next((owner for owner in owners if not owner.ours), None)
        if taker is not None and not any(owner.ours for owner in owners) and target in self._ours:
            self._ours.discard(target)
            if not taker.by_hand:
                taken.append(now)
        self._taken.pop(target, None)
        if taken:
            self._taken[target] = taken
        if len(taken) < self.times or taker is None:
            return ""
        return f"{taker}, which took replicas back {len(taken)} times within {self.within_s / 60:.0f} minutes"


def _autoscaler(kind: str, raw: Json, ref: str, mode: str = "") -> Autoscaler:
    namespace = text(raw, "metadata", "namespace")
    group = text(raw, "spec", ref, "apiVersion").rpartition("/")[0]
    if not text(raw, "spec", ref, "apiVersion"):
        group = "apps"
    target = TargetRef(group, text(raw, "spec", ref, "kind") or "Deployment", namespace, text(raw, "spec", ref, "name"))
    return Autoscaler(kind, namespace, text(raw, "metadata", "name"), target, mode)
