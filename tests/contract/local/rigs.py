"""The two clusters that the contract is held against: the one in memory, and the supervisor with real processes."""

from __future__ import annotations

import itertools
import os
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import requests

from controller.act.local import LocalReplicaWriter, LocalWeightWriter
from controller.model.fleet import Fleet
from controller.model.snapshot import ReplicaPhase, ScaleTarget
from controller.observe.local import LocalReplicaReader, LocalWeightReader
from controller.ports import ReplicaReader, ReplicaWriter, WeightReader, WeightWriter
from engine.local.config import FleetConfig, LauncherConfig, SupervisorConfig, Times
from engine.local.process import Process
from tests.fakes import FakeCluster

TINY_REPLICA = Path(__file__).parents[2] / "tiny_replica.py"
QUICK = Times(
    probe_s=0.05, load_s=0.1, request_timeout_s=1.0, propagation_s=0.2, grace_s=2.0, backoff_s=0.2, backoff_max_s=0.4
)
WAIT_S = 20.0


def tiny_fleet(name: str = "tiny", *, drain_budget: str = "10s") -> Fleet:
    """A fleet of two versions, that may shrink to nothing."""
    return Fleet.model_validate(
        {
            "metadata": {"name": name, "namespace": "llm"},
            "spec": {
                "modelName": "tiny",
                "host": name,
                "variants": [
                    {
                        "name": version,
                        "scaleTargetRef": {"name": f"{name}-{version}"},
                        "subset": version,
                        "accelerator": "none",
                        "costPerHour": 1.0,
                        "replicas": {"min": 0},
                    }
                    for version in ("v1", "v2")
                ],
                "scaling": {"drainBudget": drain_budget},
            },
        }
    )


def tiny_launcher(*arguments: str) -> LauncherConfig:
    """Replicas that are processes of `tests/tiny_replica.py`."""
    argv = [sys.executable, "-S", str(TINY_REPLICA), "--port", "{port}", *arguments]
    return LauncherConfig(factory="engine.local.launch:CommandLauncher", options={"argv": argv})


def tiny_config(*fleets: FleetConfig, arguments: tuple[str, ...] = (), times: Times = QUICK) -> SupervisorConfig:
    """A supervisor of tiny replicas."""
    return SupervisorConfig(fleets=fleets, launcher=tiny_launcher(*arguments), times=times)


def until(condition: Callable[[], bool], timeout_s: float = WAIT_S) -> None:
    """Wait for a condition of the real world. Fails when it does not come."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.03)


def alive(pid: int) -> bool:
    """Whether the process runs (one that waits to be reaped does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@contextmanager
def supervisor(config: SupervisorConfig, run_dir: Path, *arguments: str) -> Iterator[tuple[str, Process]]:
    """A running supervisor: its URL and its process."""
    run_dir.mkdir(parents=True, exist_ok=True)
    file = run_dir / "supervisor.json"
    file.write_text(config.model_dump_json(by_alias=True))
    argv = [sys.executable, "-m", "engine.local.supervisor", "--config", str(file), "--run-dir", str(run_dir)]
    process = Process("supervisor", [*argv, "--stdin-lifeline", *arguments], run_dir / "supervisor.log")
    address = run_dir / "supervisor.address"
    try:
        until(lambda: address.exists() or process.exit_code() is not None)
        assert address.exists(), process.last_words()
        until(lambda: address.read_text().endswith("\n"))
        yield address.read_text().strip(), process
    finally:
        process.end(10.0)


class Rig(Protocol):
    """A cluster with one fleet of two variants, and hands to make things happen in it."""

    fleet: Fleet
    reader: ReplicaReader
    writer: ReplicaWriter
    weight_reader: WeightReader
    weight_writer: WeightWriter

    def until(self, condition: Callable[[], bool]) -> None:
        """Let time pass until the condition holds."""

    def kill(self, name: str) -> None:
        """Kill a replica's process."""

    def busy(self, name: str) -> None:
        """Give a replica one long request, and wait until its load shows it."""

    def unreachable(self) -> tuple[ReplicaReader, ReplicaWriter, WeightReader, WeightWriter]:
        """Ports of a cluster that does not answer."""


def target_of(rig: Rig, variant: str = "v1") -> ScaleTarget:
    """A target as it is read now."""
    return rig.reader.read([rig.fleet])[rig.fleet.key, variant]


def names(rig: Rig, *phases: ReplicaPhase) -> set[str]:
    """Replicas of v1 that are in one of the phases."""
    return {replica.name for replica in target_of(rig).in_phase(*phases)}


class FakeRig:
    """The cluster in memory."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self.cluster = FakeCluster([fleet], cold_start_s=3.0, drain_s=2.0)
        self.reader = self.writer = self.weight_reader = self.weight_writer = self.cluster

    def until(self, condition: Callable[[], bool]) -> None:
        for _ in range(100):
            if condition():
                return
            self.cluster.advance(self.cluster.now + 0.5)
        raise AssertionError("waited in vain")

    def kill(self, name: str) -> None:
        self.cluster.kill(name)

    def busy(self, name: str) -> None:
        self.cluster.replica(name).load = 1.0

    def unreachable(self) -> tuple[ReplicaReader, ReplicaWriter, WeightReader, WeightWriter]:
        cluster = FakeCluster([self.fleet])
        cluster.unreachable = True
        return cluster, cluster, cluster, cluster


class LocalRig:
    """The supervisor, its adapters and processes that start within a moment."""

    def __init__(self, fleet: Fleet, url: str, run_dir: Path) -> None:
        self.fleet = fleet
        self._run_dir = run_dir
        self._streams: list[requests.Response] = []
        self.reader, self.writer = LocalReplicaReader(url), LocalReplicaWriter(url)
        self.weight_reader, self.weight_writer = LocalWeightReader(url), LocalWeightWriter(url)

    def until(self, condition: Callable[[], bool]) -> None:
        until(condition)

    def kill(self, name: str) -> None:
        os.kill(replica_pid(self._run_dir, name), signal.SIGKILL)

    def busy(self, name: str) -> None:
        replica = next(r for r in target_of(self).replicas if r.name == name)
        url = f"http://{replica.address}/stream?tokens=200&pause=0.05"
        self._streams.append(requests.get(url, stream=True, timeout=5))
        until(lambda: any(r.name == name and r.load == 1 for r in target_of(self).replicas))

    def unreachable(self) -> tuple[ReplicaReader, ReplicaWriter, WeightReader, WeightWriter]:
        nobody = "http://127.0.0.1:9"
        return (
            LocalReplicaReader(nobody, 0.5),
            LocalReplicaWriter(nobody, 0.5),
            LocalWeightReader(nobody, 0.5),
            LocalWeightWriter(nobody, 0.5),
        )

    def close(self) -> None:
        for stream in self._streams:
            stream.close()


def replica_pid(run_dir: Path, name: str) -> int:
    """The newest process of a replica, from the supervisor's log of events."""
    found = re.findall(
        rf'"event": "started", "replica": "{name}", "pid": (\d+)', (run_dir / "events.jsonl").read_text()
    )
    return int(found[-1])


def fleet_names() -> Iterator[str]:
    """Names for as many fleets as tests ask for, of those that the shared supervisor runs."""
    return (f"fleet-{number}" for number in itertools.count(1))
