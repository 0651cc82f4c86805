"""Weights set by hand in virtual time: capacity first in every direction, through deaths, crashes, surges, fights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

import pytest

from engine.load.arrivals import Arrival, RateSegment, poisson_times_s, with_lengths
from engine.load.token_lengths import sample_pairs, shipped_pairs
from engine.sim.card import card_for
from tests.builders import a_profile, a_split_fleet, a_variant
from tests.scenario.controller.split import SplitStack

CALM_S = 60.0
COLD_START_S = 30.0


def a_stack(
    rps: Sequence[tuple[float, float]] = ((600, 9.0),),
    start: Mapping[str, int] | None = None,
    split: Mapping[str, int] | None = None,
    seed: int = 1,
    **more: Any,
) -> SplitStack:
    """v1 with all of the traffic and v2 with none, unless they are given; Azure-like requests."""
    split = split or {"v1": 100, "v2": 0}
    variants = [a_variant("v1", 1, 12), a_variant("v2", 0, 12, subset="v2")]
    fleet = a_split_fleet(*variants, weights=split, **more)
    spans = [RateSegment(s, rate, lambda _s, rate=rate: rate) for s, rate in rps]
    lengths = sample_pairs(shipped_pairs("azure-conv"), Random(f"{seed}/lengths"))
    arrivals: list[Arrival] = list(with_lengths(poisson_times_s(spans, Random(f"{seed}/times")), lengths))
    profile = a_profile()
    begin = start or {"v1": 4, "v2": 0}
    return SplitStack(fleet, card_for(profile), profile, arrivals, begin, split, COLD_START_S)


@pytest.fixture(scope="module")
def shifted() -> SplitStack:
    """After a calm minute 30 % are wanted on the new version."""
    stack = a_stack()
    stack.run(CALM_S)
    stack.wish(v1=70, v2=30)
    stack.run(300)
    return stack


def test_the_weights_wait_for_the_cold_start_and_then_move_once(shifted: SplitStack) -> None:
    ((at, weights),) = shifted.moved()

    assert weights == {"v1": 70, "v2": 30}
    assert CALM_S + COLD_START_S < at <= CALM_S + COLD_START_S + 15


def test_not_one_request_meets_a_version_that_is_not_ready_and_the_objectives_hold(shifted: SplitStack) -> None:
    assert shifted.errors() == []
    assert all(ready["v2"] for _, weights, ready in shifted.seen if weights["v2"])
    assert shifted.attainment(20, shifted.clock.t - 20) >= 0.95


def test_the_old_version_gives_its_replicas_back_only_after_its_traffic_has_gone(shifted: SplitStack) -> None:
    ((moved_at, _),) = shifted.moved()
    before = [w.replicas for at, w in shifted.cluster.parts["v1"].writes if at <= moved_at]

    assert min([4, *before]) == 3
    assert shifted.cluster.parts["v1"].desired == 2


def test_a_crash_while_the_weights_wait_loses_nothing() -> None:
    stack = a_stack()
    stack.run(CALM_S)
    stack.wish(v1=70, v2=30)
    for _ in range(8):
        stack.run(7.5)
        stack.restart_daemon()

    assert [weights for _, weights in stack.moved()] == [{"v1": 70, "v2": 30}]
    assert stack.errors() == []


def test_the_way_back_waits_until_the_old_version_can_carry_it_again() -> None:
    stack = a_stack(start={"v1": 1, "v2": 4}, split={"v1": 10, "v2": 90})
    stack.run(CALM_S)
    stack.wish(v1=100, v2=0)
    stack.run(250)

    ((at, weights),) = stack.moved()
    assert weights == {"v1": 100, "v2": 0}
    assert at > CALM_S + COLD_START_S
    assert next(ready["v1"] for t, _, ready in stack.seen if t >= at) == 4
    assert all(ready["v1"] >= 3 for t, w, ready in stack.seen if w["v1"] == 100 and t > at)
    assert (stack.cluster.parts["v2"].desired, stack.errors()) == (0, [])
    assert stack.attainment(20, stack.clock.t - 20) >= 0.95


def test_all_traffic_can_be_moved_to_the_new_version_and_the_old_one_keeps_its_minimum() -> None:
    stack = a_stack()
    stack.run(CALM_S)
    stack.wish(v1=0, v2=100)
    stack.run(300)

    assert [weights for _, weights in stack.moved()] == [{"v1": 0, "v2": 100}]
    assert stack.cluster.parts["v1"].desired == 1
    assert stack.errors() == []


def test_a_new_version_that_dies_loses_its_traffic_within_an_interval_and_gets_it_back_when_it_is_ready() -> None:
    stack = a_stack(start={"v1": 4, "v2": 2}, split={"v1": 70, "v2": 30})
    stack.run(CALM_S)
    for replica in stack.sims["v2"].replicas():
        stack.cluster.parts["v2"].kill(replica.name)
    stack.run(120)

    (away, first), (back, second) = stack.moved()
    assert (first, second) == ({"v1": 100, "v2": 0}, {"v1": 70, "v2": 30})
    assert away <= CALM_S + stack.settings.tick_interval_s
    assert back >= CALM_S + COLD_START_S
    assert {e.error for e in stack.errors()} <= {"lost", "refused"}
    assert all(e.arrived_at <= away for e in stack.errors())


def test_a_surge_while_the_weights_wait_makes_them_wait_for_more() -> None:
    stack = a_stack(rps=((CALM_S + 10, 6.0), (400, 14.0)), start={"v1": 3, "v2": 0})
    stack.run(CALM_S)
    stack.wish(v1=50, v2=50)
    stack.run(200)

    ((at, _),) = stack.moved()
    assert next(ready["v2"] for t, _, ready in stack.seen if t >= at) >= 3
    assert stack.errors() == []


def test_in_silence_the_weights_stay() -> None:
    stack = a_stack(start={"v1": 4, "v2": 3})
    stack.run(CALM_S)
    stack.signals.silent = True
    stack.wish(v1=70, v2=30)
    stack.run(60)
    silent = stack.moved()
    stack.signals.silent = False
    stack.run(60)

    assert silent == []
    assert len(stack.moved()) == 1


def test_ten_conflicts_in_a_row_are_only_tried_again() -> None:
    stack = a_stack(start={"v1": 4, "v2": 3})
    stack.cluster.conflicts = 10
    stack.run(20)
    stack.wish(v1=70, v2=30)
    stack.run(90)

    assert [weights for _, weights in stack.moved()] == [{"v1": 70, "v2": 30}]
    assert "Contested" not in stack.reasons()


def test_a_foreign_hand_is_mended_three_times_and_then_left_alone() -> None:
    stack = a_stack(rps=((1200, 4.0),), start={"v1": 3, "v2": 2}, split={"v1": 70, "v2": 30})
    stack.run(CALM_S)
    for _ in range(6):
        stack.cluster.meddle("argocd-controller", v1=90, v2=10)
        stack.run(45)

    assert len(stack.moved()) == 3
    assert "Contested" in stack.reasons(since=CALM_S + 3 * 45)
    stack.run(600)
    assert [weights for _, weights in stack.moved()[3:]] == [{"v1": 70, "v2": 30}]
