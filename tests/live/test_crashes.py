"""The daemon killed with -9 before and after every side effect of an episode: the fleet ends where it would have ended.

An episode: two replicas, a queue that calls for a third, silence that sends it away, each held on until a daemon that
had forgotten its last order would have given another one. First it runs undisturbed, and its side effects are noted;
then once for each of them and each side, killed there, and started again by nobody's leave.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests

from controller.model.fleet import Fleet
from controller.model.snapshot import Replica, ReplicaPhase, ScaleTarget
from controller.observe.local import LocalReplicaReader
from controller.plan import plan
from controller.record.memory import MemoryFile
from controller.record.replaying import replay
from engine.local.config import FleetConfig, LauncherConfig, SupervisorConfig
from tests.contract.local.rigs import QUICK, supervisor
from tests.live.cases import write_yaml
from tests.live.figures import say
from tests.live.local_runs import Runs

EFFECTS = (
    *("start/save", "start/append"),
    *("quiet-1/save", "quiet-1/append"),
    *("up/save", "up/append", "up/scale", "up/outcomes"),
    *("quiet-2/save", "quiet-2/append"),
    *("down/save", "down/append", "down/scale", "down/outcomes"),
    *("quiet-3/save", "quiet-3/append"),
)
POINTS = tuple(f"{effect}:{side}" for effect in EFFECTS for side in ("before", "after"))
UNDISTURBED = "undisturbed"
COOL_DOWN_S = 8.0
AT_ONCE = 8
TIMES = QUICK.model_copy(update={"load_s": 1.0})
"""Some seventy replicas are watched."""
_TOLD = Path(__file__).with_name("told_replica.py")
_PATIENCE_S = 40.0


def fleet_document(name: str) -> dict[str, Any]:
    """A fleet on the operator's rule, quick enough for a test."""
    return {
        "apiVersion": "governor.dev/v1alpha1",
        "kind": "Fleet",
        "metadata": {"name": name, "namespace": "llm"},
        "spec": {
            "modelName": name,
            "host": name,
            "variants": [
                {
                    "name": "v1",
                    "scaleTargetRef": {"name": name},
                    "subset": "v1",
                    "accelerator": "l40s",
                    "profile": "l40s-8b",
                    "costPerHour": 1.0,
                    "replicas": {"min": 1, "max": 4},
                }
            ],
            "scaling": {
                "policy": "thresholds",
                "coldStart": "1s",
                "stabilization": {"down": "0s"},
                "thresholds": {"cooldown": f"{COOL_DOWN_S:g}s"},
            },
        },
    }


@dataclass(frozen=True, slots=True)
class World:
    """The supervisor that owns the replicas of all fleets."""

    folder: Path
    url: str

    def orders(self, fleet: str) -> list[tuple[int, int]]:
        """Every order that reached the supervisor for a fleet: (before, after)."""
        lines = (self.folder / "replicas.jsonl").read_text().split("\n")[:-1]
        rows = [json.loads(line) for line in lines if '"scaled"' in line]
        return [(row["before"], row["after"]) for row in rows if row["fleet"] == f"llm/{fleet}"]

    def target(self, fleet: str) -> ScaleTarget:
        known = Fleet.model_validate(fleet_document(fleet))
        return LocalReplicaReader(self.url).read([known])[known.key, "v1"]

    def tell(self, replicas: tuple[Replica, ...], **values: float) -> None:
        for replica in replicas:
            requests.get(f"http://{replica.address}/told", params=values, timeout=5).raise_for_status()

    def processes(self, fleet: str) -> int:
        """How many processes serve a fleet now."""
        (root,) = [p for p in psutil.process_iter(["cmdline"]) if _is_supervisor(p.info["cmdline"], self.folder)]
        children = root.children(recursive=True)
        return sum(fleet in argv and "tether.py" not in " ".join(argv) for argv in map(_argv, children))


def _is_supervisor(argv: list[str] | None, folder: Path) -> bool:
    return argv is not None and str(folder) in argv and "tether.py" not in " ".join(argv)


def _argv(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.NoSuchProcess:
        return []


@dataclass(frozen=True, slots=True)
class Ending:
    """Where an episode ended."""

    orders: list[tuple[int, int]]
    desired: int
    replicas: list[tuple[str, ReplicaPhase]]
    processes: int


class Daemon:
    """The killable daemon of one episode, started again after each death."""

    def __init__(self, folder: Path, world: World, fleet: str, kill: str) -> None:
        self.folder = folder
        self.deaths = 0
        self._effects = folder / "effects"
        file = write_yaml(folder / "fleet.yaml", fleet_document(fleet))
        module = ["nice", "-n", "10", sys.executable, "-m", "tests.live.killable_daemon"]
        paths = ["--fleet", str(file), "--state-dir", str(folder / "state"), "--effects", str(self._effects)]
        self._argv = [*module, *paths, "--supervisor", world.url]
        self._process = self._start("--kill", kill)

    def _start(self, *more: str) -> subprocess.Popen[bytes]:
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen([*self._argv, *more], stdout=log, stderr=subprocess.STDOUT)

    def effects(self) -> list[str]:
        return self._effects.read_text().splitlines() if self._effects.exists() else []

    def keep(self) -> None:
        """Start it again if it died."""
        code = self._process.poll()
        if code is not None:
            assert code == -signal.SIGKILL, (self.folder / "log").read_text()[-2000:]
            self.deaths += 1
            self._process = self._start()

    def until(self, condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + _PATIENCE_S
        while not condition():
            assert time.monotonic() < deadline, f"waited in vain for {what}"
            self.keep()
            time.sleep(0.1)

    def during(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        self.until(lambda: time.monotonic() >= end, "time to pass")

    def stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


@contextmanager
def daemon(folder: Path, world: World, fleet: str, kill: str) -> Iterator[Daemon]:
    found = Daemon(folder, world, fleet, kill)
    try:
        yield found
    finally:
        found.stop()


def episode(world: World, fleet: str, kill: str) -> Ending:
    """Live through one, killed at `kill`; where it ends. Fails when it does not die there, or leaves broken files."""
    folder = world.folder / "episodes" / fleet
    folder.mkdir(parents=True)
    with daemon(folder, world, fleet, kill) as one:
        first = world.target(fleet).replicas
        one.until(lambda: any(line.startswith("quiet") for line in one.effects()), "its first cycles")
        one.during(2.5)
        world.tell(first[:1], waiting=90)
        one.until(lambda: (2, 3) in world.orders(fleet), "the order to grow")
        one.during(COOL_DOWN_S - 3)
        world.tell(world.target(fleet).replicas, waiting=0, running=0, gpu=10)
        one.until(lambda: (3, 2) in world.orders(fleet), "the order to shrink")
        one.during(COOL_DOWN_S - 4)
        world.tell(world.target(fleet).in_phase(ReplicaPhase.READY), gpu=50)
        one.during(1.5)
        assert one.deaths == (kill != UNDISTURBED), f"died {one.deaths} times"
    assert replay(folder / "state" / "journal", plan).different == 0
    assert f"llm/{fleet}" in MemoryFile(folder / "state" / "memory.json").load()
    target = world.target(fleet)
    replicas = sorted((r.name.removeprefix(fleet), r.phase) for r in target.replicas)
    return Ending(world.orders(fleet), target.desired, replicas, world.processes(fleet))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, beside: Runs) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("crashes")
    fleets = [Fleet.model_validate(fleet_document(name)) for name in (UNDISTURBED, *map(fleet_of, POINTS))]
    argv = [sys.executable, "-S", str(_TOLD), "--port", "{port}", "--model", "{model}", "--ready-after", "1"]
    launcher = LauncherConfig(factory="engine.local.launch:CommandLauncher", options={"argv": argv})
    config = SupervisorConfig(
        fleets=tuple(FleetConfig.of(fleet, replicas={"v1": 2}) for fleet in fleets), launcher=launcher, times=TIMES
    )
    with supervisor(config, folder) as (url, _):
        found = World(folder, url)
        deadline = time.monotonic() + 60
        while any(found.target(fleet.metadata.name).ready < 2 for fleet in fleets):
            assert time.monotonic() < deadline, "the first replicas did not become ready"
            time.sleep(0.5)
        yield found


def fleet_of(point: str) -> str:
    return "at-" + point.replace("/", "-").replace(":", "-")


@pytest.fixture(scope="module")
def undisturbed(world: World) -> Ending:
    return episode(world, UNDISTURBED, UNDISTURBED)


def test_an_undisturbed_episode_grows_and_shrinks_once_and_has_these_side_effects(
    world: World, undisturbed: Ending
) -> None:
    noted = (world.folder / "episodes" / UNDISTURBED / "effects").read_text().splitlines()

    assert undisturbed.orders == [(2, 3), (3, 2)]
    assert undisturbed.replicas == [("-1", ReplicaPhase.READY), ("-2", ReplicaPhase.READY)]
    assert undisturbed.processes == undisturbed.desired == 2
    assert tuple(dict.fromkeys(noted)) == EFFECTS


def test_killed_before_or_after_any_side_effect_the_fleet_ends_as_if_undisturbed(
    world: World, undisturbed: Ending
) -> None:
    def outcome(point: str) -> str:
        try:
            ending = episode(world, fleet_of(point), point)
        except AssertionError as failure:
            return f"{point}: {failure}"
        return "" if ending == undisturbed else f"{point}: {ending}"

    begun = time.monotonic()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        failures = [text for text in pool.map(outcome, POINTS) if text]

    say(
        f"kill -9 at {len(POINTS)} points of an episode: {len(failures)} ended otherwise "
        f"({time.monotonic() - begun:.0f} s)"
    )
    assert not failures, "\n".join([str(undisturbed), *failures])
