"""Fleets, scale targets and scopes with defaults, so that a test names only what matters."""

from __future__ import annotations

from collections.abc import Sequence

from controller.model.fleet import Fleet
from controller.model.snapshot import Replica, ReplicaPhase, ScaleTarget
from controller.observe.queries import Scope

NAMESPACE = "llm"
WINDOW_S = 6.0
STALE_AFTER_S = 3.0


def fleet(name: str, *variants: str, model: str = "", namespace: str = NAMESPACE) -> Fleet:
    """A fleet that serves the model of its own name; one variant v1 unless told otherwise."""
    return Fleet.model_validate(
        {
            "apiVersion": "governor.dev/v1alpha1",
            "kind": "Fleet",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {
                "modelName": model or name,
                "host": name,
                "variants": [
                    {
                        "name": variant,
                        "scaleTargetRef": {"name": f"{name}-{variant}"},
                        "subset": variant,
                        "accelerator": "l40s",
                        "costPerHour": 1.86,
                    }
                    for variant in variants or ("v1",)
                ],
            },
        }
    )


def target(*addresses: str, ready: int | None = None) -> ScaleTarget:
    """Ready replicas at these addresses, the first `ready` of them; the others drain."""
    counted = len(addresses) if ready is None else ready
    replicas = tuple(
        Replica(f"pod-{at}", ReplicaPhase.READY if at < counted else ReplicaPhase.DRAINING, 0.0, address=address)
        for at, address in enumerate(addresses)
    )
    return ScaleTarget(len(replicas), "1", replicas)


def targets(fleets: Sequence[Fleet], replicas: int = 2) -> dict[tuple[str, str], ScaleTarget]:
    """The same number of ready replicas for every variant."""
    return {(f.key, v.name): target(*("",) * replicas) for f in fleets for v in f.spec.variants}


def scope() -> Scope:
    """Windows short enough for a test in real time."""
    return Scope(window_s=WINDOW_S, stale_after_s=STALE_AFTER_S)
