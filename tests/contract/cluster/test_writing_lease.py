"""The Lease over HTTP: who leads, what is written into it, what failures do, and how it is given back."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from controller.cluster.election import Timing
from controller.cluster.lease import Lease, boot_time_s, own_identity
from tests.contract.cluster.object_server import ObjectServer

PATH = "/apis/coordination.k8s.io/v1/namespaces/governor/leases/governor"
LONG = Timing(duration_s=60, renew_s=0.3, margin_s=0.5, poll_s=0.05)
SHORT = Timing(duration_s=3, renew_s=0.3, margin_s=0.5, poll_s=0.05)


class Hands:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.at = 1000.0

    def __call__(self) -> float:
        return self.at


@pytest.fixture
def server() -> Iterator[ObjectServer]:
    with ObjectServer() as server:
        yield server


@pytest.fixture
def clock() -> Hands:
    return Hands()


@pytest.fixture
def contender(server: ObjectServer, clock: Hands) -> Callable[[str], Lease]:
    return lambda name: Lease(server.client(timeout_s=0.3), "governor", "governor", name, clock=clock)


@pytest.fixture
def running(server: ObjectServer) -> Iterator[Callable[..., Lease]]:
    leases = []

    def start(name: str, timing: Timing = LONG) -> Lease:
        leases.append(Lease(server.client(timeout_s=1.0), "governor", "governor", name, timing))
        leases[-1].start()
        return leases[-1]

    yield start
    for lease in leases:
        lease.close()


def spec(server: ObjectServer) -> dict[str, Any]:
    found: dict[str, Any] = server.objects[PATH]["spec"]
    return found


def until(holds: Callable[[], bool], limit_s: float = 10.0) -> None:
    deadline = time.monotonic() + limit_s
    while not holds():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.01)


def test_the_first_makes_the_lease_and_leads_and_the_second_does_not(
    server: ObjectServer, contender: Callable[[str], Lease]
) -> None:
    one, two = contender("one"), contender("two")

    one.step()
    two.step()

    assert (one.held(), two.held()) == (True, False)
    assert two.holder == "one"
    written = spec(server)
    assert written["holderIdentity"] == "one"
    assert (written["leaseDurationSeconds"], written["leaseTransitions"]) == (15, 0)
    assert written["renewTime"] == written["acquireTime"]
    assert len(written["renewTime"]) == len("2026-01-01T00:00:00.000000Z")


def test_a_renewal_is_one_request_onto_the_version_before_it_and_keeps_what_others_put_there(
    server: ObjectServer, contender: Callable[[str], Lease], clock: Hands
) -> None:
    lease = contender("one")
    lease.step()
    server.objects[PATH]["metadata"]["annotations"] = {"note": "of somebody"}
    server.objects[PATH]["spec"]["strategy"] = "OldestEmulationVersion"
    version = server.objects[PATH]["metadata"]["resourceVersion"]
    lease._election.missed()
    lease.step()
    acquired = spec(server)["acquireTime"]
    clock.at += 5
    before = len(server.requests)

    lease.step()

    (request,) = server.requests[before:]
    assert request.method == "PUT"
    assert request.body["metadata"]["resourceVersion"] == version
    assert server.objects[PATH]["metadata"]["annotations"] == {"note": "of somebody"}
    assert spec(server)["strategy"] == "OldestEmulationVersion"
    assert spec(server)["acquireTime"] == acquired


def test_times_in_the_lease_are_for_people_and_nobody_judges_by_them(
    server: ObjectServer, contender: Callable[[str], Lease], clock: Hands
) -> None:
    old = {"holderIdentity": "other", "leaseDurationSeconds": 15, "renewTime": "1999-01-01T00:00:00.000000Z"}
    server.put(PATH, {"spec": old})
    lease = contender("one")

    lease.step()
    early = lease.held()
    clock.at += 15
    lease.step()

    assert (early, lease.held()) == (False, True)
    assert spec(server)["leaseTransitions"] == 1
    assert lease.generation == 1


def test_a_process_that_was_frozen_does_not_lead_when_it_thaws(contender: Callable[[str], Lease], clock: Hands) -> None:
    lease = contender("one")
    lease.step()

    clock.at += 13

    assert not lease.held()


def test_a_lost_answer_ends_nothing_before_its_time_and_the_next_step_looks_again(
    server: ObjectServer, contender: Callable[[str], Lease], clock: Hands
) -> None:
    lease = contender("one")
    lease.step()
    released = server.hang("PUT", "/leases/")
    clock.at += 5
    lease.step()
    released.set()
    said, still = lease.error, lease.held()
    clock.at += 1

    lease.step()

    assert "does not answer" in said
    assert still
    assert lease.error == ""
    clock.at += 11
    assert lease.held()


def test_who_may_not_write_it_says_so_and_never_leads(server: ObjectServer, contender: Callable[[str], Lease]) -> None:
    server.fail("POST", "/leases", 403, "leases is forbidden")
    lease = contender("one")

    lease.step()

    assert not lease.held()
    assert "leases is forbidden" in lease.error


def test_a_race_that_is_lost_is_no_error(server: ObjectServer, contender: Callable[[str], Lease]) -> None:
    one, two = contender("one"), contender("two")

    def sneak_in(method: str, _path: str) -> None:
        if method == "POST":
            server.before = lambda _method, _path: None
            two.step()

    server.before = sneak_in
    one.step()

    assert (one.held(), two.held()) == (False, True)
    assert one.error == ""


def test_a_renewal_within_one_microsecond_is_still_a_new_version(
    server: ObjectServer, contender: Callable[[str], Lease], clock: Hands, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("controller.cluster.lease._micro", lambda at: f"{at:%Y-%m-%dT%H}.{at.microsecond}")
    lease = contender("one")
    versions = set()
    for _ in range(5):
        lease.step()
        versions.add(server.objects[PATH]["metadata"]["resourceVersion"])
        clock.at += 5

    assert len(versions) == 5


def test_with_threads_one_leads_and_renews_and_the_other_follows_at_once_when_it_is_closed(
    server: ObjectServer, running: Callable[..., Lease]
) -> None:
    one = running("one")
    until(one.held)
    two = running("two")
    until(lambda: len(server.asked("PUT")) >= 3)
    assert (one.held(), two.held()) == (True, False)

    began = boot_time_s()
    one.close()

    assert not one.held()
    until(two.held)
    assert boot_time_s() - began < LONG.duration_s, "it did not have to wait for the lease's end"
    assert two.generation > one.generation


def test_with_threads_a_server_that_stops_answering_ends_leadership_in_time(
    server: ObjectServer, running: Callable[..., Lease]
) -> None:
    lease = running("one", SHORT)
    until(lease.held)
    server.fail("PUT", "/leases/", 500, "etcd is away", times=float("inf"))

    until(lambda: not lease.held())

    assert "etcd is away" in lease.error
    server.faults.clear()
    until(lease.held)


def test_every_process_has_a_name_of_its_own() -> None:
    assert own_identity().startswith(f"{socket.gethostname()}_")
    assert own_identity() != own_identity()
