"""The runs that went on beside the fault tests: a static fleet, a prior far off, the operator's rule."""

from __future__ import annotations

from itertools import pairwise

import pytest

from controller.model.decision import Reason
from tests.live.cases import COLD_START_S
from tests.live.figures import say
from tests.live.journals import writes
from tests.live.local_runs import Finished, replayed

COOL_DOWN_S = 30.0


@pytest.fixture
def run(request: pytest.FixtureRequest) -> Finished:
    found: Finished = request.getfixturevalue(request.param)
    return found


def test_the_same_step_on_a_static_fleet_is_not_recovered_while_it_lasts(static_run: Finished) -> None:
    assert static_run.code == 0, static_run.output
    say(f"static fleet: {static_run.report['client']['attainment_ratio']:.1%} inside, not recovered")
    assert not static_run.report["recovered"]
    assert static_run.report["writes"] == []
    assert static_run.report["replicas"] == {"start": 2, "max": 2, "end": 2}


def test_a_dry_run_still_says_what_it_would_have_written(static_run: Finished) -> None:
    assert any(after > before for before, after in writes(static_run.cycles()))


@pytest.mark.parametrize(
    "run",
    [pytest.param("prior_too_fast_run", id="40 % too fast"), pytest.param("prior_too_slow_run", id="too slow")],
    indirect=True,
)
def test_a_prior_40_percent_off_is_recovered_from_within_a_cold_start_and_60_s(run: Finished) -> None:
    assert run.code == 0, run.output
    report = run.report
    say(f"{run.run_dir.name}: recovered after {report['recovery_s']:.0f} s (≤ {COLD_START_S + 60:.0f})")
    assert report["recovered"]
    assert report["recovery_s"] <= COLD_START_S + 60
    assert (report["client"]["failed"], report["client"]["truncated"]) == (0, 0)


def test_the_operators_rule_makes_the_expected_writes(thresholds_run: Finished) -> None:
    """Busy: two replicas queue, three are above 80 %, four is the most. Near silence: one down at a time to the floor.

    Nothing moves sooner than a cool-down after the move before.
    """
    assert thresholds_run.code == 0, thresholds_run.output
    moves = [(write["before"], write["after"], write["reason"]) for write in thresholds_run.report["writes"]]

    assert moves == [
        (2, 3, "ThresholdUp"),
        (3, 4, "ThresholdUp"),
        (4, 3, "ThresholdDown"),
        (3, 2, "ThresholdDown"),
    ]
    at = [write["at"] for write in thresholds_run.report["writes"]]
    assert all(later - earlier >= COOL_DOWN_S - 1 for earlier, later in pairwise(at))


def test_the_cool_down_is_seen_in_the_explanations(thresholds_run: Finished) -> None:
    held = [c.decision for c in thresholds_run.cycles() if c.decision.reason is Reason.COOL_DOWN]

    assert held
    steps = [step for decision in held for step in decision.steps if step.reason is Reason.COOL_DOWN]
    assert all(step.stage == "cool-down" and step.before != step.after for step in steps)
    assert all(decision.after == decision.before for decision in held)
    assert "cool-down of 30 s:" in held[0].sentence
    assert "s left since the last change" in held[0].sentence


def test_the_operators_rule_cuts_no_stream(thresholds_run: Finished) -> None:
    client = thresholds_run.report["client"]

    assert (client["failed"], client["truncated"], client["unanswered"]) == (0, 0, 0)


RUNS = ("static_run", "prior_too_fast_run", "prior_too_slow_run", "thresholds_run")


@pytest.mark.parametrize("run", RUNS, indirect=True)
def test_every_journal_replays_bit_for_bit(run: Finished) -> None:
    replay = replayed(run.journal)

    assert replay.returncode == 0, replay.stdout + replay.stderr
    assert "all equal, bit for bit" in replay.stdout
