"""Every guard matters: without it, a law of decisions breaks in some situation. With all of them, none does."""

from __future__ import annotations

import pytest

from controller.guard.base import Guard
from controller.guard.chain import GUARDS
from tests.property.controller.laws import broken
from tests.property.controller.situations import SITUATIONS


def broken_anywhere(guards: tuple[Guard, ...]) -> dict[str, list[str]]:
    """The laws that plans made with these guards break, by situation."""
    found = {name: broken(world, world.plan(guards)) for name, world in SITUATIONS.items()}
    return {name: laws for name, laws in found.items() if laws}


def test_with_all_guards_no_law_breaks() -> None:
    assert broken_anywhere(GUARDS) == {}


@pytest.mark.parametrize("guard", GUARDS, ids=lambda g: g.__name__)
def test_without_this_guard_a_law_breaks(guard: Guard) -> None:
    assert broken_anywhere(tuple(g for g in GUARDS if g is not guard)) != {}


@pytest.mark.parametrize("situation", SITUATIONS)
def test_no_law_breaks_in_the_cycles_that_follow(situation: str) -> None:
    world = SITUATIONS[situation]
    for _ in range(20):
        made = world.plan()
        assert broken(world, made) == []
        world = type(world)(world.snapshot, made.memory, world.fleet).but(at=world.snapshot.at + 5)
