"""What every cluster owes the daemon: the same tests on the one in memory and on the supervisor."""

from __future__ import annotations

import pytest

from controller.errors import TransientError
from controller.model.decision import Outcome, OutcomeStatus, ScaleWrite, WeightWrite
from controller.model.snapshot import ReplicaPhase
from controller.model.weights import RouteRef, WeightReading
from tests.contract.local.rigs import Rig, names, target_of, tiny_fleet

ALL = tuple(ReplicaPhase)


def order(rig: Rig, replicas: int, *, version: str | None = None, victims: tuple[str, ...] = ()) -> Outcome:
    target = target_of(rig)
    write = ScaleWrite(
        rig.fleet.key, "v1", target.desired, replicas, target.resource_version if version is None else version, victims
    )
    return rig.writer.scale(write)


def grow(rig: Rig, replicas: int) -> set[str]:
    """Bring v1 to so many ready replicas; their names."""
    assert order(rig, replicas).status is OutcomeStatus.APPLIED
    rig.until(lambda: target_of(rig).ready == replicas)
    return names(rig, ReplicaPhase.READY)


def test_every_variant_of_the_fleet_is_read(rig: Rig) -> None:
    targets = rig.reader.read([rig.fleet])

    assert set(targets) == {(rig.fleet.key, "v1"), (rig.fleet.key, "v2")}


def test_a_fleet_that_the_cluster_does_not_know_is_missing_in_the_reading(rig: Rig) -> None:
    assert rig.reader.read([tiny_fleet("stranger")]) == {}


def test_growing_starts_replicas_that_become_ready_after_their_cold_start(rig: Rig) -> None:
    outcome = order(rig, 2)

    assert outcome.status is OutcomeStatus.APPLIED
    assert [replica.phase for replica in target_of(rig).replicas] == [ReplicaPhase.STARTING] * 2
    rig.until(lambda: target_of(rig).ready == 2)
    for replica in target_of(rig).replicas:
        assert replica.ready_at is not None
        assert replica.ready_at > replica.created_at
        assert replica.address


def test_growing_leaves_the_running_replicas_alone(rig: Rig) -> None:
    before = grow(rig, 1)

    assert before < grow(rig, 3)


def test_an_order_changes_the_resource_version(rig: Rig) -> None:
    before = target_of(rig).resource_version

    order(rig, 1)

    assert target_of(rig).resource_version != before


def test_becoming_ready_does_not_change_the_resource_version(rig: Rig) -> None:
    order(rig, 1)
    ordered = target_of(rig).resource_version

    rig.until(lambda: target_of(rig).ready == 1)

    assert target_of(rig).resource_version == ordered


def test_an_order_for_what_is_already_desired_is_applied_and_changes_nothing(rig: Rig) -> None:
    grow(rig, 1)
    before = target_of(rig)

    assert order(rig, 1).status is OutcomeStatus.APPLIED
    assert target_of(rig).resource_version == before.resource_version


def test_an_order_made_for_an_older_version_is_a_conflict_and_changes_nothing(rig: Rig) -> None:
    old = target_of(rig).resource_version
    order(rig, 1)

    assert order(rig, 3, version=old).status is OutcomeStatus.CONFLICT
    assert target_of(rig).desired == 1


def test_the_same_order_sent_twice_takes_effect_once(rig: Rig) -> None:
    version = target_of(rig).resource_version
    order(rig, 1, version=version)
    once = target_of(rig)

    assert order(rig, 1, version=version).status is OutcomeStatus.CONFLICT
    assert (target_of(rig).desired, len(target_of(rig).replicas)) == (1, len(once.replicas))


@pytest.mark.parametrize(
    ("replicas", "victims"),
    [pytest.param(-1, (), id="fewer than none"), pytest.param(2, ("any",), id="victims of a growth")],
)
def test_nonsense_fails_and_changes_nothing(rig: Rig, replicas: int, victims: tuple[str, ...]) -> None:
    outcome = order(rig, replicas, victims=victims)

    assert outcome.status is OutcomeStatus.FAILED
    assert outcome.detail
    assert target_of(rig).desired == 0


@pytest.mark.parametrize(
    ("fleet", "variant"), [pytest.param("llm/no-such", "v1", id="fleet"), pytest.param(None, "v9", id="variant")]
)
def test_an_order_for_something_unknown_fails(rig: Rig, fleet: str | None, variant: str) -> None:
    outcome = rig.writer.scale(ScaleWrite(fleet or rig.fleet.key, variant, 1, 2, "1"))

    assert outcome.status is OutcomeStatus.FAILED


def test_a_reduction_ends_the_named_victims_and_nobody_else(rig: Rig) -> None:
    before = grow(rig, 3)
    victim = min(before)

    order(rig, 2, victims=(victim,))

    assert names(rig, ReplicaPhase.READY) == before - {victim}
    rig.until(lambda: names(rig, *ALL) == before - {victim})


def test_a_victim_that_is_already_gone_is_no_reason_to_refuse(rig: Rig) -> None:
    grow(rig, 2)

    assert order(rig, 1, victims=("long-gone",)).status is OutcomeStatus.APPLIED
    rig.until(lambda: len(target_of(rig).replicas) == 1)


def test_without_victims_those_not_ready_leave_before_those_that_are(rig: Rig) -> None:
    ready = grow(rig, 1)
    order(rig, 2)

    order(rig, 1)

    rig.until(lambda: names(rig, *ALL) == ready)


def test_without_victims_the_least_loaded_leaves(rig: Rig) -> None:
    busy, idle = sorted(grow(rig, 2))
    rig.busy(busy)

    order(rig, 1)

    assert names(rig, ReplicaPhase.READY) == {busy}
    rig.until(lambda: idle not in names(rig, *ALL))


def test_to_zero_and_back_never_uses_a_name_again(rig: Rig) -> None:
    first = grow(rig, 1)
    order(rig, 0)
    rig.until(lambda: not target_of(rig).replicas)

    assert not first & grow(rig, 1)


def test_a_ready_replica_that_dies_is_replaced_by_a_new_one_without_an_order(rig: Rig) -> None:
    before = grow(rig, 2)
    version = target_of(rig).resource_version
    victim = min(before)

    rig.kill(victim)

    rig.until(lambda: victim not in names(rig, *ALL) and target_of(rig).ready == 2)
    assert before - {victim} < names(rig, ReplicaPhase.READY)
    assert target_of(rig).resource_version == version


def split(rig: Rig, **weights: int) -> WeightWrite:
    """An order to move the traffic of the rig's fleet."""
    route = RouteRef("llm", "vllm-routing", "primary", rig.fleet.spec.host)
    return WeightWrite(rig.fleet.key, route, (("v1", 100), ("v2", 0)), tuple(weights.items()), "")


def test_all_traffic_goes_to_the_first_version_until_told_otherwise(rig: Rig) -> None:
    assert rig.weight_reader.weights([rig.fleet]) == {rig.fleet.key: WeightReading({"v1": 100, "v2": 0})}


def test_written_weights_are_read_back_and_the_same_order_may_be_sent_twice(rig: Rig) -> None:
    order = split(rig, v1=75, v2=25)

    assert rig.weight_writer.set_weights(order) == Outcome(order, OutcomeStatus.APPLIED)
    assert rig.weight_writer.set_weights(order) == Outcome(order, OutcomeStatus.APPLIED)
    assert rig.weight_reader.weights([rig.fleet])[rig.fleet.key].weights == {"v1": 75, "v2": 25}


@pytest.mark.parametrize(
    "weights",
    [
        pytest.param({"v1": 70, "v2": 20}, id="sum below 100"),
        pytest.param({"v1": 120, "v2": -20}, id="negative"),
        pytest.param({"v1": 50, "v9": 50}, id="unknown subset"),
    ],
)
def test_impossible_weights_are_refused_and_change_nothing(rig: Rig, weights: dict[str, int]) -> None:
    outcome = rig.weight_writer.set_weights(split(rig, **weights))

    assert outcome.status is OutcomeStatus.FAILED
    assert outcome.detail
    assert rig.weight_reader.weights([rig.fleet])[rig.fleet.key].weights == {"v1": 100, "v2": 0}


def test_a_cluster_that_does_not_answer_is_a_transient_error_to_readers_and_a_failure_to_writers(rig: Rig) -> None:
    reader, writer, weight_reader, weight_writer = rig.unreachable()

    with pytest.raises(TransientError):
        reader.read([rig.fleet])
    with pytest.raises(TransientError):
        weight_reader.weights([rig.fleet])
    assert weight_writer.set_weights(split(rig, v1=100, v2=0)).status is OutcomeStatus.FAILED
    assert writer.scale(ScaleWrite(rig.fleet.key, "v1", 1, 2, "1")).status is OutcomeStatus.FAILED
