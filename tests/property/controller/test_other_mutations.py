"""Restraints that are no guards matter as well: each, taken away, breaks a law or a promise of a scenario."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest

from controller.decide import pressure, slo
from controller.decide.proposal import Question
from controller.estimate import continuity, evidence, world
from controller.model.decision import Counts, Reason
from controller.model.snapshot import Reading
from tests.builders import T0, a_fleet, a_memory, a_snapshot, a_state, a_target, a_variant, fresh, planned, stale
from tests.property.controller.laws import broken
from tests.property.controller.situations import SITUATIONS
from tests.property.controller.test_reasons import BY_REASON

Check = Callable[[], bool]
Patch = Callable[[pytest.MonkeyPatch], None]


def laws_hold() -> bool:
    """No law is broken in any situation."""
    worlds = [*SITUATIONS.values(), *BY_REASON.values()]
    return not any(broken(w, w.plan()) for w in worlds)


def one_order_for_one_demand() -> bool:
    """What presses while replicas load orders nothing more."""
    crowd = a_state(target=a_target(4, 2), arrival_rps=6.0, waiting=40.0, ttft_within_ratio=fresh(0.2))
    return planned(a_snapshot(crowd), a_memory(6.0)).writes == ()


def impossible_objectives_are_not_chased() -> bool:
    fleet = a_fleet(objectives={"tpot": {"threshold": "10ms", "target": 0.95}})
    slow = a_state(ready=3, arrival_rps=4.0, tpot_within_ratio=fresh(0.0), itl_mean_s=fresh(0.03))
    return not any(w.replicas > w.current for w in planned(a_snapshot(slow), a_memory(4.0), fleet).writes)


def broken_replicas_do_not_fill_the_cluster() -> bool:
    return sum(r for _, r in BY_REASON[Reason.RETRY].plan().decision.after) <= 4


def a_pause_of_the_daemon_takes_nothing() -> bool:
    """Ten minutes unseen, then a lull: nothing leaves before a whole window was seen."""
    lull = a_snapshot(a_state(ready=6, arrival_rps=4.0), at=T0 + 600)
    return planned(lull, a_memory(4.0, wanted=[{"v1": 6}])).writes == ()


def awake_until_idle() -> bool:
    """Two flavours that may both sleep keep a replica until the idle time is over."""
    fleet = a_fleet(a_variant("v1", 0), a_variant("v2", 0))
    quiet = (a_state("v1", ready=1, arrival_rps=0.0), a_state("v2", target=a_target(0), arrival_rps=0.0))
    return planned(a_snapshot(*quiet), a_memory(0.0, names=("v1", "v2")), fleet).writes == ()


CHECKS: tuple[Check, ...] = (
    laws_hold,
    one_order_for_one_demand,
    impossible_objectives_are_not_chased,
    broken_replicas_do_not_fill_the_cluster,
    a_pause_of_the_daemon_takes_nothing,
    awake_until_idle,
)


@dataclass(frozen=True)
class Mutation:
    name: str
    patch: Patch


def _stale_is_fresh(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Reading, "fresh", Reading.usable)


def _absent_is_zero(patch: pytest.MonkeyPatch) -> None:
    def zero(reading: Reading) -> float:
        return reading.value or 0.0

    patch.setattr(Reading, "fresh", property(zero))


def _every_replica_reports(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(evidence, "weigh", lambda _snapshot: evidence.Evidence(complete=True, blind=False, missing=()))
    patch.setattr(world, "weigh", evidence.weigh)


MUTATIONS = (
    Mutation("stale counts as fresh", _stale_is_fresh),
    Mutation("absent counts as zero", _absent_is_zero),
    Mutation("evidence is always complete", _every_replica_reports),
    Mutation("nothing is ever on its way", lambda m: m.setattr(pressure, "_on_the_way", lambda *_: False)),
    Mutation("given-up replicas are retried without end", lambda m: m.setattr(slo, "_retry_given_up", _one_more_each)),
    Mutation(
        "a pause of the daemon is no pause", lambda m: m.setattr(continuity, "_unbroken", lambda memory, _s: memory)
    ),
    Mutation("no demand needs no replica", lambda m: m.setattr(slo, "_LEAST_RPS", 0.0)),
    Mutation(
        "impossible objectives press", lambda m: m.setattr(pressure, "_missed", lambda *_: "objectives are missed")
    ),
)


def _one_more_each(question: Question, counts: Counts) -> Counts:
    lost = {name: len(names) for name, names in question.world.given_up.items()}
    return tuple((name, replicas + 3 * lost.get(name, 0)) for name, replicas in counts)


@pytest.mark.parametrize("check", CHECKS, ids=lambda c: c.__name__)
def test_unchanged_it_holds(check: Check) -> None:
    assert check()


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda m: m.name)
def test_changed_something_breaks(mutation: Mutation, monkeypatch: pytest.MonkeyPatch) -> None:
    mutation.patch(monkeypatch)
    assert not all(check() for check in CHECKS)


def test_stale_readings_are_in_a_situation_that_would_shrink_without_them() -> None:
    situation = SITUATIONS["too many replicas, but a reading is old"]
    state = situation.snapshot.variants[0]
    assert state.signals.running == stale(20.0)
    healthy = situation.but(variants=(replace(state, signals=replace(state.signals, running=fresh(20.0))),))
    assert healthy.plan().writes
