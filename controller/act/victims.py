"""Which pods leave first: Kubernetes' deletion cost, set on the victims of a reduction and taken off all others."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from controller.cluster.client import ClusterClient, Json, PatchKind
from controller.cluster.names import DELETION_COST_ANNOTATION, FIELD_MANAGER, PODS, VICTIM_ANNOTATION
from controller.errors import TransientError

_BELOW = 1000
"""How far the first victim's cost lies below every other pod's, at least."""
_LOWEST = -(2**31)
_BUDGET_S = 10.0
"""Longest that marking may take: the cycle waits for it."""


class _Mark(NamedTuple):
    """Annotations that a pod is to have; None takes one off."""

    pod: Json
    annotations: Mapping[str, str | None]


class Victims:
    """Marks of one daemon on pods. Costs that others set are kept beside the mark, and given back with it.

    Annotations, never labels: where pods' labels become labels of metrics, another label would be another series.
    """

    def __init__(self, client: ClusterClient, clock: Callable[[], float]) -> None:
        self._client = client
        self._clock = clock

    def pods(self, namespace: str, selector: str) -> dict[str, Json]:
        """The selected pods by name, but for those that are leaving.

        Raises ApiError and UnreachableError as the client does, TransientError for an empty selector.
        """
        if not selector:
            raise TransientError("the API server names no selector for the target's pods")
        found = [
            pod
            for page in self._client.pages(PODS.path(namespace), labelSelector=selector)
            for pod in page.get("items") or ()
        ]
        return {pod["metadata"]["name"]: pod for pod in found if not pod["metadata"].get("deletionTimestamp")}

    def mark(self, namespace: str, pods: Mapping[str, Json], victims: Sequence[str]) -> None:
        """Make `victims`, in their order, the first of these pods to leave, and no other pod a victim.

        Each pod only as it was read. Raises ApiError and UnreachableError as the client does, TransientError where it
        takes too long.
        """
        started = self._clock()
        for done, mark in enumerate(marks(pods, victims)):
            if self._clock() - started > _BUDGET_S:
                raise TransientError(f"only {done} pods were marked within {_BUDGET_S:.0f} s")
            self._patch(namespace, mark)

    def _patch(self, namespace: str, mark: _Mark) -> None:
        metadata = mark.pod["metadata"]
        body = {"metadata": {"resourceVersion": metadata["resourceVersion"], "annotations": dict(mark.annotations)}}
        path = PODS.path(namespace, metadata["name"])
        self._client.patch(path, body, PatchKind.MERGE, fieldManager=FIELD_MANAGER)


def marks(pods: Mapping[str, Json], victims: Sequence[str]) -> Iterator[_Mark]:
    """The changes that make `victims` the first to leave; none where everything is as it should be."""
    others = [_own_cost(pod) for name, pod in pods.items() if name not in victims]
    first = max(min([0, *others]) - max(_BELOW, len(victims)), _LOWEST)
    for order, name in enumerate(victims):
        wanted = {DELETION_COST_ANNOTATION: str(first + order), VICTIM_ANNOTATION: _kept(pods[name])}
        if wanted.items() - _annotations(pods[name]).items():
            yield _Mark(pods[name], wanted)
    for name, pod in pods.items():
        if name not in victims and VICTIM_ANNOTATION in _annotations(pod):
            yield _Mark(pod, {DELETION_COST_ANNOTATION: _kept(pod) or None, VICTIM_ANNOTATION: None})


def _annotations(pod: Json) -> dict[str, Any]:
    return pod["metadata"].get("annotations") or {}


def _kept(pod: Json) -> str:
    """The cost that somebody else gave the pod, as text; empty where nobody did."""
    annotations = _annotations(pod)
    if VICTIM_ANNOTATION in annotations:
        return str(annotations[VICTIM_ANNOTATION])
    return str(annotations.get(DELETION_COST_ANNOTATION, ""))


def _own_cost(pod: Json) -> int:
    """That cost as a number; what is none counts as 0, as it does in Kubernetes."""
    try:
        return int(_kept(pod))
    except ValueError:
        return 0
