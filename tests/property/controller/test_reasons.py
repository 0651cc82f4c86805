"""Every reason is produced by some situation, and every situation's reason is the one stated here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from controller.model.decision import Reason
from controller.model.snapshot import VariantState
from tests.builders import (
    T0,
    a_fleet,
    a_memory,
    a_replica,
    a_snapshot,
    a_split_fleet,
    a_state,
    a_target,
    a_variant,
    fresh,
    seen_starting,
)
from tests.property.controller.situations import SITUATIONS, world
from tests.property.controller.worlds import World, blind
from tests.traffic_play import Play

OLD = a_replica("old", a_target(0, starting=1).replicas[0].phase, 7200.0)
STUCK = replace(a_target(2), desired=3, replicas=(*a_target(2).replicas, OLD))
SLOW: dict[str, Any] = {"ttft_within_ratio": fresh(0.5)}
ASLEEP = a_state(target=a_target(0), arrival_rps=0.0)
BY_HAND = {"replicas": {"v1": 6}, "until": "2033-01-01T00:00:00Z", "reason": "a launch"}


def split(*ready: int, weights: list[int], **more: Any) -> World:
    """Weights set by hand to 70 and 30, as they are now; replicas as wanted, so that nothing else is decided."""
    variants = [a_variant("v1", 4), a_variant("v2", 2, 2, subset="v2")]
    play = Play(a_split_fleet(*variants, weights={"v1": 70, "v2": 30}), list(ready), weights, **more)
    assert play.memory is not None
    return World(play.snapshot(), play.memory, play.fleet)


def after(world: World, *moved: list[int]) -> World:
    """The same after cycles in which somebody else has moved the weights so, each time as soon as they were right."""
    play = Play(world.fleet, [4, 2], [70, 30], memory=world.memory)
    for weights in moved:
        play.cycles(2)
        play.weights = [70, 30]
        play.cycle()
        play.moved_by_another(weights)
    assert play.memory is not None
    return World(play.snapshot(), play.memory, play.fleet)


BY_REASON: Mapping[Reason, World] = {
    Reason.DEMAND: world(a_snapshot(a_state(arrival_rps=14.0)), a_memory(14.0)),
    Reason.PRESSURE: world(a_snapshot(a_state(ready=3, **SLOW))),
    Reason.THRESHOLD_UP: world(a_snapshot(a_state(gpu_busy_ratio=fresh(0.95))), fleet=a_fleet(policy="thresholds")),
    Reason.THRESHOLD_DOWN: world(
        a_snapshot(a_state(ready=3, arrival_rps=0.5, gpu_busy_ratio=fresh(0.1))),
        a_memory(0.5),
        a_fleet(policy="thresholds"),
    ),
    Reason.WAKE: world(a_snapshot(ASLEEP, refused_rps=fresh(1.0)), a_memory(0.0), a_fleet(low=0)),
    Reason.IDLE: world(
        a_snapshot(a_state(ready=1, arrival_rps=0.0)), a_memory(0.0, last_demand_at=T0 - 700), a_fleet(low=0)
    ),
    Reason.STEADY: world(),
    Reason.RETRY: world(a_snapshot(a_state(target=STUCK, arrival_rps=6.5)), seen_starting(a_memory(6.5), OLD)),
    Reason.BLIND: World(blind(a_snapshot()), a_memory(), a_fleet()),
    Reason.NOT_FRESH: SITUATIONS["too many replicas, but a reading is old"],
    Reason.IN_FLIGHT: world(a_snapshot(a_state(target=a_target(2, starting=1), arrival_rps=4.0, **SLOW))),
    Reason.STABILISED: SITUATIONS["a lull, half a minute after six were wanted"],
    Reason.COOL_DOWN: SITUATIONS["thresholds ask for more during the cool-down"],
    Reason.STEP_LIMIT: SITUATIONS["far too many replicas"],
    Reason.HEADROOM: SITUATIONS["thresholds give back what the demand needs"],
    Reason.BOUND_MIN: SITUATIONS["paused below the minimum"],
    Reason.BOUND_MAX: SITUATIONS["more replicas than the maximum, under the rule of thresholds"],
    Reason.BUDGET: SITUATIONS["a queue that only a replica beyond the budget would shorten"],
    Reason.FOREIGN_WRITER: SITUATIONS["more demand, but another autoscaler drives the target"],
    Reason.PAUSED: SITUATIONS["more demand, but paused"],
    Reason.OVERRIDE: world(fleet=a_fleet(override=BY_HAND)),
    Reason.UNATTAINABLE: world(
        a_snapshot(a_state(arrival_rps=20.0)),
        a_memory(20.0),
        a_fleet(objectives={"tpot": {"threshold": "10ms", "target": 0.95}}),
    ),
    Reason.WEIGHTS: split(4, 2, weights=[100, 0]),
    Reason.WAITING_FOR_CAPACITY: split(7, 2, weights=[100, 0], arrival_rps=18.0),
    Reason.DRIFT: after(split(4, 2, weights=[70, 30]), [90, 10]),
    Reason.CONTESTED: after(split(4, 2, weights=[70, 30]), *[[90, 10]] * 4),
    Reason.NO_READY_REPLICA: split(4, 0, starting=[0, 2], weights=[70, 30]),
    Reason.BLOCKED: split(4, 2, weights=[100, 0], problem="30 % is no whole weight"),
    Reason.UNREADABLE: world(a_snapshot(VariantState("v1", None, a_state().signals))),
}


def test_every_reason_is_produced_by_a_situation() -> None:
    assert set(BY_REASON) == set(Reason)


@pytest.mark.parametrize("reason", BY_REASON, ids=str)
def test_the_situation_gives_this_reason_and_a_sentence(reason: Reason) -> None:
    decision = BY_REASON[reason].plan().decision
    assert decision.reason is reason
    assert len(decision.sentence) > 20
