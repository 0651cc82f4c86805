"""What operators ask for: thresholds, schedules, pause, override, budget, zero, impossible objectives."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise

import pytest

from controller.act.dry_run import DryRunReplicaWriter
from controller.model.decision import Action, Reason
from controller.model.scaling import Stabilization
from tests.builders import a_fleet
from tests.scenario.controller.stacks import condition, decisions, reversals, shipped_stack, sizes, stack_of
from tests.scenario.controller.virtual import EPOCH


def at(seconds: float) -> str:
    """A moment of virtual time as one writes it."""
    return datetime.fromtimestamp(EPOCH + seconds, UTC).isoformat()


def clock(seconds: float) -> str:
    return f"{datetime.fromtimestamp(EPOCH + seconds, UTC):%H:%M}"


def test_the_rule_of_thresholds_makes_the_expected_writes_with_its_cool_down_between() -> None:
    stack = shipped_stack("thresholds", 230)
    stack.run(260)
    assert sizes(stack) == [3, 4, 3, 2]
    times = [t for t, _ in stack.counts()]
    assert all(b - a >= 30 for a, b in pairwise(times))
    held = [d for d in stack.remembered.decisions if d.reason is Reason.COOL_DOWN]
    assert held
    assert all("cool-down of 30 s: " in d.sentence and "since the last change" in d.sentence for d in held)
    assert all(d.action is Action.HOLD for d in held)
    assert {d.reason for d in stack.remembered.decisions} >= {Reason.THRESHOLD_UP, Reason.THRESHOLD_DOWN}
    assert [r for r in stack.results(0, 260) if r.error] == []


def test_a_fleet_that_may_goes_to_zero_when_idle_and_comes_back_on_a_refused_request() -> None:
    stack = shipped_stack("zero", 280)
    stack.run(320)
    assert sizes(stack)[-3:] == [0, 1, 0]
    (slept, _), (woken, _), _ = stack.counts()[-3:]
    assert slept >= 20 + 30
    first = min(r.arrived_at for r in stack.results(120, 180))
    assert woken - first <= 5 + 2
    failed = [r for r in stack.results(0, 320) if r.error]
    assert all(r.error == "refused" and first <= r.arrived_at <= woken + 10 for r in failed)
    assert {Reason.WAKE, Reason.IDLE} <= {d.reason for d in stack.remembered.decisions}


def test_under_the_rule_of_thresholds_a_fleet_goes_to_zero_when_idle_and_comes_back_on_a_refused_request() -> None:
    """The way back waits for no cool-down (of 300 s), the way down does."""
    fleet = a_fleet(low=0, high=1, policy="thresholds", idle_after=30.0, stabilization={"down": 20.0})
    stack = stack_of([(20, 1.0), (100, 0.0), (60, 1.0), (300, 0.0)], fleet, start=1, cold_start_s=10.0)
    stack.run(480)
    assert sizes(stack) == [0, 1, 0]
    (slept, _), (woken, _), (slept_again, _) = stack.counts()
    assert 20 + 30 <= slept < 120
    first = min(r.arrived_at for r in stack.results(120, 180))
    assert woken - first <= 5 + 2
    assert slept_again - woken >= 300
    failed = [r for r in stack.results(0, 480) if r.error]
    assert all(r.error == "refused" and first <= r.arrived_at <= woken + 10 for r in failed)
    assert {Reason.WAKE, Reason.IDLE} <= {d.reason for d in stack.remembered.decisions}


def test_a_window_for_growth_does_not_delay_the_way_back_from_zero() -> None:
    stack = shipped_stack("zero", 280)
    stack.change_fleet(stabilization=Stabilization(down=20.0, up=60.0))
    stack.run(180)
    first = min(r.arrived_at for r in stack.results(120, 180))
    woken = next(t for t, count in stack.counts() if t > 120 and count > 0)
    assert woken - first <= 5 + 2


def test_a_fleet_with_a_minimum_never_sleeps() -> None:
    stack = stack_of([(20, 1.0), (400, 0.0)], start=1, idle_after=30.0)
    stack.run(400)
    assert stack.cluster.desired == 1


def test_a_schedule_brings_its_minimum_and_takes_it_back() -> None:
    fleet = a_fleet(high=6, schedules=[{"name": "morning", "from": clock(120), "to": clock(300), "min": 4}])
    stack = stack_of([(600, 2.0)], fleet, start=1)
    stack.run(100)
    assert stack.cluster.desired == 1
    stack.run(30)
    assert stack.cluster.desired == 4
    raised = next(d for d in decisions(stack, 115) if d.action is Action.UP)
    assert raised.reason is Reason.BOUND_MIN
    assert "at least 4 of v1 (schedule morning)" in raised.sentence
    stack.run(400)
    assert stack.cluster.desired == 1


def test_a_schedule_that_lowers_the_maximum_is_obeyed() -> None:
    fleet = a_fleet(high=6, schedules=[{"name": "night", "from": clock(120), "to": clock(600), "min": 1, "max": 2}])
    stack = stack_of([(300, 12.0)], fleet, start=4)
    stack.run(110)
    assert stack.cluster.desired >= 4
    stack.run(60)
    assert stack.cluster.desired == 2
    assert condition(stack.remembered.decisions[-1], "Scaling") == ("False", "Limited", "limited by max")
    assert "at most 2 of v1 are allowed (schedule night)" in stack.remembered.decisions[-1].sentence


def test_a_paused_fleet_changes_nothing_and_goes_on_afterwards() -> None:
    stack = stack_of([(300, 12.0)], paused=True)
    stack.run(120)
    assert stack.counts() == []
    assert condition(stack.remembered.decisions[-1], "Scaling")[:2] == ("False", "Paused")
    assert stack.remembered.decisions[-1].reason is Reason.PAUSED
    stack.change_fleet(paused=False)
    stack.run(10)
    assert stack.cluster.desired >= 4


def test_an_override_holds_until_its_end() -> None:
    override = {"replicas": {"v1": 7}, "until": at(120), "reason": "a launch"}
    stack = stack_of([(600, 2.0)], start=1, override=override)
    stack.run(10)
    assert stack.cluster.desired == 7
    assert stack.remembered.decisions[-1].reason is Reason.OVERRIDE
    assert "a launch" in stack.remembered.decisions[-1].sentence
    stack.run(105)
    assert stack.cluster.desired == 7
    stack.run(300)
    assert stack.cluster.desired == 1


def test_an_override_may_take_away_what_demand_would_keep() -> None:
    override = {"replicas": {"v1": 1}, "until": at(120), "reason": "maintenance"}
    stack = stack_of([(300, 9.0)], start=4, override=override)
    stack.run(15)
    assert stack.cluster.desired == 1


def test_the_budget_is_never_exceeded_and_named_as_the_limit() -> None:
    stack = stack_of([(60, 4.0), (240, 20.0)], max_cost_per_hour=4 * 1.86)
    stack.run(200)
    assert max(sizes(stack)) == 4
    assert condition(stack.remembered.decisions[-1], "Scaling") == ("False", "Limited", "limited by budget")
    assert Reason.BUDGET in {d.reason for d in stack.remembered.decisions}


def test_an_objective_that_no_replica_count_meets_is_reported_not_chased() -> None:
    """25 ms a token, where one request alone takes 20 ms a step, and any company more."""
    fleet = a_fleet(objectives={"tpot": {"threshold": "10ms", "target": 0.95}})
    stack = stack_of([(300, 6.0)], fleet)
    stack.run(300)
    assert max([2, *sizes(stack)]) <= 4
    status, reason, message = condition(stack.remembered.decisions[-1], "ObjectiveAttainable")
    assert (status, reason) == ("False", "Unattainable")
    assert "TPOT" in message
    assert Reason.UNATTAINABLE in {s.reason for d in stack.remembered.decisions for s in d.steps}


def test_a_dry_run_decides_everything_and_writes_nothing() -> None:
    stack = stack_of([(60, 4.0), (120, 14.0)])
    stack.writer = DryRunReplicaWriter()
    stack.restart_daemon()
    stack.run(180)
    assert stack.counts() == []
    assert len(stack.sim.replicas()) == 2
    assert Action.UP in {d.action for d in stack.remembered.decisions}


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("rps", [4.0, 9.0])
def test_constant_traffic_for_half_an_hour_makes_few_reversals(seed: int, rps: float) -> None:
    stack = stack_of([(1800, rps)], seed=seed, start=3, stabilization={"down": 300.0})
    stack.run(1800)
    assert reversals(stack, 3) <= 4
    assert stack.attainment(60, 1780) >= 0.97
