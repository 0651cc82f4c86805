"""`governor local --engine vllm`: the daemon scales real vLLM 1 → 2 → 1 under load, and no request fails.

The rates follow what one replica answers on this machine, measured first, so that the test says the same on a faster
one. States and counts are asserted; times would only say how busy the machine is.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from engine.load.scenario_file import load_scenario
from engine.local.run_dir import logs_dir
from engine.real.launcher import RealLauncher
from tests.vllm.servers import MODEL, Server, served

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(600)]

SCENARIO = "vllm"
MEASURED_S = 8.0
OF_ONE_REPLICA = {"quiet": 0.1, "busy": 1.05, "quiet again": 0.2}
"""Each phase's rate, as a share of what one replica answers with its seats always taken. At 1.05 its queue grows
without end, while two replicas, which slow each other down here, have a seat free at most times. The beginning must be
carried even by a replica as the daemon takes it for before it knows how long requests are."""
LEAST_SHARE = 0.2
"""Of all answers, for each of the two replicas."""
INVALID_RUN = 3
"""Exit code for a host that was too busy to judge latencies on, which this test does not."""


@dataclass(frozen=True, slots=True)
class Run:
    """What a whole run left behind."""

    report: dict[str, Any]
    output: str
    folder: Path
    survivors: list[str]


def _one_replica_rps(server: Server, seats: int, prompt_tokens: int, output_tokens: int) -> float:
    """Requests/s that a server answers with all its seats taken."""
    body: dict[str, object] = {
        "model": MODEL,
        "prompt": [10] * prompt_tokens,
        "max_tokens": output_tokens,
        "ignore_eos": True,
    }
    server.post("/v1/completions", body).raise_for_status()
    begun = time.monotonic()

    def keep_asking(_seat: int) -> int:
        answered = 0
        while time.monotonic() < begun + MEASURED_S:
            server.post("/v1/completions", body).raise_for_status()
            answered += 1
        return answered

    with ThreadPoolExecutor(seats) as pool:
        total = sum(pool.map(keep_asking, range(seats)))
    return total / (time.monotonic() - begun)


def _scaled_scenario(folder: Path) -> Path:
    """The shipped scenario with rates for this machine."""
    shipped = load_scenario(SCENARIO)
    seats = shipped.stack.max_num_seqs or 1
    prompt_tokens, output_tokens = shipped.lengths.pairs()[0]
    with served(RealLauncher(max_num_seqs=seats).command, folder / "measured.log") as server:
        one_rps = _one_replica_rps(server, seats, prompt_tokens, output_tokens)
    document = shipped.model_dump(mode="json", by_alias=True, exclude_unset=True)
    for phase in document["phases"]:
        phase["rps"] = round(OF_ONE_REPLICA[phase["name"]] * one_rps, 3)
    path = folder / "scenario.yaml"
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    return path


def _processes_of(folder: Path, begun: float) -> list[str]:
    """Command lines of processes that the run left: they name its folder, or are engines begun since."""
    time.sleep(1)
    found = []
    for process in psutil.process_iter(["cmdline", "status", "create_time"]):
        argv = " ".join(process.info["cmdline"] or ())
        engine = "VLLM::" in argv and process.info["create_time"] > begun
        if process.info["status"] != psutil.STATUS_ZOMBIE and (str(folder) in argv or engine):
            found.append(argv)
    return found


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The scenario, played once."""
    folder = tmp_path_factory.mktemp("scaling")
    scenario = _scaled_scenario(folder)
    report, run_dir = folder / "report.json", folder / "run"
    argv = [sys.executable, "-m", "controller", "local", "--engine", "vllm", "--scenario", str(scenario)]
    argv += ["--exit", "--json", str(report), "--run-dir", str(run_dir)]
    begun = time.time()
    ended = subprocess.run(argv, capture_output=True, text=True, timeout=540, check=False)
    output = ended.stdout + ended.stderr
    assert ended.returncode in (0, INVALID_RUN), output
    return Run(json.loads(report.read_text()), output, run_dir, _processes_of(run_dir, begun))


def _story(run: Run) -> str:
    """Every change with its reason, and how busy the machine was: a full one can make any run fail."""
    changes = (f"{write['before']} → {write['after']}: {write['sentence']}" for write in run.report["writes"])
    return "\n".join([*changes, f"host: {run.report['host']}"])


def test_it_goes_from_one_replica_to_two_and_back(run: Run) -> None:
    writes = [(write["before"], write["after"]) for write in run.report["writes"]]
    assert writes == [(1, 2), (2, 1)], _story(run)
    assert run.report["replicas"] == {"start": 1, "max": 2, "end": 1}


def test_no_request_fails_and_no_stream_is_cut(run: Run) -> None:
    client = run.report["client"]
    assert client["requests"] > 100
    assert (client["failed"], client["truncated"], client["unanswered"]) == (0, 0, 0)


def test_the_engines_are_real_and_the_second_one_really_adds(run: Run) -> None:
    assert run.report["engine"] == "vllm"
    logs = [path.read_text(errors="replace") for path in sorted(logs_dir(run.folder).glob("vllm-server-v1-*.log"))]
    answered = [log.count('POST /v1/completions HTTP/1.1" 200') for log in logs]
    assert sum(answered) == run.report["client"]["requests"]
    assert len([count for count in answered if count >= LEAST_SHARE * sum(answered)]) == 2, answered


def test_no_process_outlives_the_run(run: Run) -> None:
    assert run.survivors == []
