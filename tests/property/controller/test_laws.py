"""The laws of architecture on random worlds: healthy ones, and those where nothing is as it should be."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from controller.model.codec import from_json, to_json
from controller.model.decision import Decision, Reason
from controller.model.fleet import Fleet
from controller.model.memory import FleetMemory
from controller.model.plan import Plan
from controller.model.snapshot import Snapshot
from tests.property.controller.laws import broken
from tests.property.controller.worlds import World, blind, worlds

MANY = settings(max_examples=150, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
SOME = settings(max_examples=60, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))


@MANY
@given(worlds())
def test_every_law_holds_in_every_healthy_world(world: World) -> None:
    assert broken(world, world.plan()) == []


@MANY
@given(worlds(wild=True))
def test_every_law_holds_in_every_world_however_wild(world: World) -> None:
    assert broken(world, world.plan()) == []


@SOME
@given(worlds(wild=True), st.integers(1, 5))
def test_every_law_holds_in_the_cycles_that_follow(world: World, cycles: int) -> None:
    for _ in range(cycles):
        made = world.plan()
        world = replace(world, memory=made.memory).but(at=world.snapshot.at + 5)
        assert broken(world, world.plan()) == []


@SOME
@given(worlds(wild=True))
def test_in_total_blindness_the_fleet_holds_and_says_so(world: World) -> None:
    world = replace(world, snapshot=blind(world.snapshot))
    made = world.plan()
    grown_to_min = {Reason.BOUND_MIN, Reason.OVERRIDE}
    if any(v.target is None for v in world.snapshot.variants):
        assert made.decision.reason is Reason.UNREADABLE
    elif not any(s.reason in grown_to_min for s in made.decision.steps):
        assert made.decision.after == made.decision.before
        assert any(s.reason in (Reason.BLIND, Reason.PAUSED) for s in made.decision.steps)
    found = {c.type: c for c in made.decision.conditions}
    if "MetricsAvailable" in found:
        assert found["MetricsAvailable"].status == "False"
        assert found["MetricsAvailable"].message


@SOME
@given(worlds(wild=True))
def test_what_was_written_is_what_was_decided_and_replays_bit_for_bit(world: World) -> None:
    made = world.plan()
    assert world.plan() == made
    values: list[tuple[type, object]] = [
        (Snapshot, world.snapshot),
        (FleetMemory, world.memory),
        (FleetMemory, made.memory),
        (Fleet, world.fleet),
        (Plan, made),
        (Decision, made.decision),
    ]
    read: dict[type, Any] = {kind: from_json(kind, to_json(value)) for kind, value in values}
    for kind, value in values:
        assert from_json(kind, to_json(value)) == value
    written = World(read[Snapshot], from_json(FleetMemory, to_json(world.memory)), read[Fleet])
    assert to_json(written.plan()) == to_json(made)
    assert all(value is None or math.isfinite(value) for _, value in made.decision.estimates)


@pytest.mark.parametrize("cycles", [200])
@settings(max_examples=5, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
@given(world=worlds())
def test_memory_stays_small(world: World, cycles: int) -> None:
    for _ in range(cycles):
        made = world.plan()
        world = replace(world, memory=made.memory).but(at=world.snapshot.at + 5)
    assert len(to_json(world.memory)) < 40_000
