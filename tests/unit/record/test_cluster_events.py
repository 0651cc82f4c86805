"""Events say what was done and what changed; the same fact again is counted, and nobody is flooded."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from controller.cluster.client import UnreachableError
from controller.model.decision import Outcome, OutcomeStatus, WeightWrite
from controller.model.weights import RouteRef
from controller.ports import CycleRecord
from controller.record.board import Boards
from controller.record.cluster_board import ClusterBoard
from controller.record.cluster_events import BURST, ClusterEvents
from controller.record.cluster_status import ClusterStatus
from tests.contract.cluster.object_server import ObjectServer
from tests.unit.record.cluster_stores import SteppedClock
from tests.unit.record.cycles import T0, a_condition, a_cycle, a_decision, a_fleet, an_outcome

EVENTS = "/apis/events.k8s.io/v1/namespaces/llm/events"
FLEET = "/apis/governor.dev/v1alpha1/namespaces/llm/fleets/llama-8b"


@pytest.fixture
def server() -> Iterator[ObjectServer]:
    with ObjectServer() as server:
        yield server


@pytest.fixture
def clock() -> SteppedClock:
    return SteppedClock()


def events_of(server: ObjectServer, clock: SteppedClock, **more: Any) -> ClusterEvents:
    return ClusterEvents(server.client(), clock, "governor-0_abc", **more)


def seen(server: ObjectServer) -> list[dict[str, Any]]:
    return [found for path, found in server.objects.items() if path.startswith(EVENTS)]


def scaled(before: int = 3, after: int = 5, at: float = T0) -> CycleRecord:
    return a_cycle(a_fleet(), at, before, after)


def test_an_order_that_was_applied_is_an_event_on_the_fleet_with_the_reason(
    server: ObjectServer, clock: SteppedClock
) -> None:
    record = scaled()
    events = events_of(server, clock, uid=lambda _fleet: "uid-1")

    events.note([record], [an_outcome(record)])
    events.send()

    (event,) = seen(server)
    assert event["regarding"] == {
        "apiVersion": "governor.dev/v1alpha1",
        "kind": "Fleet",
        "namespace": "llm",
        "name": "llama-8b",
        "uid": "uid-1",
    }
    assert (event["type"], event["reason"], event["action"]) == ("Normal", "ScaledUp", "Scale")
    assert event["note"] == f"v1: 3 → 5 replicas. {record.plan.decision.sentence}"
    assert event["reportingController"] == "vllm-governor"
    assert event["reportingInstance"] == "governor-0_abc"
    assert event["eventTime"] == "2026-01-01T00:00:00.000000Z"


@pytest.mark.parametrize(
    ("status", "kind", "reason"),
    [
        (OutcomeStatus.CONFLICT, "Normal", "WriteConflict"),
        (OutcomeStatus.REFUSED, "Warning", "WriteRefused"),
        (OutcomeStatus.FAILED, "Warning", "WriteFailed"),
    ],
)
def test_an_order_that_was_not_written_is_an_event_too(
    server: ObjectServer, clock: SteppedClock, status: OutcomeStatus, kind: str, reason: str
) -> None:
    record = scaled()
    events = events_of(server, clock)

    events.note([record], [an_outcome(record, status, "for a reason")])
    events.send()

    (event,) = seen(server)
    assert (event["type"], event["reason"]) == (kind, reason)
    assert event["note"].startswith("v1: 3 → 5 replicas was not written: ")


def test_traffic_that_was_moved_is_told_as_well(server: ObjectServer, clock: SteppedClock) -> None:
    record = a_cycle()
    route = RouteRef("llm", "routing", "primary", "vllm")
    write = WeightWrite(record.fleet.key, route, (("v1", 100), ("v2", 0)), (("v1", 90), ("v2", 10)), "3")
    events = events_of(server, clock)

    events.note([record], [Outcome(write, OutcomeStatus.APPLIED)])
    events.send()

    (event,) = seen(server)
    assert (event["reason"], event["action"]) == ("WeightsMoved", "MoveTraffic")
    assert "v1 100 → 90 %, v2 0 → 10 %" in event["note"]


def test_a_dry_run_and_a_hold_are_no_events(server: ObjectServer, clock: SteppedClock) -> None:
    record = scaled()
    events = events_of(server, clock)

    events.note([record, a_cycle()], [an_outcome(record, OutcomeStatus.DRY_RUN)])
    events.send()

    assert not seen(server)


def test_a_condition_is_told_when_its_status_changes_and_not_when_its_numbers_do(
    server: ObjectServer, clock: SteppedClock
) -> None:
    fleet = a_fleet()
    events = events_of(server, clock)

    for n, status in enumerate(("True", "True", "False", "False", "True")):
        at = T0 + 5 * n
        fact = a_condition("MetricsAvailable", status, message=f"number {n}")
        events.note([a_cycle(fleet, at, decision=a_decision(fleet, at, conditions=[fact]))], [])
    events.send()

    assert [(e["type"], e["note"]) for e in seen(server)] == [
        ("Warning", "MetricsAvailable is False: number 2"),
        ("Normal", "MetricsAvailable is True: number 4"),
    ]


def test_after_a_restart_only_what_went_wrong_just_now_is_told(server: ObjectServer, clock: SteppedClock) -> None:
    fleet = a_fleet()
    facts = [
        a_condition("Ready", "True", T0),
        a_condition("Scaling", "False", T0 - 100),
        a_condition("MetricsAvailable", "False", T0, "silent"),
    ]
    events = events_of(server, clock)

    events.note([a_cycle(fleet, decision=a_decision(fleet, conditions=facts))], [])
    events.send()

    assert [e["note"] for e in seen(server)] == ["MetricsAvailable is False: silent"]


def test_the_same_fact_again_counts_up_the_event_that_is_there_once_a_minute(
    server: ObjectServer, clock: SteppedClock
) -> None:
    record = scaled()
    events = events_of(server, clock)

    for second in range(0, 125, 5):
        clock.at = 1000.0 + second
        events.note([replace(record)], [an_outcome(record, OutcomeStatus.CONFLICT, f"version {second}")])
        events.send()

    (event,) = seen(server)
    assert event["series"]["count"] == 25
    assert len(server.asked("PATCH")) == 2


def test_a_fact_that_was_silent_for_long_is_a_new_event(server: ObjectServer, clock: SteppedClock) -> None:
    events = events_of(server, clock)

    for at in (0.0, 3600.0):
        clock.at = 1000.0 + at
        record = scaled(at=T0 + at)
        events.note([record], [an_outcome(record)])
        events.send()

    assert len(seen(server)) == 2


def test_an_event_that_expired_is_made_anew(server: ObjectServer, clock: SteppedClock) -> None:
    events = events_of(server, clock)
    for second in (0, 5, 65, 70):
        clock.at = 1000.0 + second
        if second == 65:
            server.objects.clear()
        record = scaled(at=T0 + second)
        events.note([record], [an_outcome(record)])
        events.send()

    (event,) = seen(server)
    assert "series" not in event


def test_a_fleet_that_says_too_much_is_cut_short_and_the_others_are_not(
    server: ObjectServer, clock: SteppedClock
) -> None:
    events = events_of(server, clock)
    for n in range(100):
        record = scaled(3, 4 + n)
        events.note([record], [an_outcome(record)])
    other = a_cycle(a_fleet("other"), before=1, after=2)
    events.note([other], [an_outcome(other)])
    events.send()

    assert len(seen(server)) == BURST + 1
    assert events.dropped == 80
    clock.at += 60
    for n in range(5):
        record = scaled(3, 204 + n)
        events.note([record], [an_outcome(record)])
    events.send()
    assert len(seen(server)) == BURST + 3


def test_a_long_sentence_is_cut_to_what_an_event_takes(server: ObjectServer, clock: SteppedClock) -> None:
    record = scaled()
    events = events_of(server, clock)

    events.note([record], [an_outcome(record, OutcomeStatus.FAILED, "→" * 2000)])
    events.send()

    (event,) = seen(server)
    assert 1000 < len(event["note"].encode()) <= 1024
    assert event["note"].endswith("→…")


def test_a_refused_event_is_given_up_and_the_next_one_is_sent(server: ObjectServer, clock: SteppedClock) -> None:
    events = events_of(server, clock)
    server.fail("POST", "/events", 403, "may not")
    for after in (4, 5):
        events.note([scaled(3, after)], [an_outcome(scaled(3, after))])
    events.send()

    assert [e["note"][:9] for e in seen(server)] == ["v1: 3 → 5"]
    assert events.dropped == 1


def test_an_event_whose_answer_was_lost_is_sent_again_and_there_once(server: ObjectServer, clock: SteppedClock) -> None:
    released = server.hang("POST", "/events", effect=True)
    events = ClusterEvents(server.client(timeout_s=0.2), clock, "g")
    record = scaled()
    events.note([record], [an_outcome(record)])
    with pytest.raises(UnreachableError):
        events.send()
    released.set()

    events.send()

    assert len(seen(server)) == 1
    assert events.dropped == 0


def test_who_does_not_lead_says_nothing(server: ObjectServer, clock: SteppedClock) -> None:
    events = events_of(server, clock, held=lambda: False)
    events.note([scaled()], [an_outcome(scaled())])
    events.send()

    assert not server.requests


# Both, from a thread of their own ------------------------------------------------------------------------------------


def test_a_board_of_the_cluster_sends_status_and_events_and_an_api_server_that_hangs_delays_no_cycle(
    server: ObjectServer, clock: SteppedClock
) -> None:
    server.put(FLEET, {})
    released = server.hang("GET", "/fleets/", effect=False)
    status = ClusterStatus(server.client(), clock)
    board = ClusterBoard(status, ClusterEvents(server.client(), clock, "g", status.uid))
    board.start()

    record = scaled()
    for _ in range(50):
        board.publish([record], [an_outcome(record)], 0.1)  # returns although nothing is answered
    released.set()
    told = threading.Event()
    server.before = lambda method, _path: told.set() if method == "POST" else None
    assert told.wait(10)
    board.close()

    assert server.objects[FLEET]["status"]["phase"] == "Stable"
    assert [e["regarding"].get("uid") for e in seen(server)] == ["uid-llama-8b"]


def test_what_waits_at_the_end_is_still_sent(server: ObjectServer, clock: SteppedClock) -> None:
    server.put(FLEET, {})
    board = ClusterBoard(ClusterStatus(server.client(), clock), events_of(server, clock))
    board.publish([a_cycle()], [], 0.1)
    board.start()

    board.close()

    assert server.objects[FLEET]["status"]["phase"] == "Stable"


def test_several_boards_are_one() -> None:
    shown: list[str] = []

    class Named:
        def __init__(self, name: str) -> None:
            self.name = name

        def publish(self, records: object, outcomes: object, tick_s: float) -> None:
            shown.append(self.name)

    Boards(Named("a"), Named("b")).publish([], [], 0.1)

    assert shown == ["a", "b"]
