"""A run whose files cannot grow any further: one sentence, and a report of what there is."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from pathlib import Path

import yaml

LIMIT_BYTES = 16 * 1024
"""Of every file: the journal's first cycles fit, the results of some seconds do not."""


def _small_files() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT_BYTES, LIMIT_BYTES))


def test_a_run_that_the_disk_ends_is_judged_as_far_as_it_went_and_is_not_valid(tmp_path: Path) -> None:
    scenario = yaml.safe_load((Path(__file__).parents[3] / "engine/load/scenarios/calm.yaml").read_text())
    scenario["stack"] |= {"startReplicas": 1, "answerTimeout": "1s"}
    scenario["lengths"] = {"source": "fixed", "promptTokens": 8, "outputTokens": 2}
    scenario["phases"] = [{"name": "much", "kind": "constant", "rps": 30}]
    (tmp_path / "much.yaml").write_text(yaml.safe_dump(scenario))
    argv = [sys.executable, "-m", "controller", "local", "--scenario", str(tmp_path / "much.yaml"), "--exit"]
    argv += ["--no-prometheus", "--port", "0", "--run-dir", str(tmp_path / "run"), "--json", str(tmp_path / "r.json")]

    ended = subprocess.run(argv, preexec_fn=_small_files, capture_output=True, text=True, timeout=90, check=False)

    report = json.loads((tmp_path / "r.json").read_text())
    why = f"{tmp_path}/run/requests.jsonl: cannot write the results: File too large"
    assert ended.returncode == 2
    assert ended.stderr.splitlines()[-1] == f"governor: {why}"
    assert "Traceback" not in ended.stderr
    assert (report["valid"], report["invalid_reasons"][0]) == (False, why)
    assert report["client"]["requests"] > 0
    assert "inside the objectives" in ended.stderr
