"""The status of a Fleet says what was seen, and is written only where it differs, on nobody's newer version."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.cluster.client import UnreachableError
from controller.model.decision import Condition, ConditionStatus
from controller.model.snapshot import Replica, ReplicaPhase, ScaleTarget
from controller.model.status import FleetStatus
from controller.ports import CycleRecord
from controller.record.cluster_status import ClusterStatus, difference
from controller.record.fleet_status import standing, status_of
from tests.contract.cluster.object_server import ObjectServer, merge
from tests.unit.record.cluster_stores import SteppedClock
from tests.unit.record.cycles import T0, a_condition, a_cycle, a_decision, a_fleet, a_snapshot

PATH = "/apis/governor.dev/v1alpha1/namespaces/llm/fleets/llama-8b"


def with_conditions(*conditions: Condition, at: float = T0, **more: Any) -> CycleRecord:
    fleet = a_fleet()
    return a_cycle(fleet, at, decision=a_decision(fleet, at, conditions=conditions), **more)


def a_fact(kind: str, status: str, reason: str, since: float = T0) -> Condition:
    return Condition(kind, ConditionStatus(status), reason, "a sentence", since)


def condition(status: FleetStatus, kind: str) -> dict[str, Any] | None:
    return next((c for c in status.document()["conditions"] if c["type"] == kind), None)


# What it says -----------------------------------------------------------------------------------------------------


def test_it_says_phase_roles_weights_replicas_attainment_and_the_last_decision() -> None:
    fleet = a_fleet(generation=7)
    snapshot = a_snapshot(fleet, ready=3, starting=2, ttft=0.9969, tpot=0.987)

    document = status_of(a_cycle(fleet, before=3, after=5, snapshot=snapshot)).document()

    assert document["phase"] == "Stable"
    assert document["stable"] == "v1"
    assert document["weights"] == {"v1": 100}
    assert document["replicas"] == [
        {"name": "v1", "desired": 5, "ready": 3, "starting": 2, "draining": 0, "pending": 0}
    ]
    assert (document["readyReplicas"], document["desiredReplicas"]) == (3, 5)
    assert document["attainment"] == {"ttft": 0.9969, "tpot": 0.987}
    assert document["summary"] == {"replicas": "3/5", "weight": "v1 100", "attainment": "98.7%"}
    assert document["observedGeneration"] == 7
    decision = document["lastDecision"]
    assert (decision["at"], decision["action"], decision["before"], decision["after"]) == (
        "2026-01-01T00:00:00Z",
        "Up",
        {"v1": 3},
        {"v1": 5},
    )


def test_what_was_not_read_is_left_out_and_never_zero() -> None:
    fleet = a_fleet()
    snapshot = a_snapshot(fleet, ttft=None, tpot=None)
    unread = replace(snapshot, variants=(replace(snapshot.variants[0], target=None, weight_pct=None),))

    document = status_of(a_cycle(fleet, snapshot=unread)).document()

    assert document["replicas"] == [{"name": "v1"}]
    assert document["weights"] == {}
    assert document["attainment"] == {}
    assert document["summary"] == {}
    assert "readyReplicas" not in document


def test_replicas_without_a_machine_are_told_from_those_that_load() -> None:
    fleet = a_fleet()
    snapshot = a_snapshot(fleet)
    some = tuple(Replica(p.value, p, T0) for p in (ReplicaPhase.PENDING, ReplicaPhase.STARTING, ReplicaPhase.STARTING))
    target = ScaleTarget(3, "1", some)
    record = a_cycle(fleet, snapshot=replace(snapshot, variants=(replace(snapshot.variants[0], target=target),)))

    (replicas,) = status_of(record).replicas

    assert (replicas.pending, replicas.starting) == (1, 2)


def test_conditions_are_the_cores_own_with_their_times_and_the_generation_they_were_judged_on() -> None:
    status = status_of(with_conditions(a_condition("MetricsAvailable", "False", since=T0 - 30, message="silent")))

    assert condition(status, "MetricsAvailable") == {
        "type": "MetricsAvailable",
        "status": "False",
        "reason": "SourceSilent",
        "message": "silent",
        "lastTransitionTime": "2025-12-31T23:59:30Z",
        "observedGeneration": 1,
    }


def test_a_fleet_whose_objectives_are_missed_is_degraded_since_then() -> None:
    fleet = a_fleet()
    good = status_of(a_cycle(fleet, snapshot=a_snapshot(fleet, ttft=0.99)))
    first = status_of(a_cycle(fleet, T0 + 5, snapshot=a_snapshot(fleet, T0 + 5, ttft=0.80)), good)
    later = status_of(a_cycle(fleet, T0 + 60, snapshot=a_snapshot(fleet, T0 + 60, ttft=0.70)), first)

    degraded = [condition(status, "Degraded") for status in (good, first, later)]

    assert [c and c["status"] for c in degraded] == ["False", "True", "True"]
    assert [c and c["lastTransitionTime"][-3:] for c in degraded] == ["00Z", "05Z", "05Z"]
    assert degraded[2]
    assert degraded[2]["message"] == "0.700 of the requests keep the TTFT objective, 0.95 were promised"


@pytest.mark.parametrize(
    ("fact", "kind", "reason"),
    [
        (a_fact("Ready", "False", "ReplicasMissing"), "Reconciling", "ReplicasMissing"),
        (a_fact("Ready", "True", "ReplicasReady"), None, ""),
        (a_fact("Ready", "False", "Unreadable"), None, ""),
        (a_fact("Scaling", "False", "ForeignWriter"), "Stalled", "ForeignWriter"),
        (a_fact("Scaling", "False", "Paused"), None, ""),
        (a_fact("TrafficInSync", "False", "WaitingForCapacity"), "Reconciling", "WaitingForCapacity"),
        (a_fact("TrafficInSync", "False", "Contested"), "Stalled", "Contested"),
        (a_fact("MetricsAvailable", "False", "Blind"), "Degraded", "Blind"),
        (a_fact("CapacityAvailable", "False", "StartDeadlineExceeded"), "Degraded", "StartDeadlineExceeded"),
    ],
)
def test_what_kstatus_reads_follows_from_the_conditions(fact: Condition, kind: str | None, reason: str) -> None:
    status = status_of(with_conditions(fact))

    true = {c.type: c.reason for c in status.conditions if c.status == "True" and c.type != fact.type}

    assert true == ({kind: reason} if kind else {})


def test_a_changed_number_is_nothing_new_but_a_replica_a_condition_or_another_order_is() -> None:
    fleet = a_fleet()
    record = a_cycle(fleet)

    assert standing(record) == standing(a_cycle(fleet, T0 + 5, snapshot=a_snapshot(fleet, T0 + 5, arrival_rps=11)))
    assert standing(record) != standing(a_cycle(fleet, snapshot=a_snapshot(fleet, starting=1)))
    assert standing(record) != standing(with_conditions(a_condition()))
    assert standing(record) != standing(a_cycle(fleet, after=4))
    assert standing(record) != standing(a_cycle(a_fleet(generation=2)))


JSON = st.recursive(
    st.integers() | st.text(max_size=3) | st.lists(st.integers(), max_size=2),
    lambda inner: st.dictionaries(st.sampled_from("abcd"), inner, max_size=3),
    max_leaves=10,
)
OBJECT = st.dictionaries(st.sampled_from("abcd"), JSON, max_size=4)


@given(old=OBJECT, new=OBJECT)
def test_a_difference_makes_the_new_of_the_old_and_is_empty_for_equals(old: Any, new: Any) -> None:
    assert merge(old, difference(old, new)) == new
    assert difference(old, old) == {}


# How it is written ------------------------------------------------------------------------------------------------


@pytest.fixture
def server() -> Iterator[ObjectServer]:
    with ObjectServer() as server:
        server.put(PATH, {"spec": {"modelName": "m"}})
        yield server


@pytest.fixture
def clock() -> SteppedClock:
    return SteppedClock()


def shown(server: ObjectServer) -> dict[str, Any]:
    status: dict[str, Any] = server.objects[PATH]["status"]
    return status


def patches(server: ObjectServer) -> list[Any]:
    return [request.body for request in server.asked("PATCH", "/fleets/llama-8b/status")]


def test_the_first_status_is_read_compared_and_written_onto_the_version_that_was_read(
    server: ObjectServer, clock: SteppedClock
) -> None:
    version = server.objects[PATH]["metadata"]["resourceVersion"]
    status = ClusterStatus(server.client(), clock)

    status.note([a_cycle()])
    status.send()

    assert shown(server) == status_of(a_cycle()).document()
    (patch,) = patches(server)
    assert patch["metadata"] == {"resourceVersion": version}
    assert server.asked("PATCH")[0].query == {"fieldManager": "vllm-governor"}
    assert status.uid("llm/llama-8b") == "uid-llama-8b"


def test_only_what_differs_is_written(server: ObjectServer, clock: SteppedClock) -> None:
    fleet = a_fleet()
    status = ClusterStatus(server.client(), clock)
    status.note([a_cycle(fleet)])
    status.send()

    status.note([a_cycle(fleet, snapshot=a_snapshot(fleet, ready=3, starting=1))])
    status.send()

    assert patches(server)[1]["status"].keys() == {"replicas", "desiredReplicas", "summary"}
    assert patches(server)[1]["status"]["summary"] == {"replicas": "3/4"}


def test_what_is_not_so_any_more_is_taken_out_and_what_others_wrote_stays(
    server: ObjectServer, clock: SteppedClock
) -> None:
    fleet = a_fleet()
    server.objects[PATH]["status"] = {"ofANewerDaemon": {"x": 1}, "canary": "v2", "weights": {"v2": 100}}
    status = ClusterStatus(server.client(), clock)

    status.note([a_cycle(fleet)])
    status.send()

    assert shown(server)["ofANewerDaemon"] == {"x": 1}
    assert shown(server)["weights"] == {"v1": 100}
    assert "canary" not in shown(server)


def test_a_status_that_makes_no_sense_is_written_anew(server: ObjectServer, clock: SteppedClock) -> None:
    server.objects[PATH]["status"] = {"replicas": "many", "canary": "v2", "readyReplicas": -3}
    status = ClusterStatus(server.client(), clock)

    status.note([a_cycle()])
    status.send()

    assert shown(server) == status_of(a_cycle()).document()


def test_numbers_alone_are_written_once_a_minute_and_of_many_cycles_the_latest(
    server: ObjectServer, clock: SteppedClock
) -> None:
    fleet = a_fleet()
    status = ClusterStatus(server.client(), clock)

    for second in range(0, 65, 5):
        clock.at = 1000.0 + second
        status.note([a_cycle(fleet, T0 + second, snapshot=a_snapshot(fleet, T0 + second, ttft=0.99 - second / 1e4))])
        status.send()

    assert len(patches(server)) == 2
    assert shown(server)["attainment"]["ttft"] == pytest.approx(0.984)


def test_a_change_of_what_stands_is_written_at_once(server: ObjectServer, clock: SteppedClock) -> None:
    status = ClusterStatus(server.client(), clock)
    status.note([with_conditions(a_condition())])
    status.send()

    status.note([with_conditions(a_condition(status="False", since=T0 + 5), at=T0 + 5)])
    status.send()

    assert len(patches(server)) == 2


def test_a_fleet_that_its_owner_changed_meanwhile_is_read_again(server: ObjectServer, clock: SteppedClock) -> None:
    fleet = a_fleet()
    status = ClusterStatus(server.client(), clock)
    status.note([a_cycle(fleet)])
    status.send()
    server.put(PATH, {**server.objects[PATH], "spec": {"modelName": "other"}})

    status.note([a_cycle(fleet, after=4)])
    status.send()

    assert shown(server)["lastDecision"]["action"] == "Up"
    assert server.objects[PATH]["spec"] == {"modelName": "other"}


def test_a_deposed_leader_writes_nothing_after_its_successors_first_write(
    server: ObjectServer, clock: SteppedClock
) -> None:
    leads = {"old": True}
    old, new = ClusterStatus(server.client(), clock, lambda: leads["old"]), ClusterStatus(server.client(), clock)
    old.note([a_cycle()])
    old.send()

    def take_over(method: str, path: str) -> None:
        """The old leader is frozen between the question whether it leads and its write."""
        if method == "PATCH":
            server.before = lambda _method, _path: None
            leads["old"] = False
            new.note([a_cycle(after=9)])
            new.send()

    server.before = take_over
    old.note([a_cycle(after=4)])
    with pytest.raises(Exception, match="not the leader any more"):
        old.send()

    assert shown(server)["lastDecision"]["after"] == {"v1": 9}


def test_who_does_not_lead_asks_and_writes_nothing(server: ObjectServer, clock: SteppedClock) -> None:
    status = ClusterStatus(server.client(), clock, lambda: False)

    status.note([a_cycle()])
    status.send()

    assert not server.requests


def test_a_refusal_holds_up_no_other_fleet_and_is_tried_again_later(server: ObjectServer, clock: SteppedClock) -> None:
    other = a_fleet("other")
    server.put(PATH.replace("llama-8b", "other"), {})
    server.fail("PATCH", "/fleets/llama-8b/status", 422, "does not fit", times=1)
    status = ClusterStatus(server.client(), clock)

    status.note([a_cycle(), a_cycle(other)])
    status.send()
    refused = dict(server.objects[PATH])
    clock.at += 60
    status.note([a_cycle()])
    status.send()

    assert "status" not in refused
    assert server.objects[PATH.replace("llama-8b", "other")]["status"]["phase"] == "Stable"
    assert shown(server)["phase"] == "Stable"


def test_a_fleet_that_is_gone_is_nobodys_error(server: ObjectServer, clock: SteppedClock) -> None:
    del server.objects[PATH]
    status = ClusterStatus(server.client(), clock)

    status.note([a_cycle()])
    status.send()
    status.send()

    assert len(server.requests) == 1


def test_what_could_not_be_sent_is_kept_until_the_server_answers(server: ObjectServer, clock: SteppedClock) -> None:
    released = server.hang("PATCH", "/status", effect=False)
    status = ClusterStatus(server.client(timeout_s=0.2), clock)
    status.note([a_cycle()])
    with pytest.raises(UnreachableError):
        status.send()
    released.set()

    status.send()

    assert shown(server)["phase"] == "Stable"
