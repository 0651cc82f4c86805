"""`governor local`: what is asked for, what the replicas obey, what is said without a terminal and after a failure."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from controller.cli.local_lines import PlainLines
from controller.cli.local_options import Engine
from controller.cli.local_report import lost_decisions
from controller.cli.local_run import LocalRun, asked_for, load_command, truths
from controller.cli.local_session import load_failure
from controller.cli.profiles import Profiles
from controller.errors import UsageError
from controller.observe.fleet_file import load_fleets
from engine.load.prompts import prompt_json
from engine.load.scenario_file import load_scenario
from engine.local.stack import Addresses
from engine.profile_files import SHIPPED

ROOT = Path(__file__).parents[3]
HEADER = "TIMESTAMP,ContextTokens,GeneratedTokens\n"


def asked(
    scenario: str = "calm",
    fleet: Path | None = None,
    engine: Engine = "simulated",
    trace: Path | None = None,
    rate: float | None = None,
) -> LocalRun:
    return asked_for(scenario, fleet, engine, "fleet", trace, rate, None, None, 0)


@pytest.fixture
def fleet(tmp_path: Path) -> Path:
    """A user's Fleet of three variants: by name, by model and accelerator, by a file beside the Fleet's."""
    document = load_scenario("calm").fleet_document()
    plain = document["spec"]["variants"][0]
    document["spec"]["variants"] = [
        {**plain, "name": name, "scaleTargetRef": {"name": name}, "subset": name, "replicas": {"min": 0, "max": 2}}
        | said
        for name, said in (
            ("named", {"profile": "h100-8b"}),
            ("found", {"accelerator": "h100"}),
            ("filed", {"profile": "mine.yaml"}),
        )
    ]
    (tmp_path / "mine.yaml").write_text((SHIPPED / "l40s-8b.yaml").read_text())
    path = tmp_path / "fleet.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


class TestTruthOfTheReplicas:
    def test_each_variant_of_ones_own_fleet_obeys_its_own_profile(self, fleet: Path) -> None:
        mine = str((fleet.parent / "mine.yaml").resolve())
        assert truths(asked(fleet=fleet)) == {"named": "h100-8b", "found": "h100-8b", "filed": mine}

    def test_the_shipped_scenario_says_it_for_its_own_fleet(self) -> None:
        assert truths(asked()) == {"v1": "l40s-8b"}

    def test_a_scenario_of_ones_own_may_say_that_the_daemon_believes_what_is_not_so(
        self, fleet: Path, tmp_path: Path
    ) -> None:
        told = yaml.safe_load((ROOT / "engine/load/scenarios/calm.yaml").read_text())
        told["stack"]["profile"] = "a10g-8b"
        (tmp_path / "told.yaml").write_text(yaml.safe_dump(told))
        assert set(truths(asked(str(tmp_path / "told.yaml"), fleet)).values()) == {"a10g-8b"}
        del told["stack"]["profile"]
        (tmp_path / "silent.yaml").write_text(yaml.safe_dump(told))
        assert truths(asked(str(tmp_path / "silent.yaml"), fleet))["named"] == "h100-8b"

    def test_a_variant_without_any_profile_is_refused_with_the_remedy(self, fleet: Path) -> None:
        fleet.write_text(fleet.read_text().replace("accelerator: h100", "accelerator: abacus"))
        with pytest.raises(UsageError, match="Set the variant's `profile` to one of these names"):
            truths(asked(fleet=fleet))


def test_the_example_of_the_documentation_has_profiles_that_exist() -> None:
    path = ROOT / "docs/fleet.example.yaml"
    (fleet,) = load_fleets(path)
    found = {variant: profile.name for variant, profile in Profiles(path)(fleet).items()}
    assert found == {"v1": "l40s-8b", "v1-h100": "h100-8b", "v2": "l40s-8b"}


class TestTrafficIsCheckedBeforeAnythingStarts:
    @pytest.mark.parametrize(
        ("content", "said"),
        [
            (b"nonsense\n", "line 1: neither the header of an Azure CSV nor an object of a Mooncake JSONL"),
            (b"", "the trace is empty"),
            (HEADER.encode() + b"2023-11-16 18:15:46,5,5\n", "the trace holds 1 request"),
            (b"\xff\xfeT", "is not UTF-8; save it in that encoding"),
        ],
        ids=["another format", "empty", "one request", "not UTF-8"],
    )
    def test_a_trace_that_is_none(self, tmp_path: Path, content: bytes, said: str) -> None:
        trace = tmp_path / "trace.csv"
        trace.write_bytes(content)
        with pytest.raises(UsageError, match=said):
            asked(trace=trace)

    def test_a_rate_without_a_trace(self) -> None:
        with pytest.raises(UsageError, match="--rate belongs to --trace"):
            asked(rate=2.0)

    def test_a_rate_that_is_none(self, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match="--rate 0: must be above 0"):
            asked(trace=tmp_path / "any", rate=0.0)


def test_real_vllm_is_sent_token_ids_that_the_tiny_vocabulary_has() -> None:
    addresses = Addresses("http://proxy", "http://admin", "http://supervisor", None)
    for engine, scenario, form in (("vllm", "vllm", "ids"), ("simulated", "calm", "words")):
        command = list(load_command(asked(scenario, engine=engine), addresses, "s.yaml", Path("r")))
        assert command[command.index("--prompt") + 1] == form
    ids = {token for number in (0, 10**9, 26**8) for token in json.loads(prompt_json(number, 40, "ids"))}
    assert all(5 <= token < 261 for token in ids), "5 special tokens, then at least the 256 bytes"


def overview(ready: int | None, starting: int, desired: int, draining: int = 0) -> list[dict[str, Any]]:
    variant = {"name": "v1", "ready": ready, "starting": starting, "draining": draining, "desired": desired}
    return [{"name": "llama", "figures": {"variants": [variant]}}]


class TestLinesWithoutATerminal:
    def test_every_change_of_replicas_is_one_line(self) -> None:
        lines = PlainLines()
        seen = [overview(2, 0, 2), overview(2, 0, 2), overview(2, 1, 3), overview(None, 0, 3), overview(2, 0, 2, 1)]
        assert [list(lines.due(100.0 + s, None, fleets)) for s, fleets in enumerate(seen)] == [
            ["    0 s  llama/v1: 2 ready; 2 wanted"],
            [],
            ["    2 s  llama/v1: 2 ready, 1 starting; 3 wanted"],
            ["    3 s  llama/v1: ? ready; 3 wanted"],
            ["    4 s  llama/v1: 2 ready, 1 draining; 2 wanted"],
        ]

    def test_every_15_s_traffic_and_replicas_are_told(self) -> None:
        lines = PlainLines()
        client = {"offered_rps": 4.68, "window_attainment_ratio": 0.991}
        found = [line for s in range(60) for line in lines.due(float(s), client, overview(2, 0, 2))]
        assert found[1] == "   15 s  4.7 requests/s, 99.1% inside the objectives (30 s); llama/v1 2 ready"
        assert [line[:7] for line in found[1:]] == ["   15 s", "   30 s", "   45 s"]

    def test_before_there_is_anything_it_says_so(self) -> None:
        lines = PlainLines()
        found = [*lines.due(0.0, None, []), *lines.due(40.0, None, []), *lines.due(44.0, None, [])]
        assert found == ["   40 s  no traffic; the daemon has not finished its first cycle"]


class Usage(NamedTuple):
    free: int


class TestWhyTheLoadEnded:
    @pytest.fixture
    def log(self, tmp_path: Path) -> Path:
        return tmp_path / "load.log"

    def test_its_own_sentence_is_not_wrapped(self, log: Path) -> None:
        log.write_text('{"type":"stats"}\nerror: trace.csv, line 3: not a request\n')
        assert load_failure(2, log) == "trace.csv, line 3: not a request"

    def test_without_one_the_code_and_the_log_are_named(self, log: Path) -> None:
        log.write_text('{"type":"stats"}\n')
        assert load_failure(137, log) == f"the load generator ended with code 137 (log: {log})"

    def test_a_disk_so_full_that_it_could_not_say_why(self, log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        log.write_text('{"type":"stats"}\n')
        monkeypatch.setattr(shutil, "disk_usage", lambda _path: Usage(0))
        assert load_failure(1, log) == (
            f"the disk that holds {log.parent} is full: free some space, or choose another --run-dir"
        )


def test_decisions_that_the_daemon_lost_are_read_from_its_log(tmp_path: Path) -> None:
    log = tmp_path / "daemon.log"
    assert lost_decisions(log) == 0
    lines = [
        {"event": "listening", "url": "http://127.0.0.1:1"},
        {"event": "decisions lost", "lost": 3, "error": "disk full"},
        {"event": "cycle", "why": "decisions lost"},
        {"event": "decisions lost", "lost": 2, "error": "disk full"},
    ]
    log.write_text("no JSON: decisions lost\n" + "".join(json.dumps(line) + "\n" for line in lines))
    assert lost_decisions(log) == 5
