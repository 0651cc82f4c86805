"""Raw objects of a cluster with defaults: a test names only what matters. Times are seconds after `START`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from controller.cluster.client import Json

START = datetime(2026, 3, 1, 10, 0, 0, tzinfo=UTC)
T0 = START.timestamp()
NO_GPU = "0/3 nodes are available: 3 Insufficient nvidia.com/gpu."
LABELS = {"app": "vllm", "version": "v1"}


def stamp(after_s: float) -> str:
    """A time as Kubernetes writes it."""
    return datetime.fromtimestamp(T0 + after_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def a_condition(kind: str, *, true: bool, at_s: float = 0.0, reason: str = "", message: str = "") -> Json:
    return {
        "type": kind,
        "status": "True" if true else "False",
        "lastTransitionTime": stamp(at_s),
        "reason": reason,
        "message": message,
    }


def a_pod(
    name: str = "vllm-v1-abc-1",
    *,
    namespace: str = "llm",
    labels: Mapping[str, str] | None = None,
    owner: tuple[str, str] = ("ReplicaSet", "vllm-v1-abc"),
    created_s: float = 0.0,
    node: str = "gpu-1",
    ready: bool = True,
    ready_s: float = 30.0,
    phase: str = "Running",
    deleting: bool = False,
    conditions: Sequence[Json] = (),
    container: Mapping[str, Any] | None = None,
    annotations: Mapping[str, str] | None = None,
    **status: Any,
) -> Json:
    """Ready for long, unless told otherwise. `container` is merged into the status of its one container."""
    metadata: Json = {
        "name": name,
        "namespace": namespace,
        "uid": f"uid-{name}",
        "labels": {**LABELS, "pod-template-hash": "abc"} if labels is None else dict(labels),
        "annotations": dict(annotations or {}),
        "creationTimestamp": stamp(created_s),
        "ownerReferences": [{"kind": owner[0], "name": owner[1], "controller": True, "apiVersion": "apps/v1"}],
    }
    if deleting:
        metadata["deletionTimestamp"] = stamp(100.0)
    spec = {
        "nodeName": node,
        "containers": [
            {
                "name": "vllm",
                "ports": [{"name": "http", "containerPort": 8000}],
                "resources": {"limits": {"nvidia.com/gpu": "2"}},
            }
        ],
    }
    standing = [a_condition("PodScheduled", true=bool(node), at_s=created_s)] if node else []
    if node:
        standing.append(a_condition("Ready", true=ready, at_s=ready_s if ready else created_s + 1))
    return {
        "metadata": metadata,
        "spec": spec if node else {**spec, "nodeName": None},
        "status": {
            "phase": phase,
            "podIP": "10.1.0.7" if node else "",
            "startTime": stamp(created_s + 1) if node else "",
            "containerStatuses": [{"name": "vllm", "ready": ready, "restartCount": 0, **(container or {})}],
            **status,
            "conditions": [
                *conditions,
                *(c for c in standing if c["type"] not in {each["type"] for each in conditions}),
            ],
        },
    }


def waiting(reason: str, message: str = "", **more: Any) -> Json:
    """The status of a container that does not run."""
    return {"ready": False, "state": {"waiting": {"reason": reason, "message": message}}, **more}


def a_deployment(
    name: str = "vllm-v1",
    *,
    namespace: str = "llm",
    replicas: int = 2,
    labels: Mapping[str, str] | None = None,
    managed: Sequence[Json] = (),
    **metadata: Any,
) -> Json:
    return {
        "metadata": {"name": name, "namespace": namespace, "managedFields": list(managed), **metadata},
        "spec": {"replicas": replicas, "selector": {"matchLabels": dict(labels or LABELS)}},
        "status": {},
    }


def owning(manager: str, operation: str = "Update", subresource: str = "", field: str = "f:replicas") -> Json:
    """An entry of managedFields."""
    entry: Json = {"manager": manager, "operation": operation, "fieldsV1": {"f:spec": {field: {}}}}
    return {**entry, "subresource": subresource} if subresource else entry


def a_node(name: str = "gpu-1", *, taints: Sequence[str] = (), cordoned: bool = False, ready: str = "True") -> Json:
    spec: Json = {"taints": [{"key": key, "effect": "NoSchedule"} for key in taints]}
    if cordoned:
        spec["unschedulable"] = True
    return {
        "metadata": {"name": name},
        "spec": spec,
        "status": {"conditions": [{"type": "Ready", "status": ready}]},
    }


def an_autoscaler(
    name: str = "llama", *, namespace: str = "llm", kind: str = "Deployment", target: str = "vllm-v1", **more: Any
) -> Json:
    """A HorizontalPodAutoscaler or, but for `spec`, a ScaledObject."""
    return {
        "metadata": {"name": name, "namespace": namespace, **more},
        "spec": {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": kind, "name": target}},
    }


def a_fleet_document(name: str = "llama-8b", *, namespace: str = "llm", high: int = 10, **metadata: Any) -> Json:
    return {
        "apiVersion": "governor.dev/v1alpha1",
        "kind": "Fleet",
        "metadata": {"name": name, "namespace": namespace, "generation": 1, **metadata},
        "spec": {
            "modelName": "meta-llama/Meta-Llama-3.1-8B-Instruct",
            "host": "vllm-server",
            "variants": [
                {
                    "name": "v1",
                    "scaleTargetRef": {"name": "vllm-v1"},
                    "subset": "v1",
                    "accelerator": "l40s",
                    "costPerHour": 1.86,
                    "replicas": {"min": 1, "max": high},
                }
            ],
        },
    }
