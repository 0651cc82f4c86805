"""A real Prometheus whose store is filled beforehand, with samples that reach into the near future.

Prometheus reads blocks of any time. Their samples are therefore laid around the moment at which the ticks are
going to run, which is told in advance by timing a small part of the work.
"""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import psutil

from engine.local.process import Process
from tests.bench.series import Shape, write_openmetrics

Progress = Callable[[str, float | None], None]
"""What is being done, and the share that is done (0-1; None: not known)."""

_PROBE_FLEETS = 20
_SLACK = 1.5
"""The whole may take so much longer than the probe told."""
_STARTS_S = 25.0
"""Prometheus and the daemon start, and the daemon reads its fleets."""
_BLOCK_S = 2 * 3600
_FILL_MAX_S = 300.0


class BenchError(Exception):
    """Why there is no result, and what to do about it, in one sentence."""


@dataclass(frozen=True, slots=True)
class Plan:
    """When the ticks may run (UTC seconds): the store has a full window behind every instant between."""

    shape: Shape
    from_s: float
    until_s: float


def planned(folder: Path, fleets: int, pods: int, run_s: float, window_s: float) -> Plan:
    """Lay the samples around the time at which a store of this size will be ready. Times a part of the work."""
    now = int(time.time())
    before_s = round(window_s) + 45
    size = Shape(fleets, pods, now, now + before_s + round(run_s))
    probe = replace(size, fleets=min(fleets, _PROBE_FLEETS))
    began = time.monotonic()
    _fill(probe, folder / "probe", lambda _what, _share: None)
    each_s = (time.monotonic() - began) / probe.samples
    blocks = 1 + (size.end_s + 60) // _BLOCK_S - size.start_s // _BLOCK_S
    from_s = now + _STARTS_S + _SLACK * blocks * each_s * size.samples + fleets * 0.01
    shape = replace(size, start_s=round(from_s) - before_s, end_s=round(from_s + run_s))
    return Plan(shape, from_s, shape.end_s)


def _fill(shape: Shape, folder: Path, progress: Progress) -> Path:
    """The store of this shape. Raises BenchError."""
    folder.mkdir()
    text, store = folder / "series.om", folder / "store"
    with text.open("w", encoding="utf-8") as out:
        for share in write_openmetrics(shape, out):
            progress(f"writing {shape.samples:,} samples", share)
    progress("promtool makes blocks of them", None)
    command = [_binary("promtool"), "tsdb", "create-blocks-from", "openmetrics", "--quiet", str(text), str(store)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_FILL_MAX_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise BenchError(f"promtool took more than {_FILL_MAX_S:.0f} s: give fewer --fleets") from error
    if done.returncode:
        raise BenchError(f"promtool refuses the series: {done.stderr.strip()[-300:]}")
    text.unlink()
    return store


def _binary(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise BenchError(f"{name} is not installed: apt-get install prometheus")
    return found


class Store:
    """A running Prometheus, and what it has cost so far."""

    def __init__(self, port: int, tether_pid: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        (self._process,) = psutil.Process(tether_pid).children()
        self.pid = self._process.pid

    def cpu_s(self) -> float:
        """CPU seconds of its process."""
        times = self._process.cpu_times()
        return float(times.user + times.system)

    def rss_mb(self) -> float:
        """Its resident memory."""
        return float(self._process.memory_info().rss) / 2**20

    def queries(self) -> int:
        """HTTP requests that its query API has answered, by its own count."""
        with urllib.request.urlopen(f"{self.url}/metrics", timeout=10) as answer:
            page = answer.read().decode()
        found = re.findall(r'^prometheus_http_requests_total\{.*handler="/api/v1/query".*\} (\S+)$', page, re.MULTILINE)
        return round(sum(map(float, found)))


@contextmanager
def filled(plan: Plan, folder: Path, progress: Progress) -> Iterator[Store]:
    """A Prometheus that has the planned series, for the length of a block. Raises BenchError."""
    store = _fill(plan.shape, folder / "whole", progress)
    config = folder / "prometheus.yaml"
    config.write_text("global: {scrape_interval: 1m}\n", encoding="utf-8")
    port = _free_port()
    command = [
        _binary("prometheus"),
        f"--config.file={config}",
        f"--storage.tsdb.path={store}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--log.level=warn",
    ]
    process = Process("prometheus", command, folder / "prometheus.log")
    try:
        progress("Prometheus starts", None)
        _await_ready(f"http://127.0.0.1:{port}/-/ready", process)
        yield Store(port, process.pid)
    finally:
        process.end(0.0)


def _await_ready(url: str, process: Process) -> None:
    ends_at = time.monotonic() + 120
    while time.monotonic() < ends_at:
        with suppress(OSError), urllib.request.urlopen(url, timeout=1) as answer:
            if answer.status == 200:
                return
        if process.exit_code() is not None:
            raise BenchError(f"Prometheus ended at its start: {process.last_words()}")
        time.sleep(0.1)
    raise BenchError("Prometheus was not ready within two minutes")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
