"""`governor status`, `explain` and `replay`: facts for people and machines, and one sentence for a mistake."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from controller.cli.instants import parse_instant
from controller.cli.main import main
from controller.clock import SystemClock
from controller.errors import UsageError
from controller.model.decision import Outcome, OutcomeStatus, Reason
from controller.plan import plan
from controller.ports import CycleRecord
from controller.record.board import StatusBoard
from controller.record.facts import DaemonFacts
from controller.record.journal import JournalFolder
from controller.record.server import StatusServer
from tests.unit.record.cycles import T0, a_condition, a_cycle, a_decision, a_fleet, a_snapshot, an_outcome
from tests.unit.record.test_replay import recorded

KEY = "llm/llama-8b"


@dataclass(frozen=True)
class Said:
    """What a command printed, and how it ended."""

    code: int
    out: str
    err: str


Governor = Callable[..., Said]


@pytest.fixture
def governor(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Governor:
    def run(*words: str) -> Said:
        monkeypatch.setattr(sys, "argv", ["governor", *words])
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capsys.readouterr()
        return Said(int(ended.value.code or 0), captured.out, captured.err)

    return run


@pytest.fixture
def board() -> StatusBoard:
    return StatusBoard(SystemClock())


@dataclass
class Facts:
    """What the daemon says of itself, to be set."""

    fleet_errors: tuple[str, ...] = ()


@pytest.fixture
def facts() -> Facts:
    return Facts()


@pytest.fixture
def url(board: StatusBoard, facts: Facts) -> Iterator[str]:
    server = StatusServer(board, lambda: DaemonFacts("0.1.0", fleet_errors=facts.fleet_errors))
    server.start()
    yield server.url
    server.stop()


def grown(at: float = T0) -> tuple:
    record = a_cycle(at=at, before=3, after=5, decision=a_decision(a_fleet(), at, 3, 5, Reason.DEMAND))
    return record, [an_outcome(record)]


def test_status_shows_every_fleet_in_a_row_and_what_is_amiss_below(
    governor: Governor, board: StatusBoard, url: str
) -> None:
    amiss = a_decision(a_fleet(), conditions=[a_condition("MetricsAvailable", "False", message="no sample for 24 s")])
    board.publish([a_cycle(decision=amiss), a_cycle(a_fleet("qwen"))], [], 0.2)
    said = governor("status", "--url", url)
    assert said.code == 0
    row = next(line for line in said.out.splitlines() if line.startswith(KEY))
    for part in ("3/3", "9.3 /s", "13.2 /s", "99.1 %", "98.7 %", "5.58 /h"):
        assert part in row
    assert len(row) <= 80
    assert "  Metrics are incomplete: no sample for 24 s; they justify no reduction · Hold (Steady)\n" in said.out
    assert "llm/qwen" in said.out
    assert "  Inside its objectives: 3 replicas ready · Hold (Steady)\n" in said.out
    assert "MetricsAvailable is False since 2026-01-01 00:00:00 UTC (SourceSilent): no sample for 24 s" in said.out


@pytest.mark.parametrize(("form", "read"), [("json", json.loads), ("yaml", yaml.safe_load)])
def test_status_for_machines_is_what_the_api_says(
    governor: Governor, board: StatusBoard, url: str, form: str, read: Callable[[str], dict]
) -> None:
    board.publish([a_cycle()], [], 0.25)
    facts = read(governor("status", "--url", url, "--output", form).out)
    assert (facts["tick_s"], facts["fleets"][0]["figures"]["ready"]) == (0.25, 3)


def half_blind() -> CycleRecord:
    lost = a_condition("MetricsAvailable", "False", message="v1: running stale, 45 s old")
    return a_cycle(decision=a_decision(a_fleet(), conditions=[lost]))


@pytest.mark.parametrize(
    ("records", "errors", "why"),
    [
        pytest.param([a_cycle()], (), "", id="all is well"),
        pytest.param(
            [a_cycle(snapshot=a_snapshot(a_fleet(), ttft=0.5)), a_cycle(a_fleet("qwen"))],
            (),
            "llm/llama-8b: Missing: 50.0 % of first tokens within 1 s (target 95.0 %)",
            id="objectives are missed",
        ),
        pytest.param([half_blind()], (), "llm/llama-8b: MetricsAvailable is False: v1: running stale", id="half blind"),
        pytest.param([], (), "no fleet is controlled", id="no fleet"),
        pytest.param([a_cycle()], ("f.yaml:3: is no YAML",), "f.yaml:3: is no YAML", id="a refused version"),
    ],
)
def test_status_can_be_asked_to_fail_and_says_why_on_one_line(
    governor: Governor, board: StatusBoard, facts: Facts, url: str, records: list, errors: tuple[str, ...], why: str
) -> None:
    board.publish(records, [], 0.2)
    facts.fleet_errors = errors
    checked = governor("status", "--url", url, "--check", "--output", "json")
    assert checked.code == (1 if why else 0)
    assert checked.err.count("\n") == (1 if why else 0)
    assert why in checked.err
    assert json.loads(checked.out)["errors"] == list(errors)
    assert governor("status", "--url", url).code == 0


def test_status_tells_a_refused_version_once(governor: Governor, board: StatusBoard, facts: Facts, url: str) -> None:
    text = "f.yaml:3: is no YAML"
    kept = a_condition("FleetAccepted", "False", message=f"the last good version stays in force: {text}")
    board.publish([a_cycle(decision=a_decision(a_fleet(), conditions=[kept]))], [], 0.2)
    facts.fleet_errors = (text, "g.yaml: is empty")
    said = governor("status", "--url", url).out
    assert said.count(text) == 1
    assert said.endswith("g.yaml: is empty\n")


def test_a_check_of_many_fleets_names_the_first_and_counts_the_others(
    governor: Governor, board: StatusBoard, url: str
) -> None:
    missed = [a_fleet(f"f{n}") for n in range(9)]
    board.publish([a_cycle(fleet, snapshot=a_snapshot(fleet, ttft=0.5)) for fleet in missed], [], 0.2)
    said = governor("status", "--url", url, "--check").err
    assert said.startswith("governor: check failed: llm/f0: Missing")
    assert said.endswith("; and 6 more\n")


def test_status_shows_no_fleet_as_good_whose_metrics_are_incomplete(
    governor: Governor, board: StatusBoard, url: str
) -> None:
    board.publish([half_blind()], [], 0.2)
    seen = json.loads(governor("status", "--url", url, "--output", "json").out)
    assert seen["fleets"][0]["state"] == {
        "level": "working",
        "sentence": "Metrics are incomplete: v1: running stale, 45 s old; they justify no reduction",
    }


def test_status_before_the_first_cycle_says_so(governor: Governor, url: str) -> None:
    assert governor("status", "--url", url).out == "no fleet yet: the first cycle has not ended\n"
    assert governor("status", "--url", url, "--check").code == 1


def test_status_without_a_fleet_says_what_is_wrong(
    governor: Governor, board: StatusBoard, facts: Facts, url: str
) -> None:
    board.publish([], [], 0.2)
    facts.fleet_errors = ("f.yaml:3: is no YAML",)
    assert governor("status", "--url", url).out == "no fleet is controlled\nf.yaml:3: is no YAML\n"


def test_explain_tells_the_last_decision_with_steps_binding_constraint_and_all_the_rest(
    governor: Governor, board: StatusBoard, url: str
) -> None:
    record, outcomes = grown()
    board.publish([record], outcomes, 0.2)
    said = governor("explain", "--url", url)
    assert said.code == 0
    assert said.out.startswith(f"{KEY} at 2026-01-01 00:00:00 UTC: Up (Demand)\n  v1 3 → 5")
    for part in (
        "  demand     v1 3 → 5  Demand      9.3 requests/s at 0.9 × 4.4",
        "  binding: demand (Demand)",
        "what would have changed it\n  5 → 6 if waiting > 14 or arrival > 11.9/s",
        "considered and not taken\n  v1 5 at 9.30 per hour: costs 1.86 more",
        "  arrival_rps: 9.30 requests/s",
        "what became of it\n  v1 3 → 5: Applied",
    ):
        assert part in said.out


def test_explain_at_an_instant_tells_the_decision_in_force_then(
    governor: Governor, board: StatusBoard, url: str
) -> None:
    for n, reason in enumerate((Reason.STEADY, Reason.STABILISED, Reason.STEADY)):
        board.publish([a_cycle(decision=a_decision(a_fleet(), T0 + 60 * n, reason=reason))], [], 0.2)
    said = governor("explain", KEY, "--at", "2026-01-01T00:01:30", "--url", url)
    assert "Hold (Stabilised)" in said.out
    before = governor("explain", KEY, "--at", "2025-12-31T23:59:59", "--url", url)
    assert (before.code, before.err.count("\n")) == (2, 1)
    assert "give --journal, its state folder" in before.err


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    """A state folder whose journal has three cycles, the second of which ordered two replicas."""
    written = JournalFolder(tmp_path / "journal", "0.1.0")
    first, (second, outcomes), third = a_cycle(at=T0), grown(T0 + 60), a_cycle(at=T0 + 120, before=5)
    memories: dict = {}
    for record in (first, second, third):
        written.append([record], memories)
        if record is second:
            written.outcomes(T0 + 60.4, [Outcome(outcomes[0].write, OutcomeStatus.CONFLICT, "version 8124")])
        memories = {KEY: record.plan.memory}
    written.close()
    return tmp_path


@pytest.mark.parametrize("part", ["", "journal"], ids=["the state folder", "the journal's folder"])
def test_explain_reads_a_journal_without_a_daemon(governor: Governor, journal: Path, part: str) -> None:
    last = governor("explain", "--last", "--journal", str(journal / part))
    assert last.out.startswith(f"{KEY} at 2026-01-01 00:02:00 UTC: Hold")
    at = governor("explain", "llama-8b", "--at", str(T0 + 100), "--journal", str(journal / part))
    assert at.out.startswith(f"{KEY} at 2026-01-01 00:01:00 UTC: Up (Demand)")
    assert "v1 3 → 5: Conflict (version 8124)" in at.out


def test_explain_for_machines_is_the_decision_itself(governor: Governor, journal: Path) -> None:
    said = governor("explain", "--journal", str(journal), "--at", "2026-01-01T01:01:00+01:00", "--output", "json")
    facts = json.loads(said.out)
    assert facts["decision"]["after"] == [["v1", 5]]
    assert facts["outcomes"][0]["status"] == "Conflict"


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (
            ("status", "--url", "http://127.0.0.1:1"),
            "no daemon answers at http://127.0.0.1:1: start one with `governor",
        ),
        (("explain", "--url", "http://127.0.0.1:1"), "no daemon answers at http://127.0.0.1:1: start one with"),
        (("status", "--url", "nonsense"), "nonsense is no address of a daemon: write it as http://127.0.0.1:"),
        (("explain", "--last", "--at", "2026-01-01T00:00:00"), "--last and --at exclude each other"),
        (("explain", "--at", "noon"), "--at 'noon' is no instant"),
        (("explain", "--at", "2026"), "--at '2026' would be seconds since 1970, and is long before any decision"),
        (("explain", "--at", "-5"), "--at '-5' would be seconds since 1970, and is long before any decision"),
        (("explain", "--journal", "/nowhere"), "no journal at /nowhere"),
        (("replay", "/nowhere"), "no journal at /nowhere"),
        (("replay", "/etc/hostname"), "/etc/hostname:1 is not a journal line"),
        (("replay", "/nowhere", "--from", "inf"), "--from 'inf' is no instant"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_mistake_is_one_sentence_and_exit_code_two(
    governor: Governor, words: tuple[str, ...], complaint: str
) -> None:
    said = governor(*words)
    assert (said.code, said.out, said.err.count("\n")) == (2, "", 1)
    assert complaint in said.err


def test_another_program_at_the_address_is_told_apart_from_a_daemon(governor: Governor, url: str) -> None:
    said = governor("status", "--url", f"{url}/healthz")
    assert said.code == 2
    assert "answers 404" in said.err


def test_an_unknown_fleet_is_told_with_those_that_are_known(governor: Governor, board: StatusBoard, url: str) -> None:
    board.publish([a_cycle(), a_cycle(a_fleet("qwen"))], [], 0.2)
    assert "has 2 fleets: name one of llm/llama-8b, llm/qwen" in governor("explain", "--url", url).err
    assert "no single fleet 'gpt'" in governor("explain", "gpt", "--url", url).err
    assert governor("explain", "qwen", "--url", url).out.startswith("llm/qwen at")


def test_a_journal_without_such_a_decision_says_what_to_do(governor: Governor, journal: Path) -> None:
    said = governor("explain", "--journal", str(journal), "--at", "2025-12-31T00:00:00")
    assert said.code == 2
    assert "has no decision about llm/llama-8b at or before 2025-12-31 00:00:00 UTC" in said.err


def test_replay_of_the_real_planner_is_equal_bit_for_bit(governor: Governor, tmp_path: Path) -> None:
    recorded(tmp_path, plan, 20)
    said = governor("replay", str(tmp_path))
    assert (said.code, said.err) == (0, "")
    assert said.out.startswith("40 decisions of ")
    assert said.out.endswith("replayed: all equal, bit for bit\n")
    assert json.loads(governor("replay", str(tmp_path), "--output", "json").out)["first_difference"] is None


def test_replay_names_time_fleet_and_field_of_the_first_difference(governor: Governor, tmp_path: Path) -> None:
    recorded(tmp_path, plan, 6, segment_bytes=10_000_000)
    path = min(tmp_path.glob("journal-*"))
    lines = path.read_bytes().splitlines(keepends=True)
    cycle = json.loads(lines[3])
    cycle["decision"]["steps"][0]["before"][0][1] = 77
    lines[3] = json.dumps(cycle).encode() + b"\n"
    path.write_bytes(b"".join(lines))
    said = governor("replay", str(tmp_path))
    assert said.code == 1
    assert "12 decisions of 2 files replayed: 11 equal, 1 different" in said.out
    assert "first difference: 2026-01-01 00:00:05 UTC, fleet llm/one, " in said.out
    assert "decision.steps[0].before.v1: 77 recorded, 2 replayed" in said.out


def test_an_empty_journal_is_told_as_that_and_no_option_is_blamed(governor: Governor, tmp_path: Path) -> None:
    (tmp_path / "journal-20260101T000000Z-000001.jsonl").write_bytes(b"")
    for words in (("replay", str(tmp_path)), ("explain", "--journal", str(tmp_path))):
        said = governor(*words)
        assert (said.code, said.out) == (2, "")
        assert f"the journal {tmp_path} holds no decision yet: wait for the daemon's first cycle" in said.err


def test_the_conditions_of_an_explanation_are_indented_as_all_else(
    governor: Governor, board: StatusBoard, url: str
) -> None:
    both = [a_condition("MetricsAvailable", "True"), a_condition("SignalsFresh", "False")]
    board.publish([a_cycle(decision=a_decision(a_fleet(), conditions=both))], [], 0.2)
    lines = governor("explain", "--url", url).out.splitlines()
    begun = lines.index("conditions") + 1
    assert [line.split(" since ")[0] for line in lines[begun : begun + 2]] == [
        "  MetricsAvailable True",
        "  ! SignalsFresh False",
    ]


def test_replay_of_nothing_is_a_mistake_not_a_success(governor: Governor, journal: Path) -> None:
    said = governor("replay", str(journal), "--fleet", "no/such")
    assert said.code == 2
    assert "nothing to replay" in said.err


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2026-01-01T00:00:00", T0),
        ("2026-01-01 00:00:00 UTC", T0),
        ("2026-01-01T01:00:00+01:00", T0),
        ("2026-01-01T00:00:00Z", T0),
        ("1767225600.5", T0 + 0.5),
        (None, None),
    ],
)
def test_instants_are_read_as_utc(text: str | None, seconds: float | None) -> None:
    assert parse_instant("--at", text) == seconds


def test_a_year_or_a_day_without_dashes_is_not_taken_for_seconds() -> None:
    for text in ("2026", "20260131", "0", "999999999"):
        with pytest.raises(UsageError, match="seconds since 1970, and is long before any decision: write"):
            parse_instant("--from", text)


def test_an_instant_that_is_none_is_refused_with_an_example() -> None:
    with pytest.raises(UsageError, match="2026-01-31T12:00:05"):
        parse_instant("--at", "31.1.2026")
