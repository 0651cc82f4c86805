"""Arrivals × 3 within a second: how soon the fleet grows, when clients are served well again, what it leaves behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.load.records import read_results
from tests.live.cases import COLD_START_S, STEP_AT_S, STEP_END_S
from tests.live.figures import say
from tests.live.journals import writes
from tests.live.local_runs import Case, Finished, Runs, replayed
from tests.live.stored_samples import Samples, elapsed_s, first_above, in_flight, prometheus_of

NAMES = {
    "client": {
        "requests",
        "failed",
        "truncated",
        "attainment_ratio",
        "attainment_after_recovery_ratio",
        "ttft_p95_s",
        "tpot_p95_s",
    },
    "replicas": {"start", "max", "end"},
    "host": {"cpu_ratio", "loop_lag_p99_s"},
}
TOP = {"scale_up_delay_s", "recovery_s", "replica_hours", "replica_hours_static_peak", "decisions", "engine"}
TOP |= {"metrics_source", "seed", *NAMES}


class Watcher:
    """Asks Prometheus once for the minute before the step and what came after it."""

    def __init__(self) -> None:
        self.samples: Samples = []

    def look(self, run_dir: Path) -> None:
        seconds = elapsed_s(run_dir)
        if not self.samples and seconds > STEP_AT_S + 20:
            self.samples = in_flight(prometheus_of(run_dir), seconds)


@pytest.fixture(scope="module")
def watcher() -> Watcher:
    return Watcher()


@pytest.fixture(scope="module")
def step_run(runs: Runs, watcher: Watcher) -> Finished:
    found = runs.run(Case("step", ("--scenario", "step"), limit_s=560, while_running=watcher.look))
    client, host = found.report["client"], found.report["host"]
    say(
        f"step: scale-up after {found.report['scale_up_delay_s']:.1f} s (≤ 12), "
        f"recovered after {found.report['recovery_s']:.0f} s (≤ {COLD_START_S + 30:.0f}), "
        f"then {client['attainment_after_recovery_ratio']:.2%} inside (≥ 99 %); writes {writes(found.cycles())}; "
        f"host CPU {host['cpu_ratio']:.0%}, lag p99 {host['loop_lag_p99_s'] * 1000:.0f} ms"
    )
    return found


def test_the_run_is_valid_and_its_report_has_every_promised_name(step_run: Finished) -> None:
    assert step_run.code == 0, step_run.output
    assert set(step_run.report) >= TOP
    for part, names in NAMES.items():
        assert names <= set(step_run.report[part]), part


def test_the_first_decision_on_readings_comes_within_15_s_of_the_start_of_the_command(step_run: Finished) -> None:
    first = next(cycle for cycle in step_run.cycles() if cycle.based_on_readings)

    say(f"start to first decision: {first.at - step_run.started_at:.1f} s (≤ 15)")
    assert first.at - step_run.started_at <= 15


def test_the_fleet_grows_within_2_s_of_the_sample_that_shows_the_step(step_run: Finished, watcher: Watcher) -> None:
    step_at = read_results(step_run.run_dir / "requests.jsonl").start.started_at + STEP_AT_S
    grown = (w for w in step_run.report["writes"] if w["at"] >= step_at and w["after"] > w["before"])
    first = next(grown)

    shown_at = first_above(watcher.samples, step_at, 1.5)

    say(f"step: scale-up {first['at'] - shown_at:.1f} s after the stored sample above 1.5 × the minute before (≤ 2)")
    assert first["at"] - shown_at <= 2.0
    assert step_run.report["scale_up_delay_s"] <= 12


def test_full_cycles_are_not_run_more_often_for_it(step_run: Finished) -> None:
    every_s = step_run.report["duration_s"] / step_run.report["decisions"]

    assert every_s > 4.0


def test_clients_are_served_well_again_after_a_cold_start_and_30_s(step_run: Finished) -> None:
    assert step_run.report["recovered"]
    assert step_run.report["recovery_s"] <= COLD_START_S + 30
    assert step_run.report["client"]["attainment_after_recovery_ratio"] >= 0.99


def test_no_request_fails_and_no_stream_is_cut_although_the_fleet_shrinks(step_run: Finished) -> None:
    client = step_run.report["client"]

    assert any(write["after"] < write["before"] for write in step_run.report["writes"])
    assert (client["failed"], client["truncated"], client["unanswered"]) == (0, 0, 0)


def test_the_fleet_returns_to_its_floor(step_run: Finished) -> None:
    load_end = read_results(step_run.run_dir / "requests.jsonl").start.started_at + STEP_END_S
    afterwards = [write["after"] for write in step_run.report["writes"] if write["at"] > load_end]

    assert step_run.report["replicas"]["start"] == 2
    assert 2 < step_run.report["replicas"]["max"] <= 8
    assert min(afterwards) == 2
    # Chance may ask for a third one again: two are just enough for this traffic.
    assert step_run.report["replicas"]["end"] <= 3


def test_its_journal_replays_bit_for_bit(step_run: Finished) -> None:
    replay = replayed(step_run.journal)

    assert replay.returncode == 0, replay.stdout + replay.stderr
    assert "all equal, bit for bit" in replay.stdout
