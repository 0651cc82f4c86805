"""A cluster in memory and in virtual time, for scenarios of hours in milliseconds.

    cluster = FakeCluster([fleet], replicas={"v1": 2}, now=0.0, cold_start_s=15.0)
    cluster.scale(ScaleWrite(...)); cluster.advance(16.0); cluster.read([fleet])

It implements ReplicaReader, ReplicaWriter, WeightReader and WeightWriter, and keeps the same contract as the local
supervisor (tests/contract/local holds both to it).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from controller.errors import TransientError
from controller.model.decision import Outcome, OutcomeStatus, ScaleWrite, WeightWrite
from controller.model.fleet import Fleet, Variant
from controller.model.snapshot import Replica, ReplicaPhase, ScaleTarget
from controller.model.weights import WeightReading
from controller.ports import VariantKey

MOST_REPLICAS = 10_000


@dataclass
class FakeReplica:
    """One replica. It becomes ready at `ready_at` and, asked to leave, is gone at `gone_at`."""

    name: str
    created_at: float
    ready_at: float
    load: float = 0.0
    gone_at: float = math.inf
    fault: str = ""
    """Why it will never be ready; it is shown as FAILED then."""

    @property
    def leaving(self) -> bool:
        return self.gone_at < math.inf

    def phase(self, now: float) -> ReplicaPhase:
        if self.leaving:
            return ReplicaPhase.DRAINING
        if self.fault:
            return ReplicaPhase.FAILED
        return ReplicaPhase.READY if now >= self.ready_at else ReplicaPhase.STARTING

    def seen(self, now: float) -> Replica:
        ready = now >= self.ready_at
        return Replica(
            self.name,
            self.phase(now),
            self.created_at,
            self.ready_at if ready else None,
            self.load if ready else None,
            detail=self.fault,
            address="127.0.0.1:1",
        )


@dataclass
class FakeTarget:
    """The object behind a variant."""

    variant: Variant
    desired: int
    version: int = 1
    started: int = 0
    foreign_writer: str = ""
    replicas: list[FakeReplica] = field(default_factory=list)

    def kept(self) -> list[FakeReplica]:
        return [replica for replica in self.replicas if not replica.leaving]


class FakeCluster:
    """All targets and weights of some fleets. Time moves only by `advance(now)`.

    Knobs, changed at any time: `cold_start_s` and `drain_s` (numbers, or functions of a replica's name),
    `unreachable` (reads and writes fail), `conflicts` (so many of the next writes meet a conflict),
    `start_fault` (if not empty, replicas started from now on never get ready, for this reason).
    `writes` are all orders that changed something, with their time; `moves` those that moved traffic.
    """

    def __init__(
        self,
        fleets: Sequence[Fleet],
        replicas: Mapping[str, int] | None = None,
        now: float = 0.0,
        cold_start_s: float | Callable[[str], float] = 15.0,
        drain_s: float | Callable[[str], float] = 0.0,
    ) -> None:
        self.now = now
        self.cold_start_s = cold_start_s
        self.drain_s = drain_s
        self.unreachable = False
        self.conflicts = 0
        self.start_fault = ""
        self.writes: list[tuple[float, ScaleWrite]] = []
        self.moves: list[tuple[float, WeightWrite]] = []
        self._targets: dict[VariantKey, FakeTarget] = {}
        self._weights: dict[str, dict[str, int]] = {}
        for fleet in fleets:
            first = fleet.spec.variants[0].subset
            self._weights[fleet.key] = {v.subset: 100 if v.subset == first else 0 for v in fleet.spec.variants}
            for variant in fleet.spec.variants:
                count = (replicas or {}).get(variant.name, variant.replicas.min)
                target = FakeTarget(variant, count)
                self._targets[fleet.key, variant.name] = target
                self._reconcile(target)
                for replica in target.replicas:
                    replica.ready_at = now

    def advance(self, now: float) -> None:
        """Move time forward."""
        assert now >= self.now, "time goes forward only"
        self.now = now
        for target in self._targets.values():
            target.replicas = [replica for replica in target.replicas if replica.gone_at > now]
            self._reconcile(target)

    def read(self, fleets: Sequence[Fleet]) -> Mapping[VariantKey, ScaleTarget]:
        """Scale targets as they are now."""
        self._reach()
        wanted = {(fleet.key, variant.name) for fleet in fleets for variant in fleet.spec.variants}
        return {key: self._seen(target) for key, target in self._targets.items() if key in wanted}

    def scale(self, write: ScaleWrite) -> Outcome:
        """Apply an order, as the supervisor does."""
        if self.unreachable:
            return Outcome(write, OutcomeStatus.FAILED, "the cluster does not answer")
        target = self._targets.get((write.fleet, write.variant))
        if target is None:
            return Outcome(write, OutcomeStatus.FAILED, f"no target {write.fleet}/{write.variant}")
        if self.conflicts or write.resource_version != str(target.version):
            self.conflicts = max(0, self.conflicts - 1)
            return Outcome(write, OutcomeStatus.CONFLICT, f"it is at resource version {target.version}")
        if not 0 <= write.replicas <= MOST_REPLICAS or (write.victims and write.replicas >= target.desired):
            return Outcome(write, OutcomeStatus.FAILED, "makes no sense")
        if write.replicas != target.desired:
            target.desired, target.version = write.replicas, target.version + 1
            self.writes.append((self.now, write))
            self._reconcile(target, write.victims)
        return Outcome(write, OutcomeStatus.APPLIED)

    def weights(self, fleets: Sequence[Fleet]) -> Mapping[str, WeightReading]:
        """Percent by subset."""
        self._reach()
        return {
            fleet.key: WeightReading(dict(self._weights[fleet.key])) for fleet in fleets if fleet.key in self._weights
        }

    def set_weights(self, write: WeightWrite) -> Outcome:
        """Move traffic, as the supervisor does."""
        if self.unreachable:
            return Outcome(write, OutcomeStatus.FAILED, "the cluster does not answer")
        known, weights = self._weights.get(write.fleet, {}), dict(write.weights)
        if set(weights) - set(known) or sum(weights.values()) != 100 or min(weights.values()) < 0:
            return Outcome(write, OutcomeStatus.FAILED, f"weights {weights} make no sense for {write.fleet}")
        if self.conflicts:
            self.conflicts -= 1
            return Outcome(write, OutcomeStatus.CONFLICT, "it moved on")
        self._weights[write.fleet] = {subset: weights.get(subset, 0) for subset in known}
        self.moves.append((self.now, write))
        return Outcome(write, OutcomeStatus.APPLIED)

    def split(self, fleet: str, **weights: int) -> None:
        """Somebody else moves traffic."""
        self._weights[fleet] = dict(weights)

    def kill(self, name: str) -> None:
        """The replica's process dies. One that was ready is replaced by a new one; another tries again."""
        for target in self._targets.values():
            for replica in list(target.replicas):
                if replica.name != name:
                    continue
                if replica.leaving or self.now >= replica.ready_at:
                    target.replicas.remove(replica)
                else:
                    replica.ready_at = self.now + _of(self.cold_start_s, name)
            self._reconcile(target)

    def replica(self, name: str) -> FakeReplica:
        """The replica of that name, to change its load or fault. Raises KeyError."""
        for target in self._targets.values():
            for replica in target.replicas:
                if replica.name == name:
                    return replica
        raise KeyError(name)

    def target(self, fleet: str, variant: str) -> FakeTarget:
        """The object behind a variant, to give it a foreign writer. Raises KeyError."""
        return self._targets[fleet, variant]

    def ready(self, fleet: str, variant: str) -> int:
        """Replicas that take requests now."""
        return self._seen(self._targets[fleet, variant]).ready

    def _reach(self) -> None:
        if self.unreachable:
            raise TransientError("the cluster does not answer")

    def _seen(self, target: FakeTarget) -> ScaleTarget:
        replicas = tuple(replica.seen(self.now) for replica in target.replicas)
        return ScaleTarget(target.desired, str(target.version), replicas, target.foreign_writer)

    def _reconcile(self, target: FakeTarget, victims: Sequence[str] = ()) -> None:
        kept = target.kept()
        leaving_first = sorted(
            kept,
            key=lambda r: (
                victims.index(r.name) if r.name in victims else len(victims),
                r.phase(self.now) is ReplicaPhase.READY,
                r.load,
                -r.created_at,
            ),
        )
        for replica in leaving_first[: max(0, len(kept) - target.desired)]:
            ready = self.now >= replica.ready_at and not replica.fault
            replica.gone_at = self.now + (_of(self.drain_s, replica.name) if ready else 0.0)
        target.replicas = [replica for replica in target.replicas if replica.gone_at > self.now]
        for _ in range(target.desired - len(kept)):
            target.started += 1
            name = f"{target.variant.scale_target_ref.name}-{target.started}"
            ready_at = math.inf if self.start_fault else self.now + _of(self.cold_start_s, name)
            target.replicas.append(FakeReplica(name, self.now, ready_at, fault=self.start_fault))


def _of(setting: float | Callable[[str], float], name: str) -> float:
    return setting(name) if callable(setting) else setting
