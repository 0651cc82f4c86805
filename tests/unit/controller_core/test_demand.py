"""Demand: arrivals from counters, the quantile to size for, and time that goes astray."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.estimate.continuity import resumed
from controller.estimate.demand import HISTORY_S, Demand, Past, estimate_demand, observe_demand
from controller.model.decision import Condition, ConditionStatus, ScaleWrite
from controller.model.memory import DemandPoint, FleetMemory, Recommendation
from controller.model.snapshot import ABSENT, Snapshot, VariantState
from tests.builders import T0, a_memory, a_snapshot, a_state, a_target, fresh


def demand(snapshot: Snapshot, memory: FleetMemory | None = None, horizon_s: float = 20.0) -> Demand:
    memory, point = observe_demand(a_memory() if memory is None else memory, snapshot)
    assert point is not None
    return estimate_demand(memory, snapshot, point, horizon_s)


def test_arrivals_are_completions_plus_the_growth_of_requests_in_flight() -> None:
    seen = a_snapshot(a_state(arrival_rps=4.0), inflight=fresh(50.0), inflight_before=fresh(30.0))
    assert demand(seen).arrival_rps == pytest.approx(4.0 + 20 / 10)


def test_requests_that_clients_abandon_still_had_a_first_token() -> None:
    seen = a_snapshot(a_state(finished_rps=fresh(1.0), first_token_rps=fresh(5.0)))
    assert demand(seen).arrival_rps == 5.0


def test_refused_requests_arrived_too() -> None:
    assert demand(a_snapshot(a_state(arrival_rps=4.0), refused_rps=fresh(2.0))).arrival_rps == 6.0


def test_the_newest_samples_may_show_arrivals_that_the_window_does_not_yet() -> None:
    calm = a_snapshot(a_state(arrival_rps=4.0))
    woken = replace(calm, pressure=((6.0, 20.0), (4.0, 20.0), (2.0, 50.0), (0.0, 90.0)))
    assert demand(woken).arrival_rps > demand(calm).arrival_rps + 5


def test_a_rise_counts_from_where_it_began_not_from_the_calm_before() -> None:
    calm = a_snapshot(a_state(arrival_rps=4.0))
    long = replace(calm, pressure=((8.0, 20.0), (6.0, 20.0), (4.0, 20.0), (2.0, 20.0), (0.0, 60.0)))
    short = replace(calm, pressure=((2.0, 20.0), (0.0, 60.0)))
    assert demand(long).arrival_rps == demand(short).arrival_rps > 4.0 + 15


@pytest.mark.parametrize("newest", [math.nan, math.inf, -1.0])
def test_impossible_samples_raise_nothing(newest: float) -> None:
    calm = a_snapshot(a_state(arrival_rps=4.0))
    assert demand(replace(calm, pressure=((4.0, 20.0), (0.0, newest)))) == demand(calm)


def test_without_any_reading_there_is_no_estimate() -> None:
    silent = VariantState("v1", a_target(2), a_state().signals.__class__())
    blind = a_snapshot(silent, inflight=ABSENT, inflight_before=ABSENT, refused_rps=ABSENT)
    assert observe_demand(a_memory(), blind)[1] is None


def test_steady_demand_is_sized_by_the_last_minutes_mean_and_its_counting_noise() -> None:
    found = demand(a_snapshot(a_state(arrival_rps=4.0)))
    assert found.how == "the mean of the last 65 s"
    assert 4.0 < found.sized_rps < 4.0 * 1.2
    assert not found.surge


def test_a_surge_is_sized_by_the_newest_window_alone() -> None:
    found = demand(a_snapshot(a_state(arrival_rps=12.0)), a_memory(4.0))
    assert found.surge
    assert found.sized_rps > 12.0
    assert "newest window" in found.how


def test_an_ebb_is_sized_by_the_newest_window_alone() -> None:
    found = demand(a_snapshot(a_state(arrival_rps=1.0)), a_memory(12.0))
    assert found.sized_rps < 4.0
    assert "newest window" in found.how


def rising(per_s: float, at: float = T0) -> FleetMemory:
    points = tuple(DemandPoint(at - ago, 8.0 - per_s * ago, 0.0, 0.0, 0.0) for ago in range(55, 0, -5))
    return replace(a_memory(), demand=points)


def test_a_trend_raises_the_size_to_where_it_leads_within_the_horizon() -> None:
    found = demand(a_snapshot(a_state(arrival_rps=8.0)), rising(0.1), horizon_s=60.0)
    assert found.trend_rps_per_s == pytest.approx(0.1)
    assert found.sized_rps == pytest.approx(8.0 + 0.1 * 60)
    assert found.how == "the trend 60 s ahead"


def test_a_falling_trend_lowers_nothing() -> None:
    found = demand(a_snapshot(a_state(arrival_rps=8.0)), rising(-0.05), horizon_s=60.0)
    assert found.trend_rps_per_s == 0.0
    assert found.sized_rps >= 8.0


def test_many_points_of_a_few_seconds_are_no_trend() -> None:
    points = tuple(DemandPoint(T0 - ago / 2, 8.0 - ago, 0.0, 0.0, 0.0) for ago in range(8, 0, -1))
    assert demand(a_snapshot(), replace(a_memory(), demand=points)).trend_rps_per_s == 0.0


pasts = st.builds(
    Past,
    points=st.integers(0, 24),
    mean_rps=st.floats(0, 100),
    window_s=st.sampled_from([2.0, 10.0, 75.0]),
    span_s=st.floats(75, 140),
    trend_rps_per_s=st.sampled_from([0.0, 0.05, 1.0]),
    horizon_s=st.sampled_from([20.0, 300.0]),
)


@settings(max_examples=300, derandomize=True, deadline=None)
@given(pasts, st.floats(0, 200), st.floats(0, 20))
def test_more_arrivals_are_never_sized_less(past: Past, arrival_rps: float, more_rps: float) -> None:
    assert past.sized(arrival_rps + more_rps).rps >= past.sized(arrival_rps).rps - 1e-9
    assert past.sized_rps(arrival_rps) == past.sized(arrival_rps).rps


@settings(max_examples=100, derandomize=True, deadline=None)
@given(st.floats(0.1, 100), st.sampled_from([10.0, 75.0]))
def test_steady_arrivals_are_the_inverse_of_their_size(rps: float, window_s: float) -> None:
    even = Past(24, rps, window_s, window_s + 60, 0.0, 20.0)
    assert even.steady_rps(even.sized(rps).rps) == pytest.approx(rps, rel=1e-6)


def test_a_clock_that_goes_back_forgets_the_future_and_keeps_the_rest() -> None:
    memory = replace(
        a_memory(at=T0 + 600),
        recommendations=(Recommendation(T0 - 20, (("v1", 3),)), Recommendation(T0 + 590, (("v1", 7),))),
        last_up_at=T0 + 500,
        conditions=(Condition("Ready", ConditionStatus.TRUE, "ReplicasReady", "x", T0 + 400),),
    )
    now = resumed(memory, a_snapshot(at=T0))
    assert now.demand == ()
    assert now.last_up_at == T0
    assert [r.at for r in now.recommendations] == [T0 - 20, T0]
    assert now.conditions[0].since == T0
    assert (now.started_at or 0.0) <= T0


def test_history_is_bounded_in_time_and_number() -> None:
    memory = a_memory()
    for second in range(400):
        memory, _ = observe_demand(memory, a_snapshot(at=T0 + second))
    assert len(memory.demand) <= 60
    assert all(T0 + 399 - p.at <= HISTORY_S for p in memory.demand)


def ordered(replicas: int, current: int = 2) -> FleetMemory:
    write = ScaleWrite("llm/llama-8b", "v1", current, replicas, "6")
    return a_memory(intent=(write,), intent_at=T0 - 5, last_up_at=None, last_down_at=None)


@pytest.mark.parametrize(
    ("desired", "up", "down"),
    [(4, T0 - 5, None), (2, None, None), (3, None, None)],
    ids=["applied", "never sent", "somebody else's number"],
)
def test_an_intent_becomes_history_only_if_the_cluster_shows_it(
    desired: int, up: float | None, down: float | None
) -> None:
    now = resumed(ordered(4), a_snapshot(a_state(target=a_target(desired))))
    assert (now.last_up_at, now.last_down_at, now.intent) == (up, down, ())


def test_a_reduction_that_the_cluster_shows_was_the_last_reduction() -> None:
    assert resumed(ordered(1), a_snapshot(a_state(target=a_target(1)))).last_down_at == T0 - 5


def test_an_intent_is_looked_at_again_when_its_target_could_not_be_read() -> None:
    unread = a_snapshot(VariantState("v1", None, a_state().signals))
    waiting = resumed(ordered(4), unread)
    assert waiting.intent == ordered(4).intent
    later = resumed(waiting, a_snapshot(a_state(target=a_target(4)), at=T0 + 5))
    assert later.last_up_at == T0 - 5


def test_after_a_pause_of_the_daemon_the_windows_begin_again() -> None:
    memory = a_memory(wanted=[{"v1": 2}])
    short, long = resumed(memory, a_snapshot(at=T0 + 20)), resumed(memory, a_snapshot(at=T0 + 300))
    assert short.started_at == memory.started_at
    assert (long.started_at, long.last_demand_at) == (T0 + 300, T0 + 300)
