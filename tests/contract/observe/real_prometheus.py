"""A real Prometheus on a free port of loopback, scraping every second what a file of targets names."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import yaml

Target = tuple[str, dict[str, str]]
"""(host:port, labels)."""


class RealPrometheus:
    """A running Prometheus and its file of targets by job."""

    def __init__(self, folder: Path, jobs: tuple[str, ...]) -> None:
        binary = shutil.which("prometheus")
        assert binary, "the Debian package prometheus is needed: apt-get install prometheus"
        self._folder = folder
        self.port = _free_port()
        for job in jobs:
            self.targets(job, [])
        config = folder / "prometheus.yaml"
        config.write_text(yaml.safe_dump(self._config(jobs)))
        self._process = subprocess.Popen(
            [
                binary,
                f"--config.file={config}",
                f"--storage.tsdb.path={folder / 'store'}",
                f"--web.listen-address=127.0.0.1:{self.port}",
                "--scrape.discovery-reload-interval=1s",
                "--log.level=error",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._wait_ready()

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    def targets(self, job: str, targets: list[Target]) -> None:
        """What a job scrapes from now on."""
        path = self._folder / f"{job}.json"
        new = path.with_suffix(".new")
        new.write_text(json.dumps([{"targets": [address], "labels": labels} for address, labels in targets]))
        new.replace(path)

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()
        self._process.wait()

    def _config(self, jobs: tuple[str, ...]) -> dict[str, object]:
        scrapes = [
            {
                "job_name": job,
                "metrics_path": "/stats/prometheus" if job == "envoy" else "/metrics",
                "file_sd_configs": [{"files": [str(self._folder / f"{job}.json")], "refresh_interval": "1s"}],
            }
            for job in jobs
        ]
        return {"global": {"scrape_interval": "1s", "scrape_timeout": "900ms"}, "scrape_configs": scrapes}

    def _wait_ready(self) -> None:
        for _ in range(200):
            with contextlib.suppress(OSError), urllib.request.urlopen(f"{self.url}/-/ready", timeout=1) as answer:
                if answer.status == 200:
                    return
            assert self._process.poll() is None, "Prometheus ended at its start"
            time.sleep(0.1)
        raise AssertionError("Prometheus did not get ready")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def prometheus(folder: Path, jobs: tuple[str, ...] = ("vllm",)) -> Iterator[RealPrometheus]:
    """A Prometheus for the length of a block."""
    folder.mkdir(parents=True, exist_ok=True)
    server = RealPrometheus(folder, jobs)
    try:
        yield server
    finally:
        server.kill()


__all__ = ["RealPrometheus", "Target", "prometheus"]
