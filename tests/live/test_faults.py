"""Metrics that lie or fall silent, replicas that die, a disk that is full, a wrong clock: never a reduction for it.

All on one stack, one fault after the other: three replicas under a load that needs them.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import pytest

from controller.model.decision import ConditionStatus, Reason
from controller.model.snapshot import Freshness, Replica, ReplicaPhase
from tests.live.fault_rig import FaultRig, fault_rig
from tests.live.figures import say
from tests.live.journals import writes
from tests.live.local_runs import Runs, replayed
from tests.live.prometheus_proxy import prometheus_proxy

OUTAGE_S = 60.0
NOTICED_S = 25.0
"""Until a fault shows: a scrape, the age at which samples are stale, a full cycle."""
RECOVERED_S = 40.0
"""Until readings are fresh again: a scrape, a whole window of rates, a full cycle."""
HELD_S = 6.0


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory, beside: Runs) -> Iterator[FaultRig]:
    with fault_rig(tmp_path_factory.mktemp("faults")) as rig:
        rig.start_daemon("state")
        rig.start_load()
        rig.settle(100)
        yield rig


def wait_until_it_goes_on(rig: FaultRig, since: float) -> None:
    """Control goes on: fresh readings, and a decision that rests on them."""
    rig.wait_for_cycle(since, lambda c: c.fresh and c.metrics.status is ConditionStatus.TRUE, RECOVERED_S, "recovery")


def no_reduction(rig: FaultRig, since: float) -> bool:
    return not [write for cycle in rig.cycles(since) for write in cycle.reductions]


def test_prometheus_dead_for_a_minute_at_full_load_takes_no_replica_away(rig: FaultRig) -> None:
    before, died_at = rig.target().desired, time.time()
    rig.stack.suspend("prometheus")

    blind = rig.wait_for_cycle(died_at, lambda c: not c.fresh, NOTICED_S, "the outage to be noticed")
    time.sleep(max(0.0, died_at + OUTAGE_S - time.time()))
    during = [cycle for cycle in rig.cycles(blind.at) if not cycle.fresh]
    rig.stack.resume("prometheus")
    back_at = time.time()

    assert len(during) > 5
    assert not any(cycle.writes for cycle in during)
    assert rig.target().desired >= before
    for cycle in during:
        assert cycle.metrics.status is ConditionStatus.FALSE
        assert cycle.metrics.since == blind.metrics.since
        assert "v1: engines, running, waiting" in cycle.metrics.message
        assert "absent (not reachable" in cycle.metrics.message
        assert cycle.decision.reason in (Reason.BLIND, Reason.NOT_FRESH)
    assert died_at <= blind.metrics.since <= died_at + NOTICED_S
    wait_until_it_goes_on(rig, back_at)
    assert no_reduction(rig, died_at)


@contextmanager
def page_fault(rig: FaultRig, replica: Replica, fault: str) -> Iterator[None]:
    """A fault of one replica's page while it lasts."""
    if fault == "duplicate":
        with rig.scraped_twice(replica):
            yield
        return
    rig.order_fault(replica, metrics=fault)
    yield
    rig.order_fault(replica, metrics="ok")


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        pytest.param("hang", "2 of 3 ready replicas report", id="hangs"),
        pytest.param("garbage", "2 of 3 ready replicas report", id="garbage"),
        pytest.param("nan", "reported as nan", id="NaN"),
        pytest.param("duplicate", "duplicate series: 3 engines are reported 4 times", id="duplicate series"),
    ],
)
def test_one_replicas_page_at_fault_takes_no_replica_away(rig: FaultRig, fault: str, said: str) -> None:
    begun = time.time()
    assert len(rig.ready()) == 3

    with page_fault(rig, rig.ready()[0], fault):
        noticed = rig.wait_for_cycle(begun, lambda c: not c.fresh, NOTICED_S, "the fault to be noticed")
        time.sleep(HELD_S)
        during = rig.cycles(noticed.at)
    mended_at = time.time()

    assert not any(cycle.fresh for cycle in during)
    assert all(cycle.metrics.status is ConditionStatus.FALSE for cycle in during)
    assert said in noticed.metrics.message
    wait_until_it_goes_on(rig, mended_at)
    assert no_reduction(rig, begun)


def test_counters_that_begin_again_at_zero_are_no_drop_in_demand(rig: FaultRig) -> None:
    begun = time.time()
    before = rig.cycles(begun - 15)[-1]

    for replica in rig.ready():
        rig.order_fault(replica, metrics="reset")
    last = rig.wait_for_cycle(begun + 12, lambda _: True, 30, "cycles after the reset")

    served = dict(before.decision.estimates)["arrival_rps"]
    assert served is not None
    for cycle in rig.cycles(begun):
        arrival = dict(cycle.decision.estimates)["arrival_rps"]
        assert arrival is not None
        assert arrival > 0.5 * served
    assert last.fresh
    assert no_reduction(rig, begun)


def test_a_replica_killed_under_load_is_replaced(rig: FaultRig) -> None:
    before, begun = rig.ready(), time.time()
    victim = before[0]

    rig.replica_process(victim).kill()

    names = rig.wait_for_ready_without(victim, len(before), 60)
    replaced_at = time.time()
    assert names - {replica.name for replica in before}
    rig.wait_for_cycle(replaced_at, lambda c: c.ready >= len(before), 60, "the replacement to be seen")
    assert no_reduction(rig, begun)
    say(f"killed replica: replaced and ready after {replaced_at - begun:.0f} s")
    wait_until_it_goes_on(rig, time.time())


def test_a_replica_that_never_gets_ready_is_given_up_and_another_takes_its_place(rig: FaultRig) -> None:
    before, begun = rig.ready(), time.time()
    rig.change_fleet(max=len(before) + 1)
    rig.stuck.touch()
    rig.replica_process(before[0]).kill()
    (stuck,) = rig.wait_for_starting(1)
    rig.stuck.unlink()

    lost = rig.wait_for_cycle(
        begun, lambda c: c.condition("CapacityAvailable").reason == "StartDeadlineExceeded", 60, "the replica given up"
    )
    full = rig.wait_for_cycle(lost.at, lambda c: c.ready == len(before), 60, "another replica")
    grown = [cycle for cycle in rig.cycles(begun) if cycle.writes]

    said = lost.condition("CapacityAvailable")
    assert said.status is ConditionStatus.FALSE
    assert f"not ready within 12 s and given up: v1: {stuck.name}" in said.message
    assert lost.at - begun > 12
    assert writes(grown) == [(len(before), len(before) + 1)]
    assert grown[0].at == lost.at
    assert grown[0].decision.reason is Reason.RETRY
    assert "a replica that never got ready was given up" in grown[0].decision.sentence
    assert full.desired == len(before) + 1
    say(
        f"replica that never gets ready: given up after {lost.at - begun:.0f} s, replaced after {full.at - begun:.0f} s"
    )
    gone = rig.wait_for_cycle(full.at, lambda c: c.desired == len(before), 120, "the one given up to be let go")
    assert stuck.name not in {r.name for r in rig.target().in_phase(ReplicaPhase.READY, ReplicaPhase.STARTING)}
    assert gone.ready == len(before)


def test_a_full_disk_stops_neither_growth_nor_the_record_and_reductions_wait(rig: FaultRig) -> None:
    begun, before = time.time(), rig.target().desired
    daemon = rig.daemon_process()
    unlimited = daemon.rlimit(resource.RLIMIT_FSIZE)

    daemon.rlimit(resource.RLIMIT_FSIZE, (64, unlimited[1]))
    time.sleep(8)
    errors = rig.overview()["errors"]
    rig.change_fleet(min=before + 1, max=before + 1)
    time.sleep(10)
    grown = rig.target().desired
    # By its maximum the fleet has to shrink, whatever chance makes of the demand meanwhile.
    rig.change_fleet(min=1, max=before)
    time.sleep(10)
    held = rig.target().desired
    daemon.rlimit(resource.RLIMIT_FSIZE, unlimited)
    mended_at = time.time()
    rig.wait_for_cycle(mended_at, lambda c: c.desired == c.ready == before, 60, "the fleet to be as before")

    assert any("journal" in error and "file size limit" in error for error in errors)
    assert any("memory" in error for error in errors)
    assert grown == held == before + 1
    assert rig.overview()["errors"] == []
    assert daemon.is_running()
    found = rig.cycles(begun)
    assert max(later.at - earlier.at for earlier, later in pairwise(found)) < 8, "decisions were lost"
    assert (before, before + 1) in writes(found)
    assert any(cycle.reductions for cycle in found if cycle.at < mended_at), "nothing was held back"


def test_a_clock_ten_minutes_off_and_answers_with_warnings(rig: FaultRig) -> None:
    assert rig.stack.addresses.prometheus is not None
    begun = time.time()
    with prometheus_proxy(rig.stack.addresses.prometheus) as proxy:
        rig.start_daemon("state-late", prometheus=proxy.url, offset_s=600.0)
        settled = rig.wait_for_cycle(begun, lambda c: c.fresh, RECOVERED_S, "fresh readings by the wrong clock")
        clock = settled.condition("ClockInStep")
        assert clock.status is ConditionStatus.FALSE
        assert "-600 s" in clock.message

        warned_at = time.time()
        proxy.warning = "PromQL: store at 10.0.0.7:10901 is unavailable: partial data"
        noticed = rig.wait_for_cycle(warned_at, lambda c: not c.fresh, NOTICED_S, "the warning to be noticed")
        time.sleep(HELD_S)
        during = rig.cycles(noticed.at - rig.clock_offset_s)
        proxy.warning = ""
        mended_at = time.time()

        for cycle in during:
            assert all(r.freshness is Freshness.STALE for r in cycle.readings.values() if r.value is not None)
            assert cycle.metrics.status is ConditionStatus.FALSE
            assert "partial data" in cycle.metrics.message
        wait_until_it_goes_on(rig, mended_at)

        grown_at, before = time.time(), rig.target().desired
        rig.change_fleet(min=before + 1, max=before + 1)
        ready = rig.wait_for_cycle(grown_at, lambda c: c.ready > before, 40, "growth by the wrong clock")
        assert ready.condition("CapacityAvailable").status is ConditionStatus.TRUE
        grown = rig.cycles(grown_at)
        assert (before, before + 1) in writes(grown)
        assert not any("given up" in c.condition("CapacityAvailable").message for c in grown)
        assert no_reduction(rig, begun)


def test_only_the_killed_replicas_own_requests_failed(rig: FaultRig) -> None:
    bad = [request for request in rig.requests() if request.status in ("failed", "truncated")]

    say(f"faults: {len(bad)} of {len(rig.requests())} requests ended early, all on replicas that were killed")
    assert len(bad) <= 2 * 40


def test_the_journals_of_both_daemons_replay_bit_for_bit(rig: FaultRig) -> None:
    rig.stack.suspend("daemon")

    for state in ("state", "state-late"):
        replay = replayed(Path(rig.stack.run_dir) / state / "journal")
        assert replay.returncode == 0, replay.stdout + replay.stderr
        assert "all equal, bit for bit" in replay.stdout
