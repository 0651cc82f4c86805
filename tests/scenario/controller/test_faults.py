"""Everything that can be wrong with what is seen, with replicas, and with the daemon itself."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import fields, replace

import pytest

from controller.model.decision import Action, Decision, Reason
from controller.model.snapshot import ABSENT, Freshness, Reading, VariantSignals
from controller.ports import FleetSignals
from tests.scenario.controller.stacks import condition, decisions, sizes, stack_of
from tests.scenario.controller.step import COLD_START_S, END, LOAD_END, STEP_AT, TRAFFIC_END, played, step_stack
from tests.scenario.controller.virtual import EPOCH, VirtualStack

Fault = Callable[[FleetSignals], FleetSignals]


def shrinks(found: list[Decision]) -> list[Decision]:
    return [d for d in found if d.action in (Action.DOWN, Action.SHIFT)]


def each_reading(change: Callable[[Reading], Reading]) -> Fault:
    """A fault that does the same to every reading."""

    def fault(seen: FleetSignals) -> FleetSignals:
        variants = {
            name: VariantSignals(**{f.name: change(getattr(v, f.name)) for f in fields(VariantSignals)})
            for name, v in seen.variants.items()
        }
        return replace(
            seen,
            variants=variants,
            inflight=change(seen.inflight),
            inflight_before=change(seen.inflight_before),
            refused_rps=change(seen.refused_rps),
        )

    return fault


def one_signal(name: str, reading: Reading) -> Fault:
    """A fault of one signal of the only variant."""
    return lambda seen: replace(seen, variants={n: replace(v, **{name: reading}) for n, v in seen.variants.items()})


OLD = each_reading(lambda r: Reading(r.value, Freshness.STALE, 45.0, "45 s old") if r.value is not None else r)
NOT_A_NUMBER = each_reading(lambda _r: Reading(None, Freshness.IMPLAUSIBLE, 1.0, "NaN"))
CLAIMED_NOT_A_NUMBER = each_reading(lambda r: Reading(math.nan, Freshness.FRESH, r.age_s))
GONE = each_reading(lambda _r: ABSENT)
ONE_REPLICA_SILENT = one_signal("engines", Reading(1.0, Freshness.FRESH, 1.0))
NO_QUEUE = one_signal("waiting", ABSENT)


def warned(seen: FleetSignals) -> FleetSignals:
    return replace(seen, warnings=("PromQL warning: store unavailable",))


def test_sixty_seconds_of_silence_at_full_load_take_no_replica_and_are_said() -> None:
    stack = step_stack(1)
    stack.run(120)
    before = stack.cluster.desired
    stack.signals.silent = True
    stack.run(60)
    found = decisions(stack, 120 + 15, 180)
    assert stack.cluster.desired >= before
    assert shrinks(decisions(stack, 120, 180)) == []
    status, _, message = condition(found[-1], "MetricsAvailable")
    assert status == "False"
    assert "requests in flight" in message or "running" in message
    since = next(c.since for c in found[-1].conditions if c.type == "MetricsAvailable")
    assert 120 <= since - EPOCH <= 120 + 15
    assert {next(c.since for c in d.conditions if c.type == "MetricsAvailable") for d in found} == {since}


def test_after_the_silence_control_goes_on() -> None:
    stack = step_stack(1)
    stack.run(120)
    stack.signals.silent = True
    stack.run(60)
    stack.signals.silent = False
    stack.run(END - 180)
    assert condition(stack.remembered.decisions[-1], "MetricsAvailable")[0] == "True"
    assert stack.cluster.desired == 2
    assert stack.attainment(190, LOAD_END) >= 0.95


@pytest.mark.parametrize(
    "fault",
    [OLD, NOT_A_NUMBER, CLAIMED_NOT_A_NUMBER, GONE, warned, ONE_REPLICA_SILENT, NO_QUEUE],
    ids=["old", "NaN", "NaN called fresh", "absent", "warnings", "one replica silent", "no queue"],
)
def test_no_replica_leaves_an_idle_fleet_while_something_is_wrong(fault: Fault) -> None:
    stack = stack_of([(60, 12.0), (400, 1.0)], start=5)
    stack.run(55)
    size = stack.cluster.desired
    stack.signals.fault = fault
    stack.run(245)
    assert stack.cluster.desired >= size
    assert shrinks(decisions(stack, 55)) == []
    assert condition(stack.remembered.decisions[-1], "MetricsAvailable")[0] == "False"
    stack.signals.fault = None
    stack.run(200)
    assert stack.cluster.desired < size


@pytest.mark.parametrize("fault", [OLD, warned, NO_QUEUE], ids=["old", "warnings", "no queue"])
def test_partial_evidence_is_enough_to_grow(fault: Fault) -> None:
    stack = stack_of([(60, 4.0), (100, 14.0)])
    stack.run(30)
    stack.signals.fault = fault
    stack.run(60)
    assert stack.cluster.desired >= 4


@pytest.mark.parametrize("offset_s", [-600.0, 600.0])
def test_a_daemon_whose_clock_is_10_minutes_off_controls_as_well_and_says_so(offset_s: float) -> None:
    stack = step_stack(1)
    stack.clock.offset_s = offset_s
    stack.run(END)
    assert stack.recovery_s(STEP_AT, LOAD_END) <= COLD_START_S + 30
    assert stack.cluster.desired == 2
    assert stack.counts() == played(1).counts()
    assert condition(stack.remembered.decisions[-1], "ClockInStep")[:2] == ("False", "Skewed")


@pytest.mark.parametrize("jump_s", [-86_400.0, -600.0, 600.0])
def test_a_clock_that_jumps_takes_no_replica_early_and_delays_none_for_long(jump_s: float) -> None:
    stack = stack_of([(60, 12.0), (500, 1.0)], start=5)
    stack.run(100)
    size = stack.cluster.desired
    stack.clock.offset_s = jump_s
    stack.run(55)
    assert stack.cluster.desired >= size
    stack.run(250)
    assert stack.cluster.desired == 1


def test_a_replica_that_never_gets_ready_is_given_up_said_and_not_counted() -> None:
    stack = stack_of([(60, 4.0), (400, 9.0)], start_deadline=60.0)
    stack.cluster.never_ready = True
    stack.run(115)
    ordered = stack.cluster.desired
    assert ordered >= 3
    assert Reason.RETRY not in {d.reason for d in stack.remembered.decisions}
    stack.run(60)
    last = stack.remembered.decisions[-1]
    status, reason, message = condition(last, "CapacityAvailable")
    assert (status, reason) == ("False", "StartDeadlineExceeded")
    assert "not ready within 60 s and given up: v1: replica-2" in message
    assert Reason.RETRY in {s.reason for d in stack.remembered.decisions for s in d.steps}
    stack.cluster.never_ready = False
    stack.run(10)
    assert stack.cluster.desired <= ordered + 3


def test_replicas_that_never_get_ready_do_not_fill_the_cluster() -> None:
    stack = stack_of([(60, 4.0), (900, 6.5)], start_deadline=60.0)
    stack.cluster.never_ready = True
    stack.run(900)
    assert stack.cluster.desired <= 5


def test_a_replica_killed_under_load_is_replaced_and_the_objectives_are_held_again() -> None:
    stack = stack_of([(400, 9.0)], start=4)
    stack.run(150)
    size = stack.cluster.desired
    stack.cluster.kill(stack.sim.replicas()[0].name)
    stack.run(COLD_START_S + 30)
    assert stack.cluster.desired >= size
    assert len([r for r in stack.sim.replicas() if r.phase == "Ready"]) >= size
    stack.run(150)
    assert stack.attainment(150 + COLD_START_S + 30, 300) >= 0.95
    assert [r.error for r in stack.results(0, 400) if r.error and r.error != "lost"] == []


RESTARTS = [62.0, 66.0, 71.0, 90.0, 200.0, 215.0, 280.0, 300.0]


@pytest.mark.parametrize("at", RESTARTS)
def test_a_daemon_restarted_in_mid_flight_ends_where_the_uninterrupted_one_ends(at: float) -> None:
    stack = step_stack(1)
    stack.run(at)
    stack.restart_daemon()
    stack.run(END - at)
    assert stack.cluster.desired == 2
    assert max(sizes(stack)) <= max(sizes(played(1))) + 1
    recovery_s = stack.recovery_s(STEP_AT, LOAD_END)
    assert recovery_s <= COLD_START_S + 30
    assert stack.attainment(STEP_AT + recovery_s, LOAD_END) >= 0.99
    assert [r for r in stack.results(0, TRAFFIC_END) if r.error] == []


@pytest.mark.parametrize("at", [90.0, 215.0, 250.0])
def test_a_lost_memory_never_shrinks_the_fleet_early(at: float) -> None:
    stack = step_stack(1)
    stack.run(at)
    size = stack.cluster.desired
    stack.remembered.memories = {}
    stack.restart_daemon()
    stack.run(58)
    assert stack.cluster.desired >= size
    stack.run(END - at - 58 + 60)
    assert stack.cluster.desired == 2


def test_a_daemon_that_was_away_for_long_looks_for_a_full_window_before_it_shrinks() -> None:
    stack = stack_of([(60, 12.0), (900, 1.0)], start=5, stabilization={"down": 120.0})
    stack.run(60)
    size = stack.cluster.desired
    for _ in range(600):
        advance_without_the_daemon(stack, 0.5)
    stack.restart_daemon()
    stack.run(115)
    assert stack.cluster.desired == size
    stack.run(200)
    assert stack.cluster.desired == 1


def advance_without_the_daemon(stack: VirtualStack, seconds: float) -> None:
    stack.clock.t = round(stack.clock.t + seconds, 3)
    stack.sim.advance_to(stack.clock.t)
    stack.signals.scrape()


def test_an_unreadable_cluster_is_held_said_and_gone_on_from() -> None:
    stack = step_stack(1)
    stack.run(62)
    stack.cluster.readable = False
    stack.run(10)
    assert stack.counts() == []
    last = stack.remembered.decisions[-1]
    assert last.reason is Reason.UNREADABLE
    assert last.before == ()
    assert condition(last, "Ready")[:2] == ("False", "Unreadable")
    stack.cluster.readable = True
    stack.run(10)
    assert stack.cluster.desired >= 4


def test_a_cool_down_survives_cycles_in_which_the_cluster_cannot_be_read() -> None:
    stack = stack_of([(300, 14.0)], policy="thresholds", thresholds={"gpu_up": 0.5, "cooldown": 60.0})
    while not stack.counts():
        stack.run(5)
    stack.cluster.readable = False
    stack.run(10)
    stack.cluster.readable = True
    stack.run(40)
    assert len(stack.counts()) == 1
    assert stack.remembered.decisions[-1].reason is Reason.COOL_DOWN
