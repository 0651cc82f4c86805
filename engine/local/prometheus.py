"""A real Prometheus that scrapes the replicas and Envoy, where its binary is found.

Replicas come from a file of targets that the supervisor keeps in step: READY and DRAINING ones, labelled
`namespace`, `fleet`, `variant` and `pod`, under the job `vllm`. A replica that ended is gone with its first failed
scrape, for Prometheus then marks its series stale. Envoy's cluster statistics are the job `envoy`.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import yaml

from controller.model.snapshot import ReplicaPhase
from engine.local.files import replace_json, replace_text
from engine.local.ports import LOOPBACK
from engine.local.state import FleetState

_SOON = "--scrape.discovery-reload-interval=1s"
"""A hidden flag of Prometheus 2.27 and later: take over changed targets after 1 s, not 5 s."""
_RETENTION = "6h"
_SCRAPED = (ReplicaPhase.READY, ReplicaPhase.DRAINING)
_ENVOY_STATS = r"^cluster\..*(upstream_cx_none_healthy|upstream_rq_(total|active|\dxx)|membership_healthy)"
"""Of Envoy's hundreds of series per cluster, those that anybody asks for."""


def prometheus_binary() -> str | None:
    """Where Prometheus is; None where it is not installed."""
    return shutil.which("prometheus")


def write_prometheus_config(folder: Path, targets: Path, envoy_admin_port: int, scrape_interval_s: float) -> Path:
    """Write Prometheus's configuration into a folder, and an empty file of targets. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    replace_json(targets, [])
    interval = f"{round(scrape_interval_s * 1000)}ms"
    config = {
        "global": {"scrape_interval": interval, "scrape_timeout": interval, "evaluation_interval": "1m"},
        "scrape_configs": [
            {"job_name": "vllm", "file_sd_configs": [{"files": [str(targets.resolve())], "refresh_interval": "5s"}]},
            {
                "job_name": "envoy",
                "metrics_path": "/stats/prometheus",
                "params": {"filter": [_ENVOY_STATS]},
                "static_configs": [{"targets": [f"{LOOPBACK}:{envoy_admin_port}"]}],
            },
        ],
    }
    path = folder / "prometheus.yaml"
    replace_text(path, yaml.safe_dump(config, sort_keys=False))
    return path


def _has_soon(binary: str) -> bool:
    """Whether this Prometheus knows the flag; one that does not would refuse to start."""
    try:
        asked = subprocess.run([binary, _SOON, "--version"], capture_output=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return asked.returncode == 0


def prometheus_command(binary: str, config: Path, port: int) -> tuple[str, ...]:
    """The command line of a Prometheus on loopback with its store beside its configuration."""
    return (
        binary,
        f"--config.file={config}",
        f"--storage.tsdb.path={config.parent / 'store'}",
        f"--storage.tsdb.retention.time={_RETENTION}",
        f"--web.listen-address={LOOPBACK}:{port}",
        "--log.level=warn",
        *((_SOON,) if _has_soon(binary) else ()),
    )


class PrometheusTargets:
    """The file of targets. A `ClusterView`: `publish` keeps it in step."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def publish(self, fleets: Sequence[FleetState]) -> None:
        """Write the replicas there are to scrape. Raises OSError."""
        replace_json(self._path, [entry for fleet in fleets for entry in _entries(fleet)])


def _entries(fleet: FleetState) -> list[dict[str, object]]:
    return [
        {
            "targets": [replica.address],
            "labels": {
                "namespace": fleet.config.namespace,
                "fleet": fleet.config.name,
                "variant": name,
                "pod": replica.name,
            },
        }
        for name, variant in fleet.variants.items()
        for replica in variant.replicas
        if replica.phase in _SCRAPED and replica.ready_at is not None
    ]
