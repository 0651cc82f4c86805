"""The single path of writes refuses whatever must not happen, and passes on the rest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from controller.act.dry_run import DryRunReplicaWriter, DryRunWeightWriter
from controller.act.gate import Gate, SavedIntents, SeenTargets, SeenWeights, WeightGate, leading
from controller.errors import TransientError
from controller.model.decision import OutcomeStatus, ScaleWrite, WeightWrite
from controller.model.fleet import Fleet
from controller.model.memory import FleetMemory, TrafficMemory
from controller.model.weights import RouteRef
from tests.fakes import FakeCluster

FLEET = Fleet.model_validate(
    {
        "metadata": {"name": "tiny", "namespace": "llm"},
        "spec": {
            "modelName": "tiny",
            "host": "tiny",
            "variants": [
                {
                    "name": "v1",
                    "scaleTargetRef": {"name": "tiny-v1"},
                    "subset": "v1",
                    "accelerator": "none",
                    "costPerHour": 1.0,
                }
            ],
        },
    }
)
ORDER = ScaleWrite(FLEET.key, "v1", 1, 3, "1")
ROUTE = RouteRef("llm", "vllm", "primary", "tiny")
SPLIT = WeightWrite(FLEET.key, ROUTE, (("v1", 100),), (("v1", 100),), "")


class MemoryInMemory:
    """A store, with a disk that may be full."""

    def __init__(self) -> None:
        self.saved: Mapping[str, FleetMemory] = {}
        self.full = False

    def load(self) -> Mapping[str, FleetMemory]:
        return self.saved

    def set_aside(self) -> str:
        return "nowhere"

    def save(self, memories: Mapping[str, FleetMemory]) -> None:
        if self.full:
            raise TransientError("no space left")
        self.saved = memories


@pytest.fixture
def cluster() -> FakeCluster:
    return FakeCluster([FLEET], replicas={"v1": 1})


def memory_with(*intent: ScaleWrite) -> dict[str, FleetMemory]:
    return {FLEET.key: replace(FleetMemory.empty(FLEET.key), intent=intent)}


def test_an_order_against_which_nothing_speaks_is_passed_on(cluster: FakeCluster) -> None:
    outcome = Gate(cluster, [leading(lambda: True)]).scale(ORDER)

    assert outcome.status is OutcomeStatus.APPLIED
    assert cluster.writes == [(0.0, ORDER)]


def test_who_does_not_lead_writes_nothing(cluster: FakeCluster) -> None:
    outcome = Gate(cluster, [leading(lambda: False)]).scale(ORDER)

    assert outcome.status is OutcomeStatus.REFUSED
    assert "not the leader" in outcome.detail
    assert not cluster.writes


def test_leadership_is_asked_for_before_each_write(cluster: FakeCluster) -> None:
    answers = iter([True, False])
    gate = Gate(cluster, [leading(lambda: next(answers))])

    outcomes = [gate.scale(ORDER), gate.scale(replace(ORDER, replicas=4, resource_version="2"))]

    assert [outcome.status for outcome in outcomes] == [OutcomeStatus.APPLIED, OutcomeStatus.REFUSED]


def test_a_target_that_somebody_else_drives_is_left_alone_and_the_other_is_named(cluster: FakeCluster) -> None:
    cluster.target(FLEET.key, "v1").foreign_writer = "HorizontalPodAutoscaler/tiny"
    targets = SeenTargets(cluster)
    targets.read([FLEET])

    outcome = Gate(cluster, [targets.opposed]).scale(ORDER)

    assert outcome.status is OutcomeStatus.REFUSED
    assert "HorizontalPodAutoscaler/tiny" in outcome.detail
    assert not cluster.writes


def test_a_target_that_could_not_be_read_is_not_written(cluster: FakeCluster) -> None:
    targets = SeenTargets(cluster)
    targets.read([FLEET])
    cluster.unreachable = True
    with pytest.raises(TransientError):
        targets.read([FLEET])
    cluster.unreachable = False

    assert Gate(cluster, [targets.opposed]).scale(ORDER).status is OutcomeStatus.REFUSED


def test_an_order_is_written_only_after_it_was_saved(cluster: FakeCluster) -> None:
    intents = SavedIntents(MemoryInMemory())
    gate = Gate(cluster, [intents.unsaved])

    before = gate.scale(ORDER)
    intents.save(memory_with(ORDER))
    after = gate.scale(ORDER)

    assert [before.status, after.status] == [OutcomeStatus.REFUSED, OutcomeStatus.APPLIED]


def test_an_order_that_differs_from_the_saved_one_is_refused(cluster: FakeCluster) -> None:
    intents = SavedIntents(MemoryInMemory())
    intents.save(memory_with(ORDER))

    assert Gate(cluster, [intents.unsaved]).scale(replace(ORDER, replicas=9)).status is OutcomeStatus.REFUSED


def test_on_a_full_disk_reductions_wait_and_growth_passes(cluster: FakeCluster) -> None:
    store = MemoryInMemory()
    intents = SavedIntents(store)
    intents.save(memory_with(ORDER))
    store.full = True
    with pytest.raises(TransientError):
        intents.save(memory_with(ORDER))
    gate = Gate(cluster, [intents.unsaved])

    assert gate.scale(replace(ORDER, replicas=0)).status is OutcomeStatus.REFUSED
    assert gate.scale(ORDER).status is OutcomeStatus.APPLIED


def test_an_order_from_before_a_crash_is_not_sent_again(cluster: FakeCluster) -> None:
    store = MemoryInMemory()
    store.saved = memory_with(ORDER)
    intents = SavedIntents(store)

    assert intents.load()[FLEET.key].intent == (ORDER,)
    assert Gate(cluster, [intents.unsaved]).scale(ORDER).status is OutcomeStatus.REFUSED


def test_a_dry_run_passes_every_precondition_and_says_what_it_would_have_done() -> None:
    outcome = Gate(DryRunReplicaWriter(), [leading(lambda: True)]).scale(ORDER)

    assert outcome.status is OutcomeStatus.DRY_RUN
    assert "1 → 3" in outcome.detail


def memory_to_move(split: WeightWrite) -> dict[str, FleetMemory]:
    traffic = TrafficMemory(split.weights, split.route, intent=split)
    return {FLEET.key: replace(FleetMemory.empty(FLEET.key), traffic=traffic)}


def test_traffic_is_moved_by_the_leader_alone_on_what_was_read_and_saved(cluster: FakeCluster) -> None:
    store, routes = MemoryInMemory(), SeenWeights(cluster)
    intents, leads = SavedIntents(store), [True]
    gate = WeightGate(cluster, [leading(lambda: leads[0]), routes.opposed, intents.unsaved])

    unread = gate.set_weights(SPLIT)
    routes.weights([FLEET])
    unsaved = gate.set_weights(SPLIT)
    intents.save(memory_to_move(SPLIT))
    old = gate.set_weights(replace(SPLIT, resource_version="4"))
    leads[0] = False
    deposed = gate.set_weights(SPLIT)
    leads[0] = True

    assert [o.status for o in (unread, unsaved, old, deposed)] == [OutcomeStatus.REFUSED] * 4
    assert "not read in this cycle" in unread.detail
    assert "not saved" in unsaved.detail
    assert "read again" in old.detail
    assert "not the leader" in deposed.detail
    assert not cluster.moves
    assert gate.set_weights(SPLIT).status is OutcomeStatus.APPLIED


def test_on_a_full_disk_only_traffic_to_nobody_may_move(cluster: FakeCluster) -> None:
    store = MemoryInMemory()
    intents, store.full = SavedIntents(store), True
    with pytest.raises(TransientError):
        intents.save({})
    gate = WeightGate(cluster, [intents.unsaved])

    assert gate.set_weights(SPLIT).status is OutcomeStatus.REFUSED
    assert gate.set_weights(replace(SPLIT, urgent=True)).status is OutcomeStatus.APPLIED


def test_a_dry_run_says_how_traffic_would_have_moved() -> None:
    split = replace(SPLIT, before=(("v1", 90), ("v2", 10)), weights=(("v1", 70), ("v2", 30)))

    outcome = DryRunWeightWriter().set_weights(split)

    assert outcome.status is OutcomeStatus.DRY_RUN
    assert "v1 90 → 70 %, v2 10 → 30 %" in outcome.detail


def test_writers_of_a_dry_run_hold_nothing_that_could_be_written_to() -> None:
    assert not vars(DryRunReplicaWriter())
    assert not vars(DryRunWeightWriter())
