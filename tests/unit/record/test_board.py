"""The board: the latest of every fleet, a bounded history, folded holds, and the counts for metrics."""

from __future__ import annotations

from dataclasses import replace

import pytest
from prometheus_client.parser import text_string_to_metric_families

from controller.metrics import CATALOGUE
from controller.model.decision import OutcomeStatus, Reason
from controller.model.snapshot import ABSENT
from controller.ports import CycleRecord
from controller.record.board import CHARTED_MAX, DECISIONS_MAX, StatusBoard
from controller.record.exporter import exposition
from controller.record.facts import DaemonFacts
from controller.record.figures import figures
from controller.record.state import state_of
from tests.unit.record.cycles import (
    T0,
    a_condition,
    a_cycle,
    a_decision,
    a_fleet,
    a_memory,
    a_snapshot,
    an_outcome,
)

KEY = "llm/llama-8b"


class HandClock:
    """A clock moved by hand."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> float:
        return T0 + self.seconds

    def monotonic(self) -> float:
        return 100.0 + self.seconds


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def board(clock: HandClock) -> StatusBoard:
    return StatusBoard(clock)


def cycle_at(at: float, reason: Reason = Reason.STEADY, before: int = 3, after: int | None = None) -> CycleRecord:
    fleet = a_fleet()
    return a_cycle(fleet, at, before=before, decision=a_decision(fleet, at, before, after, reason))


def test_the_latest_cycle_of_every_fleet_is_shown(board: StatusBoard) -> None:
    board.publish([a_cycle(a_fleet("b")), a_cycle(a_fleet("a"))], [], 0.2)
    board.publish([a_cycle(a_fleet("a"), T0 + 5)], [], 0.2)
    assert [(r.fleet.key, r.snapshot.at) for r in board.records()] == [("llm/a", T0 + 5), ("llm/b", T0)]


def test_a_fleet_without_cycles_for_a_minute_is_shown_no_more(board: StatusBoard, clock: HandClock) -> None:
    board.publish([a_cycle(a_fleet("gone")), a_cycle()], [], 0.2)
    clock.seconds = 61
    board.publish([cycle_at(T0 + 61)], [], 0.2)
    assert [r.fleet.key for r in board.records()] == [KEY]
    assert b"llm/gone" not in exposition(board, lambda: DaemonFacts("0.1.0"))


def test_equal_holds_are_one_entry_with_their_number_and_beginning(board: StatusBoard) -> None:
    for n in range(23):
        board.publish([cycle_at(T0 + 5 * n)], [], 0.2)
    (run,) = board.decisions(KEY, 10)
    assert (run.count, run.first_at, run.decision.at) == (23, T0, T0 + 110)


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(cycle_at(T0 + 5, Reason.STABILISED), id="another reason"),
        pytest.param(cycle_at(T0 + 5, Reason.STEADY, 4), id="another count"),
        pytest.param(cycle_at(T0 + 5, Reason.DEMAND, 3, 5), id="a change"),
    ],
)
def test_what_differs_is_an_entry_of_its_own_newest_first(board: StatusBoard, other: CycleRecord) -> None:
    board.publish([cycle_at(T0)], [], 0.2)
    board.publish([other], [], 0.2)
    assert [run.decision for run in board.decisions(KEY, 10)] == [other.plan.decision, cycle_at(T0).plan.decision]


def test_a_decision_carries_what_became_of_its_writes(board: StatusBoard) -> None:
    record = cycle_at(T0, Reason.DEMAND, 3, 5)
    board.publish([record], [an_outcome(record, OutcomeStatus.CONFLICT, "version 8124")], 0.2)
    assert board.decisions(KEY, 1)[0].outcomes == (an_outcome(record, OutcomeStatus.CONFLICT, "version 8124"),)


def test_the_list_of_decisions_is_bounded(board: StatusBoard) -> None:
    for n in range(DECISIONS_MAX + 50):
        board.publish([cycle_at(T0 + n, Reason.DEMAND, 3, 4 + n % 2)], [], 0.2)
    runs = board.decisions(KEY, 10_000)
    assert len(runs) == DECISIONS_MAX
    assert runs[0].decision.at == T0 + DECISIONS_MAX + 49


def test_history_is_a_quarter_of_an_hour_and_can_be_asked_for_in_parts(board: StatusBoard) -> None:
    for n in range(400):
        board.publish([cycle_at(T0 + 5 * n)], [], 0.2)
    points = board.history(KEY)
    assert points[-1].at - points[0].at == 900
    assert [p.at for p in board.history(KEY, T0 + 5 * 397)] == [T0 + 5 * 398, T0 + 5 * 399]


def test_with_many_fleets_only_those_looked_at_have_a_history(board: StatusBoard, clock: HandClock) -> None:
    fleets = [a_fleet(f"f{n}") for n in range(CHARTED_MAX + 10)]
    board.publish([a_cycle(fleet) for fleet in fleets], [], 0.2)
    assert board.history("llm/f55") == []
    board.publish([a_cycle(fleet, T0 + 5) for fleet in fleets], [], 0.2)
    assert [p.at for p in board.history("llm/f55")] == [T0 + 5]
    assert board.history("llm/f56") == []
    clock.seconds = 30
    board.publish([a_cycle(fleet, T0 + 10) for fleet in fleets], [], 0.2)
    assert len(board.history("llm/f55")) == 2


def test_an_unknown_fleet_has_nothing(board: StatusBoard) -> None:
    assert (board.record("no/such"), board.history("no/such"), board.decisions("no/such", 5)) == (None, [], [])


def samples(
    board: StatusBoard, facts: DaemonFacts | None = None
) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    text = exposition(board, lambda: facts or DaemonFacts("0.1.0")).decode()
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def of(found: dict[tuple[str, frozenset[tuple[str, str]]], float], name: str, **labels: str) -> float | None:
    return found.get((name, frozenset(labels.items())))


def test_every_metric_of_the_catalogue_is_exposed_with_its_labels_and_no_other(board: StatusBoard) -> None:
    first, second = cycle_at(T0, Reason.DEMAND, 3, 5), cycle_at(T0 + 5)
    second = replace(second, plan=replace(second.plan, memory=a_memory(a_fleet(), T0, cold_starts_s=(42.0, 17.0))))
    board.publish([first], [an_outcome(first)], 0.2)
    decided = a_decision(a_fleet(), T0 + 5, conditions=[a_condition()], estimates={"sized_rps": 10.0})
    decided = replace(decided, estimates=(*decided.estimates, ("capacity_uncertainty_ratio.v1", 0.1)))
    board.publish([replace(second, plan=replace(second.plan, decision=decided))], [], 0.2)
    text = exposition(board, lambda: DaemonFacts("0.1.0")).decode()
    families = {family.name: family for family in text_string_to_metric_families(text)}
    wanted = {metric.name.removesuffix("_total"): metric for metric in CATALOGUE}
    assert families.keys() == wanted.keys()
    for name, metric in wanted.items():
        labels = {frozenset(sample.labels) - {"le"} for sample in families[name].samples}
        assert (name, families[name].type, labels) == (name, metric.kind, {frozenset(metric.labels)})
        assert families[name].documentation == metric.help


def test_values_are_those_of_the_latest_cycle_in_base_units(board: StatusBoard) -> None:
    fleet = a_fleet()
    snapshot = a_snapshot(fleet, T0, ready=3, starting=2, draining=1, ttft=0.93)
    board.publish([a_cycle(fleet, before=5, snapshot=snapshot)], [], 0.2)
    found = samples(board)
    assert of(found, "governor_replicas_desired", fleet=KEY, variant="v1") == 5
    assert of(found, "governor_replicas_ready", fleet=KEY, variant="v1") == 3
    assert of(found, "governor_replicas_starting", fleet=KEY, variant="v1") == 2
    assert of(found, "governor_replicas_draining", fleet=KEY, variant="v1") == 1
    assert of(found, "governor_attainment_ratio", fleet=KEY, objective="ttft") == 0.93
    assert of(found, "governor_capacity_rps", fleet=KEY) == pytest.approx(3 * 4.4)
    assert of(found, "governor_cost_per_hour", fleet=KEY) == pytest.approx(6 * 1.86)
    assert of(found, "governor_variant_info", fleet=KEY, variant="v1", role="stable", subset="v1") == 1


def test_what_is_not_known_has_no_sample_never_a_zero(board: StatusBoard) -> None:
    fleet = a_fleet()
    snapshot = a_snapshot(fleet, ttft=None)
    state = replace(snapshot.variants[0], signals=replace(snapshot.variants[0].signals, running=ABSENT))
    board.publish([a_cycle(fleet, snapshot=replace(snapshot, variants=(state,)))], [], 0.2)
    found = samples(board)
    assert of(found, "governor_attainment_ratio", fleet=KEY, objective="ttft") is None
    assert of(found, "governor_running_requests", fleet=KEY) is None
    assert of(found, "governor_attainment_ratio", fleet=KEY, objective="tpot") is not None


def test_counters_and_histograms_add_up_over_cycles(board: StatusBoard) -> None:
    for n, starts in enumerate([(42.0,), (42.0, 17.0), (42.0, 17.0), (17.0, 99.0)]):
        record = replace(cycle_at(T0 + n, Reason.DEMAND, 3, 4))
        plan = replace(record.plan, memory=a_memory(a_fleet(), T0, cold_starts_s=starts))
        board.publish([replace(record, plan=plan)], [an_outcome(record)], 0.2 * n)
    found = samples(board)
    assert of(found, "governor_ticks_total") == 4
    assert of(found, "governor_decisions_total", fleet=KEY, action="Up", reason="Demand") == 4
    assert of(found, "governor_writes_total", fleet=KEY, variant="v1", status="Applied") == 4
    assert of(found, "governor_cold_start_seconds_count", fleet=KEY, variant="v1") == 2
    assert of(found, "governor_cold_start_seconds_bucket", fleet=KEY, variant="v1", le="30.0") == 1
    assert of(found, "governor_tick_duration_seconds_sum") == pytest.approx(1.2)
    assert of(found, "governor_tick_duration_seconds_bucket", le="0.25") == 2


def test_the_daemon_says_whether_its_disk_takes_what_it_writes(board: StatusBoard) -> None:
    found = samples(board, DaemonFacts("0.1.0", dry_run=True, journal_error="full", unjournaled_records=3))
    assert of(found, "governor_state_writable", store="journal") == 0
    assert of(found, "governor_state_writable", store="memory") == 1
    assert of(found, "governor_journal_unwritten_records") == 3
    assert of(found, "governor_dry_run") == 1


def test_label_values_are_escaped(board: StatusBoard) -> None:
    facts = DaemonFacts('0.1"\n\\')
    assert of(samples(board, facts), "governor_build_info", version='0.1"\n\\') == 1


STATES = [
    pytest.param(a_cycle(), "good", "Inside its objectives: 3 replicas ready", id="inside its objectives"),
    pytest.param(
        a_cycle(snapshot=a_snapshot(a_fleet(), ttft=None, tpot=None)),
        "good",
        "Quiet: 3 replicas ready, no finished request in the window",
        id="without traffic",
    ),
    pytest.param(cycle_at(T0, Reason.DEMAND, 3, 5), "working", "Growing from 3 replicas to 5; 3 ready", id="growing"),
    pytest.param(
        a_cycle(before=4, snapshot=a_snapshot(a_fleet(), ready=1, starting=3)),
        "working",
        "4 replicas ordered: 1 ready, 3 starting",
        id="starting",
    ),
    pytest.param(
        a_cycle(snapshot=a_snapshot(a_fleet(), ttft=0.9496)),
        "attention",
        "Missing: 94.9 % of first tokens within 1 s (target 95.0 %)",
        id="missing an objective by a hair",
    ),
    pytest.param(
        a_cycle(
            decision=a_decision(
                a_fleet(), reason=Reason.BLIND, conditions=[a_condition("MetricsAvailable", "False", T0 - 72)]
            )
        ),
        "attention",
        "Blind for 1 min 12 s: no trustworthy metrics; every replica is kept",
        id="blind",
    ),
    pytest.param(
        a_cycle(decision=a_decision(a_fleet(), conditions=[a_condition("Scaling", "False", message="paused by hand")])),
        "attention",
        "Scaling is restrained (SourceSilent): paused by hand",
        id="restrained",
    ),
    pytest.param(
        a_cycle(
            decision=a_decision(
                a_fleet(), conditions=[a_condition("MetricsAvailable", "False", T0 - 60, "2 of 3 replicas report")]
            )
        ),
        "working",
        "Metrics are incomplete for 1 min: 2 of 3 replicas report; they justify no reduction",
        id="half blind since just now",
    ),
    pytest.param(
        a_cycle(
            decision=a_decision(
                a_fleet(), conditions=[a_condition("MetricsAvailable", "False", T0 - 61, "2 of 3 replicas report")]
            )
        ),
        "attention",
        "Metrics are incomplete for 1 min 1 s: 2 of 3 replicas report; they justify no reduction",
        id="half blind for long",
    ),
]


@pytest.mark.parametrize(("record", "level", "sentence"), STATES)
def test_the_state_is_one_plain_sentence(record: CycleRecord, level: str, sentence: str) -> None:
    assert state_of(record, figures(record)) == (level, sentence)
