"""Nodes with GPUs, as a device plugin and GPU feature discovery would describe them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from controller.cluster.client import Resource

NODES = Resource("", "v1", "nodes")
GPU = "nvidia.com/gpu"
ACCELERATOR = "governor.dev/accelerator"


def gpu_node(name: str, *, gpus: int, accelerator: str, pods: int, labels: Mapping[str, str]) -> dict[str, Any]:
    """A node object. `accelerator` is a fleet variant's ("l40s"); without GPUs it has neither."""
    room = {"cpu": "128", "memory": "1Ti", "ephemeral-storage": "4Ti", "pods": str(pods)}
    marks = {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64"}
    if gpus:
        room |= {GPU: str(gpus)}
        product = {f"{GPU}.product": f"NVIDIA-{accelerator.upper()}", f"{GPU}.count": str(gpus)}
        marks |= {ACCELERATOR: accelerator, **product}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": {**marks, **labels}},
        "status": {"capacity": room, "allocatable": room},
    }


def is_schedulable(node: Mapping[str, Any]) -> bool:
    """Whether it is ready and nothing keeps pods off it."""
    conditions = node.get("status", {}).get("conditions", [])
    ready = any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)
    return ready and not node.get("spec", {}).get("taints")
