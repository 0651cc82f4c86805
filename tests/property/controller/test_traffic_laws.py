"""The laws of weights set by hand over random fleets, splits, deaths, foreign hands and silence, cycle after cycle."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from controller.decide import traffic
from controller.estimate import split
from controller.model.codec import from_json, to_json
from controller.model.fleet import Fleet
from controller.model.memory import FleetMemory
from controller.model.snapshot import ABSENT, Snapshot
from controller.plan import plan
from tests.builders import a_split_fleet, a_variant, planned, priors, stale
from tests.property.controller.test_explanations import MORE, after_text, counts_text, with_arrivals
from tests.property.controller.traffic_laws import broken_traffic
from tests.property.controller.worlds import World, blind
from tests.traffic_play import Play, in_sync

MANY = settings(max_examples=60, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
FEW = settings(max_examples=25, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
CYCLES = 12


@st.composite
def splits(draw: st.DrawFn, count: int) -> list[int]:
    """So many whole percentages that sum to 100, none of them special more often than zero and all."""
    edges = sorted(
        draw(st.lists(st.sampled_from([0, 0, 5, 30, 50, 70, 100, 100]), min_size=count - 1, max_size=count - 1))
    )
    return [b - a for a, b in zip([0, *edges], [*edges, 100], strict=True)]


@st.composite
def fleets(draw: st.DrawFn, *, generous: bool = False) -> Fleet:
    """Two or three versions, sometimes of two flavours. `generous`: nothing stands in the way of growth."""
    count = draw(st.integers(2, 3))
    variants = [
        a_variant(f"v{i}", draw(st.integers(0, 2)), 40 if generous else draw(st.integers(3, 12)), subset=f"v{i}")
        for i in range(1, count + 1)
    ]
    if draw(st.booleans()):
        variants.append(a_variant("v2-spot", 0, 6, 0.5, subset="v2"))
    more: dict[str, Any] = {"stabilization": {"down": draw(st.sampled_from([0.0, 60.0]))}}
    if not generous:
        more["policy"] = draw(st.sampled_from(["slo", "slo", "slo", "thresholds"]))
        more["paused"] = draw(st.sampled_from([False, False, False, False, True]))
        if draw(st.integers(0, 3)) == 0:
            floor = sum(v["costPerHour"] * v["replicas"]["min"] for v in variants)
            more["maxCostPerHour"] = max(floor, 1.0) + draw(st.floats(0, 15))
    weights = dict(zip([f"v{i}" for i in range(1, count + 1)], draw(splits(count)), strict=True))
    return a_split_fleet(*variants, weights=weights, **more)


@st.composite
def plays(draw: st.DrawFn, *, generous: bool = False) -> Play:
    fleet = draw(fleets(generous=generous))
    ready = [draw(st.integers(0, 5)) for _ in fleet.spec.variants]
    if generous:
        ready[0] = max(1, ready[0])
    rate = draw(st.sampled_from([0.0, 0.5, 4.0, 9.0, 25.0]))
    return Play(fleet, ready, draw(splits(len(fleet.subsets))), arrival_rps=rate)


def _die(play: Play, draw: Callable[..., Any]) -> None:
    i = draw(st.integers(0, len(play.ready) - 1))
    lost = draw(st.integers(0, play.ready[i]))
    play.ready[i] -= lost
    play.starting[i] += lost


def _start(play: Play, draw: Callable[..., Any]) -> None:
    play.become_ready()


def _surge(play: Play, draw: Callable[..., Any]) -> None:
    play.arrival_rps = draw(st.sampled_from([0.5, 4.0, 12.0, 30.0]))


def _meddle(play: Play, draw: Callable[..., Any]) -> None:
    play.moved_by_another(draw(splits(len(play.fleet.subsets))))


def _fail(play: Play, draw: Callable[..., Any]) -> None:
    play.writes_fail = not play.writes_fail


def _change_one_s_mind(play: Play, draw: Callable[..., Any]) -> None:
    weights = dict(zip(play.fleet.subsets, draw(splits(len(play.fleet.subsets))), strict=True))
    spec = play.fleet.spec
    wish = spec.traffic.model_copy(update={"weights": weights}) if spec.traffic is not None else None
    play.fleet = play.fleet.model_copy(update={"spec": spec.model_copy(update={"traffic": wish})})


EVENTS = [_die, _start, _start, _surge, _meddle, _fail, _change_one_s_mind, None, None, None]


def spoilt(snapshot: Snapshot, how: str) -> Snapshot:
    if how == "blind":
        return blind(snapshot)
    if how == "stale":
        return replace(snapshot, inflight=stale(20.0))
    if how == "unsplit":
        return replace(snapshot, variants=tuple(replace(v, weight_pct=None) for v in snapshot.variants))
    if how == "unreadable":
        lost = replace(snapshot.variants[0], target=None)
        return replace(snapshot, variants=(lost, *snapshot.variants[1:]), refused_rps=ABSENT)
    return snapshot


def look(play: Play, how: str) -> list[str]:
    """One cycle of the play on a spoilt look at it; the laws that it breaks."""
    seen = spoilt(play.snapshot(), how)
    made = planned(seen, play.memory, play.fleet)
    memory = play.memory
    assert memory is not None
    play.memory, play.at = made.memory, play.at + 5
    if not play.writes_fail:
        play._apply(made)
    return broken_traffic(World(seen, memory, play.fleet), made)


@MANY
@given(plays(), st.data())
def test_every_law_of_traffic_holds_whatever_happens(play: Play, data: st.DataObject) -> None:
    for _ in range(CYCLES):
        event = data.draw(st.sampled_from(EVENTS))
        if event is not None:
            event(play, data.draw)
        how = data.draw(st.sampled_from(["", "", "", "", "blind", "stale", "unsplit", "unreadable"]))
        assert look(play, how) == []


@FEW
@given(plays(generous=True))
def test_left_in_peace_traffic_comes_to_what_is_wanted_and_stays(play: Play) -> None:
    play.arrival_rps = max(play.arrival_rps, 0.5)
    for _ in range(40):
        made = play.cycle()
        play.become_ready()
    assert in_sync(made).status == "True", in_sync(made).message
    moved = [p.decision.at for p in play.plans if p.weights is not None]
    assert len(moved) <= 3


@FEW
@given(plays(), st.integers(1, 6))
def test_what_is_decided_about_traffic_replays_bit_for_bit(play: Play, cycles: int) -> None:
    for _ in range(cycles):
        seen, memory = play.snapshot(), play.memory
        assert memory is not None
        made = play.cycle()
        read = from_json(FleetMemory, to_json(memory)), from_json(Fleet, to_json(play.fleet))
        again = plan(from_json(Snapshot, to_json(seen)), *read, seen.at, priors(play.fleet))
        assert to_json(again) == to_json(made)
        assert made.memory == from_json(FleetMemory, to_json(made.memory))


@settings(FEW, max_examples=6)
@given(st.integers(1, 40), st.booleans())
def test_nobody_is_fought_more_than_three_times_in_ten_minutes(every: int, stubborn: bool) -> None:  # noqa: FBT001
    """Whether he changes the weights again and again, or (`stubborn`) the moment that we have written them."""
    play = Play(a_split_fleet(weights={"v1": 70, "v2": 30}), [5, 4], [70, 30])
    for cycle in range(300):
        made = play.cycle()
        if (stubborn and made.weights is not None) or (not stubborn and cycle % every == every - 1):
            play.moved_by_another([90, 10] if cycle % 2 else [80, 20])
    written = [p.decision.at for p in play.plans if p.weights is not None]
    assert all(sum(at <= other < at + 600 for other in written) <= 3 for at in written)


@FEW
@given(plays(generous=True))
def test_what_is_said_to_be_needed_is_what_it_takes(play: Play) -> None:
    """Where replicas are told to be missing, the weights move with them, and do not with one fewer."""
    play.arrival_rps = max(play.arrival_rps, 4.0)
    seen = play.snapshot()
    made = planned(seen, play.memory, play.fleet)
    told = [text for text in made.decision.counterfactuals if text.endswith(" are ready")]
    if in_sync(made).reason != "WaitingForCapacity" or not told:
        return
    parts = told[0].rsplit(" once ", 1)[1].removesuffix(" are ready").split(" and ")
    needed = {name: int(count) for count, name in (part.split(" of ") for part in parts)}
    for short in (0, 1):
        targets = {v.name: v.target for v in seen.variants}
        ready = list(play.ready)
        for i, variant in enumerate(play.fleet.spec.variants):
            if variant.name in needed:
                ready[i] = needed[variant.name] - short
        there = Play(play.fleet, ready, play.weights, arrival_rps=play.arrival_rps).snapshot()
        states = tuple(replace(v, target=t.target) for v, t in zip(seen.variants, there.variants, strict=True))
        assert set(targets) == {s.name for s in states}
        again = planned(_reported(replace(seen, variants=states)), play.memory, play.fleet)
        moved = again.weights is not None and not again.weights.urgent
        assert moved == (short == 0), (told, in_sync(again).message)


@MANY
@given(plays())
def test_more_arrivals_than_stated_give_the_stated_replicas_of_every_version(play: Play) -> None:
    assert play.memory is not None
    world = World(play.snapshot(), play.memory, play.fleet)
    made = world.plan()
    for match in (m for text in made.decision.counterfactuals if (m := MORE.match(text)) and m["arrival"]):
        if sum(r for _, r in made.decision.before):
            assert match["before"] == counts_text(made.decision.after)
            assert after_text(with_arrivals(world, made, float(match["arrival"]) + 0.01)) == match["after"]


def _reported(snapshot: Snapshot) -> Snapshot:
    """As many engines report as are ready."""
    states = []
    for state in snapshot.variants:
        ready = state.target.ready if state.target is not None else 0
        engines = replace(state.signals.engines, value=float(ready))
        states.append(replace(state, signals=replace(state.signals, engines=engines)))
    return replace(snapshot, variants=tuple(states))


@pytest.mark.parametrize(
    ("module", "name", "instead", "law"),
    [
        pytest.param(traffic, "_lacks", lambda *_: [], "capacity_before_traffic", id="nobody asks for capacity"),
        pytest.param(
            traffic, "_rescued", lambda *_: None, "nobody_is_sent_where_nobody_answers", id="the dead keep traffic"
        ),
        pytest.param(
            split,
            "shares",
            lambda fleet, *_: {s: p / 100 for s, p in fleet.wanted_weights or ()},
            "traffic_before_reductions",
            id="replicas follow the wish alone",
        ),
        pytest.param(
            traffic,
            "_staying",
            lambda q, name, _f: q.snapshot.variant(name).target.ready,
            "capacity",
            id="leavers count",
        ),
    ],
)
def test_without_this_restraint_a_law_breaks(
    monkeypatch: pytest.MonkeyPatch, module: Any, name: str, instead: Any, law: str
) -> None:
    monkeypatch.setattr(module, name, instead)
    if name == "shares":
        monkeypatch.setattr("controller.plan.shares", instead)

    assert any(text.startswith(law) for text in _in_every_situation())


def _in_every_situation() -> list[str]:
    by_hand = {"replicas": {"v2": 1}, "until": "2033-01-01T00:00:00Z", "reason": "a trial"}
    now = {"stabilization": {"down": 0.0}}
    plays = [
        Play(a_split_fleet(weights={"v1": 70, "v2": 30}), [4, 1], [100, 0]),
        Play(a_split_fleet(weights={"v1": 70, "v2": 30}), [4, 0], [70, 30]),
        Play(a_split_fleet(weights={"v1": 20, "v2": 80}, **now), [4, 1], [100, 0]),
        Play(a_split_fleet(weights={"v1": 70, "v2": 30}, override=by_hand), [4, 3], [100, 0]),
    ]
    return [text for play in plays for text in look(play, "")]


def test_with_every_restraint_no_law_breaks_in_these_situations() -> None:
    assert _in_every_situation() == []
