"""Zero and back, whatever the policy: the last replica leaves by the idle rule, the first comes back when refused."""

from __future__ import annotations

import pytest

from controller.model.decision import Reason
from controller.model.snapshot import ABSENT
from tests.builders import T0, a_fleet, a_memory, a_snapshot, a_state, a_target, a_variant, fresh, planned

POLICIES = pytest.mark.parametrize("policy", ["slo", "thresholds"])
ASLEEP = a_state(target=a_target(0), arrival_rps=0.0)
QUIET = a_state(ready=1, arrival_rps=0.0, gpu_busy_ratio=fresh(0.0))


@POLICIES
def test_the_last_replica_stays_until_the_idle_time_is_over(policy: str) -> None:
    fleet = a_fleet(low=0, policy=policy)
    awake = planned(a_snapshot(QUIET), a_memory(0.0, last_demand_at=T0 - 595), fleet).decision
    assert awake.after == (("v1", 1),)
    slept = planned(a_snapshot(QUIET), a_memory(0.0, last_demand_at=T0 - 600), fleet).decision
    assert (slept.after, slept.reason) == ((("v1", 0),), Reason.IDLE)


def test_the_rule_of_thresholds_says_why_the_last_replica_stays() -> None:
    made = planned(a_snapshot(QUIET), a_memory(0.0), a_fleet(low=0, policy="thresholds")).decision
    assert made.reason is Reason.STEADY
    assert "the last replica leaves after 600 s without demand" in made.sentence


def test_the_rule_of_thresholds_keeps_one_replica_of_all_flavours_together() -> None:
    fleet = a_fleet(a_variant("v1", 0), a_variant("v2", 0), policy="thresholds", stabilization={"down": "0s"})
    states = (QUIET, a_state("v2", ready=1, arrival_rps=0.0, gpu_busy_ratio=fresh(0.0)))
    made = planned(a_snapshot(*states), a_memory(0.0, names=("v1", "v2")), fleet).decision
    assert made.after == (("v1", 0), ("v2", 1))


@POLICIES
def test_the_first_refused_request_wakes_whatever_window_or_cool_down_runs(policy: str) -> None:
    fleet = a_fleet(low=0, policy=policy, stabilization={"down": "60s", "up": "60s"})
    memory = a_memory(0.0, wanted=[{"v1": 0}] * 12, last_down_at=T0 - 10)
    made = planned(a_snapshot(ASLEEP, refused_rps=fresh(0.1)), memory, fleet).decision
    assert (made.after, made.reason) == ((("v1", 1),), Reason.WAKE)
    assert "refused at the proxy (0.1/s)" in made.sentence


@POLICIES
def test_asleep_it_stays_asleep_while_nothing_is_refused(policy: str) -> None:
    made = planned(a_snapshot(ASLEEP), a_memory(0.0), a_fleet(low=0, policy=policy)).decision
    assert (made.after, made.reason) == ((("v1", 0),), Reason.IDLE)


@POLICIES
def test_asleep_without_knowing_what_the_proxy_refuses_is_blindness_and_said(policy: str) -> None:
    made = planned(a_snapshot(ASLEEP, refused_rps=ABSENT), a_memory(0.0), a_fleet(low=0, policy=policy)).decision
    assert (made.after, made.reason) == ((("v1", 0),), Reason.BLIND)
    assert "whether requests are refused at the proxy is not known" in made.sentence


def test_a_fleet_switched_off_by_a_schedule_does_not_wake_and_says_what_keeps_it() -> None:
    off = {"name": "night", "from": "00:00", "to": "24:00", "max": 0}
    seen = a_snapshot(ASLEEP, refused_rps=fresh(1.0), active_schedules=("night",))
    made = planned(seen, a_memory(0.0), a_fleet(low=0, policy="thresholds", schedules=[off])).decision
    assert (made.after, made.reason) == ((("v1", 0),), Reason.BOUND_MAX)
    assert "refused at the proxy (1.0/s)" in made.sentence
