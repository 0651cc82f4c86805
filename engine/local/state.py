"""What is wanted of one fleet, with its version, and the replicas there are: plain state, changed by orders."""

from __future__ import annotations

import math
from collections import Counter

from controller.errors import GovernorError
from controller.model.snapshot import ReplicaPhase, ScaleTarget
from engine.local.config import MOST_REPLICAS, FleetConfig, VariantConfig
from engine.local.launch import Launch
from engine.local.replica import ReplicaLife


class NotFoundError(GovernorError):
    """No such fleet or variant."""


class ConflictError(GovernorError):
    """The object is not at the resource version that the order was made for."""


class InvalidError(GovernorError):
    """An order that makes no sense."""


class VariantState:
    """One scale target: the specification (desired, victims) with its version, and the replicas behind it."""

    def __init__(self, fleet: FleetConfig, config: VariantConfig) -> None:
        self.config = config
        self.desired = config.replicas
        self.version = 1
        self.victims: tuple[str, ...] = ()
        self.replicas: list[ReplicaLife] = []
        self._fleet = fleet
        self._started = 0

    def target(self) -> ScaleTarget:
        """As the cluster shows it."""
        return ScaleTarget(self.desired, str(self.version), tuple(replica.seen() for replica in self.replicas))

    def order(self, replicas: int, resource_version: str, victims: tuple[str, ...]) -> None:
        """Change the specification. Raises ConflictError or InvalidError."""
        if resource_version != str(self.version):
            raise ConflictError(
                f"{self._fleet.key}/{self.config.name} is at resource version {self.version}, "
                f"the order was made for {resource_version}: read it again"
            )
        if not 0 <= replicas <= MOST_REPLICAS:
            raise InvalidError(f"replicas must be from 0 to {MOST_REPLICAS}, not {replicas}")
        if victims and replicas >= self.desired:
            raise InvalidError(f"victims can be named only when replicas get fewer ({self.desired} → {replicas})")
        if replicas == self.desired:
            return
        self.desired, self.victims, self.version = replicas, victims, self.version + 1

    def kept(self) -> list[ReplicaLife]:
        """Replicas that count towards the desired number: all but those that leave or died."""
        return [r for r in self.replicas if not (r.leaving or r.died)]

    def surplus(self) -> list[ReplicaLife]:
        """Who has to leave, in this order: named victims, those not ready (youngest first), the least loaded."""
        kept = self.kept()
        by_worth = sorted(
            kept,
            key=lambda r: (
                self.victims.index(r.name) if r.name in self.victims else len(self.victims),
                r.phase is ReplicaPhase.READY,
                math.inf if r.load is None else r.load,
                -r.created_at,
            ),
        )
        return by_worth[: max(0, len(kept) - self.desired)]

    def launch(self) -> Launch:
        """The next replica, with a name that was never used."""
        self._started += 1
        name = f"{self.config.target}-{self._started}"
        initial = self.version == 1 and self._started <= self.config.replicas
        return Launch(name, 0, self._fleet.key, self.config.name, self._fleet.model_name, initial)

    def counts(self) -> dict[str, int]:
        """Replicas by phase, with what is desired."""
        phases = Counter(replica.phase.value.lower() for replica in self.replicas)
        return {"desired": self.desired, **{p: phases[p] for p in ("starting", "ready", "draining", "failed")}}


class FleetState:
    """One fleet: its variants and its weights."""

    def __init__(self, config: FleetConfig) -> None:
        self.config = config
        self.variants = {variant.name: VariantState(config, variant) for variant in config.variants}
        self.weights = {subset: config.weights.get(subset, 0) for subset in config.subsets}

    def endpoints(self, subset: str) -> tuple[str, ...]:
        """host:port of the replicas of a subset that take requests."""
        states = [v for v in self.variants.values() if v.config.subset == subset]
        return tuple(r.address for v in states for r in v.replicas if r.phase is ReplicaPhase.READY)
