"""Standing conditions: what is wrong, since when, and in whose words."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controller.model.decision import Condition
from controller.model.fleet import Fleet
from controller.model.memory import FleetMemory
from controller.model.snapshot import ReplicaPhase, Snapshot, VariantState
from tests.builders import T0, a_fleet, a_memory, a_replica, a_snapshot, a_state, a_target, planned, stale


def conditions(
    snapshot: Snapshot | None = None, memory: FleetMemory | None = None, fleet: Fleet | None = None
) -> dict[str, Condition]:
    return {c.type: c for c in planned(snapshot, memory, fleet).decision.conditions}


def test_a_healthy_fleet_has_every_condition_as_it_should_be() -> None:
    found = conditions()
    assert {n: c.status.value for n, c in found.items()} == {
        "Ready": "True",
        "MetricsAvailable": "True",
        "Scaling": "True",
        "CapacityAvailable": "True",
        "ObjectiveAttainable": "True",
        "ClockInStep": "True",
    }
    assert "0.32" in found["MetricsAvailable"].message


def test_since_moves_with_the_status_and_with_nothing_else() -> None:
    broken = a_state(running=stale(20.0))
    memory, since = a_memory(), []
    for cycle, state in enumerate([a_state(), broken, broken, a_state(waiting=3.0), a_state(), broken]):
        made = planned(a_snapshot(state, at=T0 + 5 * cycle), memory)
        memory = made.memory
        since.append(next(c.since for c in made.decision.conditions if c.type == "MetricsAvailable") - T0)
    assert since == [0, 5, 5, 15, 15, 25]


def test_a_cycle_in_which_the_cluster_could_not_be_read_forgets_no_other_condition() -> None:
    broken = a_state(running=stale(20.0))
    made = planned(a_snapshot(broken))
    unread = planned(a_snapshot(VariantState("v1", None, broken.signals), at=T0 + 5), made.memory)
    again = planned(a_snapshot(broken, at=T0 + 10), unread.memory)
    assert {c.type for c in unread.decision.conditions} == {c.type for c in made.decision.conditions}
    since = {c.type: c.since for c in again.decision.conditions}
    assert since["MetricsAvailable"] == T0
    assert since["Ready"] == T0 + 10


def test_missing_metrics_are_named_with_their_age() -> None:
    found = conditions(a_snapshot(a_state(running=stale(20.0, age_s=45.0))))["MetricsAvailable"]
    assert found.status.value == "False"
    assert "running stale, 45 s old" in found.message


def test_pending_replicas_are_said_in_the_clusters_words() -> None:
    waiting = replace(a_replica("r2", ReplicaPhase.PENDING, 5.0), detail="0/3 nodes have a free nvidia.com/gpu")
    target = replace(a_target(2), desired=3, replicas=(*a_target(2).replicas, waiting))
    found = conditions(a_snapshot(a_state(target=target)))["CapacityAvailable"]
    assert (found.status.value, found.reason) == ("False", "Pending")
    assert "nvidia.com/gpu" in found.message


@pytest.mark.parametrize(("skew_s", "status"), [(5.0, "True"), (-29.0, "True"), (31.0, "False"), (-600.0, "False")])
def test_clocks_may_differ_by_half_a_minute(skew_s: float, status: str) -> None:
    assert conditions(a_snapshot(source_skew_s=skew_s))["ClockInStep"].status.value == status


def test_a_lost_memory_is_said_for_an_hour() -> None:
    assert "MemoryLost" in conditions(memory=a_memory(lost_at=T0 - 3599))
    assert "MemoryLost" not in conditions(memory=a_memory(lost_at=T0 - 3601))


def test_another_writer_is_named() -> None:
    driven = a_state(target=a_target(2, foreign_writer="HorizontalPodAutoscaler llama"), arrival_rps=14.0)
    found = conditions(a_snapshot(driven), a_memory(14.0), a_fleet())["Scaling"]
    assert (found.status.value, found.reason) == ("False", "ForeignWriter")
    assert "HorizontalPodAutoscaler llama" in found.message


def test_a_refused_version_is_said_as_long_as_it_is_and_that_it_was_mended_from_then_on() -> None:
    refused = "fleet.yaml:9: spec.variants[0].costPerHour: -1 is not above 0; write more than 0"
    memory, seen = a_memory(), []
    for cycle, problem in enumerate(["", refused, refused, "", ""]):
        made = planned(a_snapshot(at=T0 + 5 * cycle, problem=problem), memory)
        memory = made.memory
        found = next((c for c in made.decision.conditions if c.type == "FleetAccepted"), None)
        seen.append(found and (found.status.value, found.reason, found.since - T0))
    assert seen == [
        None,
        ("False", "Invalid", 5),
        ("False", "Invalid", 5),
        ("True", "Valid", 15),
        ("True", "Valid", 15),
    ]
    said = conditions(a_snapshot(problem=refused))["FleetAccepted"].message
    assert said == f"the last good version stays in force: {refused}"


def test_a_refused_version_is_said_while_the_cluster_cannot_be_read_too() -> None:
    unread = VariantState("v1", None, a_state().signals)
    made = planned(a_snapshot(unread, problem="refused"))
    again = planned(a_snapshot(unread, at=T0 + 5), made.memory)
    assert [c.status.value for c in made.decision.conditions if c.type == "FleetAccepted"] == ["False"]
    assert [c.status.value for c in again.decision.conditions if c.type == "FleetAccepted"] == ["True"]
