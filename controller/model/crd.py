"""The CustomResourceDefinition of Fleet, from the model itself: `governor crd`.

`deploy/controller/crd.yaml` is what that prints; a test holds the two together. The server then refuses most of what
the daemon would refuse, in much the same words; what only the daemon can judge it reports on the Fleet.

Fields that the schema does not know are pruned: the server drops them silently from what it stores. `kubectl` asks
for strict field validation by default and is told of them instead ("unknown field"); who writes with
`fieldValidation=Ignore` or `Warn` is not held back. A `null` counts as the field left out, and takes its default.
"""

from __future__ import annotations

from typing import Any

from controller.model.crd_schema import Schema, structural_schema
from controller.model.fleet import Fleet, FleetSpec
from controller.model.status import FleetStatus

GROUP = "governor.dev"
VERSION = "v1alpha1"
PLURAL = "fleets"
_COLUMNS = (
    ("Phase", ".status.phase", 0),
    ("Replicas", ".status.summary.replicas", 0),
    ("Weight", ".status.summary.weight", 0),
    ("Attainment", ".status.summary.attainment", 0),
    ("Reason", ".status.lastDecision.reason", 0),
    ("Stable", ".status.stable", 1),
    ("Canary", ".status.canary", 1),
    ("Message", ".status.lastDecision.sentence", 1),
)
"""Name, path, and 1 where only `kubectl get -o wide` shows it."""
_ROOT = {
    "apiVersion": "Version of this resource: governor.dev/v1alpha1.",
    "kind": "Kind of this resource: Fleet.",
}


def custom_resource_definition() -> dict[str, Any]:
    """The whole resource, in the order in which it is printed. Every call returns fresh values."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{PLURAL}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": "Fleet",
                "listKind": "FleetList",
                "plural": PLURAL,
                "singular": "fleet",
                "shortNames": ["flt"],
                "categories": ["governor"],
            },
            "versions": [_version()],
        },
    }


def _version() -> dict[str, Any]:
    return {
        "name": VERSION,
        "served": True,
        "storage": True,
        "subresources": {"status": {}},
        "additionalPrinterColumns": _columns(),
        "schema": {"openAPIV3Schema": _schema()},
    }


def _columns() -> list[dict[str, Any]]:
    texts = [
        {"name": name, "type": "string", "jsonPath": path} | ({"priority": priority} if priority else {})
        for name, path, priority in _COLUMNS
    ]
    age = {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}
    shown = [column for column in texts if "priority" not in column]
    return [*shown, age, *(column for column in texts if "priority" in column)]


def _schema() -> Schema:
    texts = {name: {"type": "string", "description": text} for name, text in _ROOT.items()}
    return {
        "type": "object",
        "description": " ".join((Fleet.__doc__ or "").split()),
        "required": ["spec"],
        "properties": {
            **texts,
            "metadata": {"type": "object"},
            "spec": structural_schema(FleetSpec),
            "status": structural_schema(FleetStatus, defaults=False),
        },
    }
