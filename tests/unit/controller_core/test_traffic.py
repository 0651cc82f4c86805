"""Weights set by hand: capacity before traffic, what is said meanwhile, and what happens when others move them."""

from __future__ import annotations

from dataclasses import replace

from controller.model.codec import from_json, to_json
from controller.model.decision import Action, Decision, Reason
from controller.model.memory import FleetMemory
from controller.model.plan import Plan
from tests.builders import a_fleet, a_split_fleet, a_variant, fresh, planned, stale
from tests.property.controller.worlds import blind
from tests.traffic_play import Play, in_sync

WANTED = {"v1": 70, "v2": 30}


def playing(*ready: int, weights: list[int] | None = None, **more: object) -> Play:
    fleet = more.pop("fleet", None) or a_split_fleet(weights=WANTED)
    return Play(fleet, list(ready), weights or [100, 0], **more)  # type: ignore[arg-type]


def move(plan: Plan) -> dict[str, int] | None:
    return None if plan.weights is None else dict(plan.weights.weights)


def test_replicas_for_the_wanted_split_are_ordered_first_and_the_weights_wait() -> None:
    made = playing(4, 0).cycle()

    assert [(w.variant, w.replicas) for w in made.writes] == [("v2", 2)]
    assert made.weights is None
    condition = in_sync(made)
    assert (condition.status, condition.reason) == ("False", "WaitingForCapacity")
    assert condition.message.startswith("v2 needs 2 ready replicas for 30 % of 9.7 requests/s, has 0")
    assert "v1 100 → 70 %, v2 0 → 30 % once 2 of v2 are ready" in made.decision.counterfactuals
    assert condition.message in made.decision.sentence


def test_starting_replicas_are_no_capacity_and_ready_ones_are() -> None:
    play = playing(4, 0)
    play.cycle()
    waiting = play.cycle()
    play.become_ready()
    moved = play.cycle()
    after = play.cycle()

    assert waiting.weights is None
    assert move(moved) == WANTED
    assert (moved.decision.action, moved.decision.reason) == (Action.TRAFFIC, Reason.WEIGHTS)
    assert moved.memory.traffic is not None
    assert moved.memory.traffic.intent == moved.weights
    assert (in_sync(after).status, in_sync(after).reason) == ("True", "InSync")


def test_weights_move_in_one_step_against_the_version_that_was_read() -> None:
    made = playing(4, 2, version=12).cycle()

    assert made.weights is not None
    assert (made.weights.resource_version, made.weights.before) == ("12", (("v1", 100), ("v2", 0)))


def test_on_the_way_down_weight_goes_first_and_replicas_only_when_it_is_gone() -> None:
    fleet = a_split_fleet(weights={"v1": 100, "v2": 0}, stabilization={"down": "0s"})
    play = playing(4, 2, weights=[70, 30], fleet=fleet)

    first = play.cycle()
    second = play.cycle()

    assert (move(first), first.writes) == ({"v1": 100, "v2": 0}, ())
    assert second.weights is None
    assert all(w.variant == "v2" and w.replicas < w.current for w in second.writes)
    assert second.writes


def test_a_version_without_traffic_keeps_a_replica_while_requests_run_on_it() -> None:
    fleet = a_split_fleet(weights={"v1": 100, "v2": 0}, stabilization={"down": "0s"}, steps={"down": 9})
    play = playing(4, 3, weights=[100, 0], fleet=fleet)
    seen = play.snapshot()
    v1, v2 = seen.variants
    busy = replace(v2, signals=replace(v2.signals, running=fresh(2.0)))

    made = planned(replace(seen, variants=(v1, busy)), play.memory, fleet)

    assert [(w.variant, w.replicas) for w in made.writes] == [("v2", 1)]
    assert [w.replicas for w in play.cycle().writes] == [0]


def test_back_to_the_old_version_also_waits_until_it_can_carry_that() -> None:
    fleet = a_split_fleet(weights={"v1": 100, "v2": 0})
    play = playing(1, 3, weights=[20, 80], fleet=fleet)

    made = play.cycle()

    assert made.weights is None
    assert [(w.variant, w.replicas) for w in made.writes] == [("v1", 4)]
    assert in_sync(made).message.startswith("v1 needs 4 ready replicas for 100 % of 9.7 requests/s, has 1")
    play.become_ready()
    assert move(play.cycle()) == {"v1": 100, "v2": 0}


def test_a_version_whose_last_replica_died_loses_its_traffic_at_once_whatever_that_asks_of_the_other() -> None:
    play = playing(2, 2, weights=[70, 30])
    play.cycle()
    play.ready[1] = 0

    made = play.cycle()

    assert move(made) == {"v1": 100, "v2": 0}
    assert made.weights is not None
    assert made.weights.urgent
    assert in_sync(made).reason == "NoReadyReplica"
    waiting = play.cycle()
    assert (waiting.weights, in_sync(waiting).reason) == (None, "WaitingForCapacity")
    assert waiting.memory.traffic is not None
    assert not waiting.memory.traffic.repairs
    play.become_ready()
    assert move(play.cycle()) == WANTED


def test_with_nobody_ready_anywhere_the_weights_stay() -> None:
    made = playing(0, 0, weights=[70, 30]).cycle()

    assert made.weights is None


def test_blind_no_version_on_trial_gets_more() -> None:
    play = playing(4, 4)

    made = planned(blind(play.snapshot()), play.memory, play.fleet)

    assert made.weights is None
    assert in_sync(made).reason == "Blind"


def test_blind_traffic_may_still_go_home_to_the_stable_version() -> None:
    fleet = a_split_fleet(weights={"v1": 100, "v2": 0})
    play = playing(4, 4, weights=[70, 30], fleet=fleet)

    made = planned(blind(play.snapshot()), play.memory, fleet)

    assert move(made) == {"v1": 100, "v2": 0}


def test_blind_not_even_the_stable_version_gets_more_without_a_ready_replica() -> None:
    fleet = a_split_fleet(weights={"v1": 100, "v2": 0})
    play = playing(0, 4, weights=[70, 30], fleet=fleet)

    made = planned(blind(play.snapshot()), play.memory, fleet)

    assert made.weights is None
    assert "v1 needs 1 ready replica for 100 % of an unknown demand, has 0" in in_sync(made).message


def test_missing_capacity_is_told_before_missing_evidence() -> None:
    made = playing(4, 1).cycle(inflight=stale(20.0))

    assert in_sync(made).reason == "WaitingForCapacity"
    assert not any(text.endswith("are ready") for text in made.decision.counterfactuals)


def test_with_a_stale_reading_a_version_on_trial_gets_no_more() -> None:
    made = playing(4, 4).cycle(inflight=stale(20.0))

    assert made.weights is None
    assert in_sync(made).reason == "NotFresh"


def test_while_paused_nothing_moves_not_even_from_a_dead_version() -> None:
    paused = playing(4, 4, fleet=a_split_fleet(weights=WANTED, paused=True)).cycle()
    dead = playing(4, 0, weights=[70, 30], fleet=a_split_fleet(weights=WANTED, paused=True)).cycle()

    assert (paused.weights, dead.weights) == (None, None)
    assert in_sync(paused).reason == "Paused"


def test_unread_weights_hold_traffic_and_every_replica() -> None:
    play = playing(9, 4, problem="there is no route primary", fleet=a_split_fleet(weights=WANTED))
    play.weights = None

    made = play.cycle()

    assert (made.weights, made.decision.after) == (None, made.decision.before)
    assert in_sync(made).reason == "Unreadable"
    assert "there is no route primary" in in_sync(made).message
    assert Reason.NOT_FRESH in {s.reason for s in made.decision.steps}


def test_a_route_that_cannot_be_written_is_said_and_left() -> None:
    made = playing(4, 4, problem="30 % is no whole weight").cycle()

    assert made.weights is None
    assert (in_sync(made).reason, "30 % is no whole weight" in in_sync(made).message) == ("Blocked", True)


def test_the_first_split_that_differs_is_moved_and_is_no_repair() -> None:
    play = playing(4, 4, weights=[50, 50])
    made = play.cycle()
    play.cycle()

    assert in_sync(made).reason == "Weights"
    assert play.memory is not None
    assert play.memory.traffic is not None
    assert not play.memory.traffic.repairs


def test_weights_that_somebody_else_changed_are_put_back_and_he_is_named() -> None:
    play = playing(5, 4)
    play.cycles(2)
    play.moved_by_another([95, 5])

    made = play.cycle()

    assert (move(made), in_sync(made).reason) == (WANTED, "Drift")
    assert "were changed by argocd-controller from v1 70 %, v2 30 %" in in_sync(made).message


def test_weights_changed_again_and_again_are_left_alone_until_ten_minutes_were_quiet() -> None:
    play = playing(5, 4)
    play.cycles(2)
    for _ in range(3):
        play.moved_by_another([95, 5])
        assert in_sync(play.cycle()).reason == "Drift"
        play.cycles(3)
    play.moved_by_another([95, 5])
    first = play.cycle()
    held = play.cycles(118)

    assert in_sync(first).reason == "Contested"
    assert "changed again by argocd-controller" in in_sync(first).message
    assert all(p.weights is None for p in (first, *held))
    assert in_sync(play.cycles(3)[-1]).reason in ("InSync", "Weights", "Drift")


def test_a_new_wish_ends_the_quarrel() -> None:
    play = playing(5, 5)
    play.cycles(2)
    for _ in range(4):
        play.moved_by_another([95, 5])
        play.cycles(2)
    contested = in_sync(play.cycle()).reason
    play.fleet = a_split_fleet(weights={"v1": 60, "v2": 40})

    assert contested == "Contested"
    assert move(play.cycle()) == {"v1": 60, "v2": 40}


def test_whoever_overwrites_at_once_is_a_quarrel_too() -> None:
    play = playing(5, 4)
    for _ in range(3):
        play.cycle()
        play.moved_by_another([100, 0])

    assert in_sync(play.cycle()).reason == "Contested"


def test_writes_that_fail_are_no_quarrel_and_are_tried_again() -> None:
    play = playing(5, 4, writes_fail=True)

    assert all(move(plan) == WANTED for plan in play.cycles(10))


def test_a_contested_version_without_a_ready_replica_still_loses_its_traffic() -> None:
    play = playing(5, 4)
    play.cycles(2)
    for _ in range(4):
        play.moved_by_another([60, 40])
        play.cycles(2)
    play.ready[1] = 0

    assert in_sync(play.plans[-1]).reason == "Contested"
    assert move(play.cycle()) == {"v1": 100, "v2": 0}


def test_three_versions_each_have_capacity_for_their_own_part() -> None:
    variants = [a_variant("a", subset="a"), a_variant("b", 0, subset="b"), a_variant("c", 0, subset="c")]
    fleet = a_split_fleet(*variants, weights={"a": 40, "b": 30, "c": 30})
    play = Play(fleet, [4, 0, 0], [100, 0, 0])

    first = play.cycle()
    play.become_ready()
    second = play.cycle()

    assert {w.variant: w.replicas for w in first.writes} == {"b": 2, "c": 2}
    assert move(second) == {"a": 40, "b": 30, "c": 30}


def test_flavours_of_one_version_carry_its_traffic_together() -> None:
    variants = [a_variant("v1"), a_variant("v2", 0, subset="v2"), a_variant("v2-spot", 0, 1, 0.5, subset="v2")]
    fleet = a_split_fleet(*variants, weights=WANTED)
    play = Play(fleet, [4, 0, 1], [100, 0])

    waiting = play.cycle()
    play.become_ready()

    assert "its 1 ready replicas carry" in in_sync(waiting).message
    assert move(play.cycle()) == WANTED


def test_a_replica_that_this_very_cycle_takes_away_is_no_capacity() -> None:
    by_hand = {"replicas": {"v2": 1}, "until": "2033-01-01T00:00:00Z", "reason": "a trial"}
    made = playing(4, 3, fleet=a_split_fleet(weights=WANTED, override=by_hand)).cycle()

    assert [(w.variant, w.replicas) for w in made.writes] == [("v2", 1)]
    assert made.weights is None
    assert "has 1" in in_sync(made).message


def test_where_limits_keep_replicas_fewer_the_limit_is_named() -> None:
    variants = [a_variant("v1"), a_variant("v2", 0, 1, subset="v2")]
    made = playing(4, 0, fleet=a_split_fleet(*variants, weights=WANTED)).cycle()

    assert "(replicas are limited by max)" in in_sync(made).message


def test_thresholds_know_no_versions_so_the_split_sees_to_their_capacity() -> None:
    fleet = a_split_fleet(weights=WANTED, policy="thresholds")
    play = playing(4, 0, fleet=fleet)

    first = play.cycle()
    play.become_ready()

    assert [(w.variant, w.replicas) for w in first.writes] == [("v2", 2)]
    assert move(play.cycle()) == WANTED


def test_growth_comes_before_weights_and_weights_before_reductions() -> None:
    variants = [a_variant("v1"), a_variant("v2", 0, subset="v2"), a_variant("v3", 0, subset="v3")]
    fleet = a_split_fleet(*variants, weights=WANTED, stabilization={"down": "0s"})
    made = Play(fleet, [3, 3, 2], [100, 0, 0]).cycle()

    kinds = [(getattr(w, "variant", "weights")) for w in made.ordered]
    assert kinds == ["v1", "weights", "v2", "v3"]


def test_what_was_decided_reads_back_and_a_fleet_without_traffic_is_written_as_ever() -> None:
    play = playing(4, 2)
    made = play.cycle()

    assert from_json(Plan, to_json(made)) == made
    assert from_json(Decision, to_json(made.decision)) == made.decision
    assert from_json(FleetMemory, to_json(made.memory)) == made.memory
    plain = planned(fleet=a_fleet())
    assert b"traffic" not in to_json(plain.memory) + to_json(plain.decision)


def test_a_memory_from_before_there_was_traffic_still_loads() -> None:
    assert from_json(FleetMemory, b'{"fleet": "llm/llama-8b", "version": 1}').traffic is None


def test_one_quiet_window_is_no_reason_to_move_the_most_of_the_last_minute_counts() -> None:
    play = playing(4, 1, arrival_rps=4.0)
    assert move(play.cycle()) == WANTED

    lately_busy = playing(4, 1, arrival_rps=4.0)
    assert lately_busy.memory is not None
    first, *rest = reversed(lately_busy.memory.demand)
    busy = (*reversed(rest), replace(first, arrival_rps=20.0))
    lately_busy.memory = replace(lately_busy.memory, demand=busy)

    assert lately_busy.cycle().weights is None
    assert in_sync(lately_busy.plans[-1]).reason == "WaitingForCapacity"
