"""Cold starts are measured from first starts only, and what does not start is given up."""

from __future__ import annotations

import math

from controller.estimate.coldstart import cold_start, observe_starts, unseen
from controller.model.memory import VariantMemory
from controller.model.snapshot import Replica, ReplicaPhase, ScaleTarget

T0 = 1_800_000_000.0
STARTING, READY, DRAINING = ReplicaPhase.STARTING, ReplicaPhase.READY, ReplicaPhase.DRAINING


def target(*replicas: Replica, desired: int | None = None) -> ScaleTarget:
    return ScaleTarget(len(replicas) if desired is None else desired, "1", replicas)


def look(memory: VariantMemory, seen: ScaleTarget, at: float, unseen_s: float = 15.0) -> VariantMemory:
    return observe_starts(memory, seen, at, deadline_s=600.0, unseen_s=unseen_s)


def test_a_start_is_measured_from_creation_to_readiness() -> None:
    memory = look(VariantMemory("v1"), target(Replica("a", STARTING, T0)), T0 + 5)
    memory = look(memory, target(Replica("a", READY, T0, ready_at=T0 + 42)), T0 + 45)
    assert memory.cold_starts_s == (42.0,)
    assert cold_start(memory, expected_s=120.0).p90_s == 42.0


def test_a_replica_that_falls_back_and_returns_is_no_cold_start() -> None:
    old = VariantMemory("v1", cold_starts_s=(40.0,))
    memory = look(old, target(Replica("a", STARTING, T0 - 3600)), T0)
    assert memory.starting[0].since == T0
    memory = look(memory, target(Replica("a", READY, T0 - 3600, ready_at=T0 + 30)), T0 + 30)
    assert memory.cold_starts_s == (40.0,)


def test_a_replica_that_falls_back_is_given_up_only_after_a_deadline_of_its_own() -> None:
    memory = look(VariantMemory("v1"), target(Replica("a", STARTING, T0 - 3600)), T0)
    assert memory.given_up == ()
    memory = look(memory, target(Replica("a", STARTING, T0 - 3600)), T0 + 601)
    assert memory.given_up == ("a",)


def test_without_memory_every_start_counts_from_creation() -> None:
    memory = look(VariantMemory("v1"), target(Replica("a", STARTING, T0 - 700)), T0, unseen_s=math.inf)
    assert memory.given_up == ("a",)


def test_ordered_replicas_that_the_cluster_does_not_show_are_unseen_and_leaving_ones_do_not_stand_for_them() -> None:
    shown = (Replica("a", READY, T0, ready_at=T0), Replica("b", DRAINING, T0, ready_at=T0))
    assert unseen(target(*shown, desired=4)) == 3
    assert unseen(target(*shown, desired=1)) == 0
