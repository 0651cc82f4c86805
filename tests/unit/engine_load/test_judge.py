"""The report of a run, against cases that were counted by hand."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from engine.load.judge import FleetSize, Run, judge, recovery_of, replica_seconds, scale_up_delay_s
from engine.load.records import JudgedObjectives, RequestRecord, Results, RunEnd, RunStart, Status
from engine.load.report import Write

OBJECTIVES = JudgedObjectives(ttft_s=1.0, tpot_s=0.05)
START_AT = 1000.0


def request(at_s: float, ttft_s: float | None = 0.2, tpot_s: float = 0.03, status: Status = Status.OK) -> RequestRecord:
    """A request for 11 tokens, so that the last comes 10 TPOT after the first."""
    last_s = None if ttft_s is None else ttft_s + 10 * tpot_s
    return RequestRecord(
        scheduled_at=START_AT + at_s,
        started_s=0.001,
        first_token_s=ttft_s,
        last_token_s=last_s,
        ended_s=last_s or 0.5,
        tokens_out=0 if ttft_s is None else 11,
        asked_tokens=11,
        prompt_tokens=100,
        status=status,
    )


def end(lag_p99_s: float = 0.004) -> RunEnd:
    return RunEnd(START_AT + 100, "finished", 0, 0, 0, 0.7, lag_p99_s, 1.0)


def run_of(*requests: RequestRecord, **replaced: object) -> Run:
    run = Run(
        scenario="step",
        engine="simulated",
        metrics_source="prometheus",
        seed=1,
        objectives=OBJECTIVES,
        results=Results(RunStart(START_AT, "step", 1, "http://x"), requests, end()),
        timeline=[FleetSize(START_AT - 5, 0, 2, 0)],
        writes=[],
        decisions=7,
        ended_at=START_AT + 100,
        load_start_at=START_AT + 20,
        load_end_at=START_AT + 60,
    )
    return replace(run, **replaced)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("record", "inside"),
    [
        pytest.param(request(0, 1.0, 0.05), True, id="both exactly at their thresholds"),
        pytest.param(request(0, 1.001), False, id="first token late"),
        pytest.param(request(0, 0.2, 0.0501), False, id="the rest slow"),
        pytest.param(request(0, status=Status.TRUNCATED), False, id="truncated though quick"),
        pytest.param(request(0, None, status=Status.FAILED), False, id="failed"),
        pytest.param(request(0, None, status=Status.UNANSWERED), False, id="unanswered"),
        pytest.param(replace(request(0, 0.5, 0.0), tokens_out=1), True, id="a single token has no TPOT to miss"),
    ],
)
def test_inside_means_complete_and_both_in_time(*, record: RequestRecord, inside: bool) -> None:
    assert record.inside(OBJECTIVES) is inside
    assert not record.undecided(OBJECTIVES)


@pytest.mark.parametrize(
    ("record", "undecided"),
    [
        pytest.param(request(0, 0.4, status=Status.INTERRUPTED), True, id="first token came in time"),
        pytest.param(replace(request(0, None, status=Status.INTERRUPTED), ended_s=0.9), True, id="could still come"),
        pytest.param(replace(request(0, None, status=Status.INTERRUPTED), ended_s=1.1), False, id="was late already"),
        pytest.param(request(0, 1.4, status=Status.INTERRUPTED), False, id="came late"),
    ],
)
def test_a_request_cut_short_from_outside_is_a_miss_only_if_it_was_late(
    *, record: RequestRecord, undecided: bool
) -> None:
    assert record.undecided(OBJECTIVES) is undecided


def test_counts_shares_and_percentiles() -> None:
    requests = [request(k, 0.1 + k / 100) for k in range(17)]
    misses = [
        request(17, None, status=Status.FAILED),
        request(18, 0.3, 0.2, status=Status.TRUNCATED),
        request(19, None, status=Status.UNANSWERED),
    ]
    client = judge(run_of(*requests, *misses, request(20, status=Status.INTERRUPTED))).client
    assert (client.requests, client.failed, client.truncated, client.unanswered, client.interrupted) == (21, 1, 1, 1, 1)
    assert client.attainment_ratio == 17 / 20
    assert client.ttft_p95_s is None
    assert client.tpot_p95_s == pytest.approx(0.03)
    assert client.tokens_out == 19 * 11


def test_the_ttft_percentile_counts_what_never_came_as_latest() -> None:
    answered = [request(k, 0.1 * (k + 1)) for k in range(19)]
    assert judge(run_of(*answered, request(19, None, status=Status.FAILED))).client.ttft_p95_s == pytest.approx(1.9)


def load(*shares_inside: float) -> list[RequestRecord]:
    """20 arrivals in each 10-s window from 20 s on, of which this share is inside."""
    return [
        request(20 + 10 * window + k / 2, 0.2 if k < round(share * 20) else 3.0)
        for window, share in enumerate(shares_inside)
        for k in range(20)
    ]


@pytest.mark.parametrize(
    ("shares", "seconds", "recovered", "after"),
    [
        pytest.param((1, 1, 1, 1), 0, True, 1.0, id="never left its objectives"),
        pytest.param((0.95, 1, 1, 0.95), 0, True, 0.975, id="95 % is enough"),
        pytest.param((0, 0.9, 1, 1), 20, True, 1.0, id="the last bad window ends it"),
        pytest.param((1, 0.5, 1, 0.95), 20, True, 0.975, id="good windows before do not count"),
        pytest.param((0, 1, 0, 1), 30, True, 1.0, id="a relapse is no recovery"),
        pytest.param((0, 0, 0, 0), 40, False, None, id="not while the load lasted"),
        pytest.param((1, 1, 1, 0.9), 40, False, None, id="bad at the end"),
    ],
)
def test_recovery_is_the_end_of_the_last_bad_window(
    *, shares: tuple[float, ...], seconds: float, recovered: bool, after: float | None
) -> None:
    late_calm = [request(70 + k, 9.0) for k in range(20)]
    report = judge(run_of(*load(*shares), *late_calm))
    assert (report.recovery_s, report.recovered) == (seconds, recovered)
    assert report.client.attainment_after_recovery_ratio == after


def test_a_last_window_that_is_cut_short_ends_with_the_load() -> None:
    bad = [request(20 + k / 2, 0.2 if k < 20 else 3.0) for k in range(30)]
    recovery = recovery_of(bad, OBJECTIVES, START_AT + 20, START_AT + 35)
    assert recovery is not None
    assert (recovery.seconds, recovery.recovered) == (15, False)


def test_without_a_judged_load_or_arrivals_in_it_there_is_no_recovery() -> None:
    for run in (run_of(request(5), load_start_at=None, load_end_at=None), run_of(request(5))):
        report = judge(run)
        assert (report.recovery_s, report.recovered, report.client.attainment_after_recovery_ratio) == (
            None,
            None,
            None,
        )


def write(at_s: float, before: int, after: int) -> Write:
    return Write(START_AT + at_s, "v1", before, after)


def test_the_scale_up_delay_is_to_the_first_growth_after_the_step() -> None:
    writes = [write(5, 2, 3), write(21, 3, 2), write(24.5, 2, 5), write(30, 5, 6)]
    assert scale_up_delay_s(writes, START_AT + 20) == 4.5
    assert scale_up_delay_s(writes[:2], START_AT + 20) is None
    assert scale_up_delay_s(writes, None) is None


def test_replica_hours_count_everything_that_is_paid_and_only_within_the_run() -> None:
    timeline = [
        FleetSize(START_AT - 30, 0, 2, 0),
        FleetSize(START_AT + 20, 3, 2, 0),
        FleetSize(START_AT + 35, 0, 5, 0),
        FleetSize(START_AT + 60, 0, 2, 3),
        FleetSize(START_AT + 80, 0, 2, 0),
        FleetSize(START_AT + 120, 0, 9, 0),
    ]
    report = judge(run_of(request(1), timeline=timeline))
    paid_s = 20 * 2 + 15 * 5 + 25 * 5 + 20 * 5 + 20 * 2
    assert replica_seconds(timeline, START_AT, START_AT + 100) == paid_s
    assert report.replica_hours * 3600 == pytest.approx(paid_s)
    assert report.replica_hours_static_peak * 3600 == pytest.approx(5 * 100)
    assert (report.replicas.start, report.replicas.max, report.replicas.end) == (2, 5, 2)


@pytest.mark.parametrize(
    ("run", "said"),
    [
        pytest.param(run_of(request(1), results=Results(RunStart(START_AT, "", 1, ""), (request(1),), end(0.0501))),
                     "was late: its timer's p99 lag was 50 ms", id="a late generator"),
        pytest.param(run_of(request(1), results=Results(RunStart(START_AT, "", 1, ""), (request(1),), None)),
                     "no closing record", id="a killed generator"),
        pytest.param(run_of(), "no request was sent", id="nothing sent"),
    ],
)  # fmt: skip
def test_a_run_that_proves_nothing_is_marked_invalid_with_the_reason(run: Run, said: str) -> None:
    report = judge(run)
    assert not report.valid
    assert said in report.invalid_reasons[0]


def test_the_json_names_everything_and_has_no_infinity() -> None:
    report = json.loads(judge(run_of(*load(1, 1, 1, 1), writes=[write(24, 2, 5)])).to_json())
    assert report["valid"] is True
    assert {"requests", "failed", "truncated", "attainment_ratio", "attainment_after_recovery_ratio", "ttft_p95_s",
            "tpot_p95_s"} <= set(report["client"])  # fmt: skip
    assert set(report["replicas"]) == {"start", "max", "end"}
    assert set(report["host"]) == {"cpu_ratio", "loop_lag_p99_s"}
    assert {"scale_up_delay_s", "recovery_s", "replica_hours", "replica_hours_static_peak", "decisions", "engine",
            "metrics_source", "seed"} <= set(report)  # fmt: skip
    assert report["writes"][0]["after"] == 5
    assert report["scale_up_delay_s"] == 4.0
