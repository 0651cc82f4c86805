"""An override is the operator's word for the variants that it names; the policy goes on deciding for the others."""

from __future__ import annotations

from typing import Any

import pytest

from controller.model.decision import Decision, Reason
from tests.builders import T0, a_fleet, a_memory, a_snapshot, a_state, a_target, a_variant, fresh, planned, stale

NAMES = ("v1", "v2")


def by_hand(**replicas: int) -> dict[str, Any]:
    return {"replicas": replicas, "until": "2033-01-01T00:00:00Z", "reason": "a launch"}


def decided(arrival_rps: float, v1: int, v2: int, override: dict[str, Any], **more: Any) -> Decision:
    """Two flavours of one version, v2 the dearer one, that share the traffic evenly."""
    fleet = a_fleet(a_variant("v1", 0), a_variant("v2", 0, cost=4.0), override=override, **more)
    share = arrival_rps / (v1 + v2)
    states = [
        a_state(name, target=a_target(n), arrival_rps=share * n, itl_mean_s=fresh(0.0))
        for name, n in zip(NAMES, (v1, v2), strict=True)
    ]
    return planned(a_snapshot(*states), a_memory(arrival_rps, names=NAMES), fleet).decision


def test_a_variant_that_is_not_named_grows_by_what_the_named_ones_do_not_carry() -> None:
    alone = decided(14.0, 2, 0, by_hand(v1=2, v2=0)).after
    assert alone == (("v1", 2), ("v2", 0))
    beside = decided(14.0, 2, 0, by_hand(v1=2))
    assert dict(beside.after)["v1"] == 2
    assert dict(beside.after)["v2"] >= 3
    assert dict(decided(14.0, 2, 0, by_hand(v1=4)).after)["v2"] == dict(beside.after)["v2"] - 2


def test_a_variant_that_is_not_named_shrinks_where_the_named_ones_carry_all() -> None:
    made = decided(4.0, 4, 4, by_hand(v1=4), stabilization={"down": "0s"})
    assert dict(made.after)["v1"] == 4
    assert dict(made.after)["v2"] < 4


@pytest.mark.parametrize(
    ("more", "memory"),
    [
        ({"steps": {"down": 1}}, {}),
        ({"stabilization": {"down": "60s"}}, {"wanted": [{"v1": 4, "v2": 3}]}),
    ],
    ids=["step limit", "look-back window"],
)
def test_the_guards_hold_what_is_not_named_and_stand_aside_for_what_is(
    more: dict[str, Any], memory: dict[str, Any]
) -> None:
    scaling = {"stabilization": {"down": "0s"}, **more}
    fleet = a_fleet(a_variant("v1", 0), a_variant("v2", 0, cost=4.0), override=by_hand(v1=1), **scaling)
    states = [a_state(n, target=a_target(4), arrival_rps=0.5, itl_mean_s=fresh(0.0)) for n in NAMES]
    made = planned(a_snapshot(*states), a_memory(1.0, names=NAMES, **memory), fleet).decision
    assert made.after == (("v1", 1), ("v2", 3))


def test_the_rule_of_thresholds_moves_what_is_not_named() -> None:
    fleet = a_fleet(a_variant("v1"), a_variant("v2"), policy="thresholds", override=by_hand(v1=2))
    states = [a_state(n, gpu_busy_ratio=fresh(0.95)) for n in NAMES]
    made = planned(a_snapshot(*states), a_memory(8.0, names=NAMES), fleet).decision
    assert made.after == (("v1", 2), ("v2", 3))


def test_every_decision_meanwhile_repeats_who_set_what_and_why() -> None:
    for made in (
        decided(14.0, 2, 0, by_hand(v1=2)),
        decided(4.0, 3, 0, by_hand(v1=3)),
        decided(4.0, 3, 1, by_hand(v1=5)),
    ):
        assert "set by hand to v1 " in made.sentence
        assert "until 2033-01-01T00:00:00+00:00: a launch" in made.sentence


def test_what_stands_above_a_schedules_maximum_is_cut_and_said() -> None:
    night = {"name": "night", "from": "00:00", "to": "24:00", "max": 4, "variant": "v1"}
    fleet = a_fleet(a_variant("v1", 0), a_variant("v2", 0), override=by_hand(v1=8), schedules=[night])
    states = [a_state("v1", ready=2), a_state("v2", ready=1)]
    seen = a_snapshot(*states, active_schedules=("night",))
    made = planned(seen, a_memory(6.0, names=NAMES), fleet).decision
    assert dict(made.after)["v1"] == 4
    assert "the bounds leave v1 4 (schedule night)" in made.sentence


def test_nothing_that_is_named_leaves_without_complete_evidence() -> None:
    fleet = a_fleet(override=by_hand(v1=1))
    made = planned(a_snapshot(a_state(ready=4, running=stale(8.0))), a_memory(), fleet).decision
    assert (made.after, made.reason) == ((("v1", 4),), Reason.NOT_FRESH)


def test_an_override_that_has_ended_decides_nothing() -> None:
    ended = {**by_hand(v1=7), "until": "2027-01-15T07:59:59Z"}
    assert T0 == 1_800_000_000.0
    assert decided(4.0, 3, 0, ended).steps[0].stage != "override"
