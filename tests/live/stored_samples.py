"""What a run's Prometheus has stored, asked for while it still lives."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import psutil
import requests

Samples = list[tuple[float, float]]


def prometheus_of(run_dir: Path) -> str:
    """The address of the Prometheus of a run, from its command line."""
    for process in psutil.process_iter(["name", "cmdline"]):
        argv = process.info["cmdline"] or []
        if process.info["name"] == "prometheus" and any(str(run_dir) in part for part in argv):
            listens = next(part for part in argv if part.startswith("--web.listen-address="))
            return f"http://{listens.partition('=')[2]}"
    raise AssertionError(f"no Prometheus runs in {run_dir}")


def elapsed_s(run_dir: Path) -> float:
    """Seconds of traffic so far, from the last whole line of the generator's log."""
    log = run_dir / "logs" / "load.log"
    lines = log.read_text().split("\n")[:-1] if log.exists() else []
    return float(json.loads(lines[-1]).get("elapsed_s", 0.0)) if lines else 0.0


def in_flight(prometheus: str, window_s: float) -> Samples:
    """(stored at, running + waiting of the fleet) at every instant at which a sample of either was stored."""
    query = f'{{__name__=~"vllm:num_requests_(running|waiting)"}}[{window_s:.0f}s]'
    answer = requests.get(f"{prometheus}/api/v1/query", params={"query": query}, timeout=5).json()
    series: list[dict[str, Any]] = answer["data"]["result"]
    instants = sorted({at for one in series for at, _ in one["values"]})
    return [(at, sum(_value(one["values"], at) for one in series)) for at in instants]


def _value(values: list[tuple[float, str]], at: float) -> float:
    """The newest stored value at an instant; 0 before the first."""
    return next((float(text) for stored_at, text in reversed(values) if stored_at <= at), 0.0)


def first_above(samples: Samples, step_at: float, ratio: float, before_s: float = 60.0) -> float:
    """When the first sample since the step was stored that exceeds `ratio` x the maximum of the time before it."""
    most = max(value for at, value in samples if step_at - before_s <= at < step_at)
    return next(at for at, value in samples if at >= step_at and value > ratio * most)
