"""One stack for all fault tests: slow replicas under full load, Envoy, Prometheus, a daemon that can be swapped."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import requests
import yaml

from controller.cli.local_run import LocalRun, asked_for, daemon_command, load_command, supervisor_config
from controller.model.snapshot import Replica, ReplicaPhase, ScaleTarget
from controller.observe.local import LocalReplicaReader
from engine.load.records import RequestRecord, read_results
from engine.local.config import LauncherConfig
from engine.local.files import replace_json
from engine.local.ports import free_port
from engine.local.stack import LocalStack, StackOptions
from tests.live.cases import write_yaml
from tests.live.journals import Cycle, cycles

_HERE = Path(__file__).parent
SCENARIO = _HERE / "slow-fleet.yaml"
CARD = _HERE / "slow-card.yaml"
PRIOR_RATIO = 0.9
"""What the daemon believes at first, relative to the truth."""
SETTLED_S = 28.0


class FaultRig:
    """The parts, and hands to break them."""

    def __init__(self, stack: LocalStack, run: LocalRun, fleet_file: Path, stuck: Path) -> None:
        self.stack = stack
        self.stuck = stuck
        self._run = run
        self._fleet_file = fleet_file
        self._document: dict[str, Any] = yaml.safe_load(fleet_file.read_text())
        self.page = ""
        self.state = Path()
        self.clock_offset_s = 0.0

    def start_daemon(self, state: str, *options: str, prometheus: str | None = None, offset_s: float = 0.0) -> None:
        """Start a daemon with a state folder of its own, in place of the one before."""
        if self.page:
            self.stack.suspend("daemon")
        port = free_port()
        self.page, self.state = f"http://127.0.0.1:{port}", self.stack.run_dir / state
        self.clock_offset_s = offset_s
        folder, log = self.stack.run_dir, self.stack.log("load")
        argv = [*daemon_command(self._run, self.stack.addresses, self._fleet_file, folder, port, log), *options]
        argv += ["--state-dir", str(self.state), "--clock-offset", f"{offset_s:g}"]
        argv += ["--prometheus", prometheus] if prometheus else []
        self.stack.start_daemon(argv, ready_url=f"{self.page}/healthz")

    def start_load(self) -> None:
        self.stack.start_load(load_command(self._run, self.stack.addresses, str(SCENARIO), self.results))

    @property
    def results(self) -> Path:
        return self.stack.run_dir / "requests.jsonl"

    def requests(self) -> Sequence[RequestRecord]:
        """What became of the requests so far."""
        return read_results(self.results).requests

    def change_fleet(self, **replicas: int) -> None:
        """Edit the Fleet as its owner would: min and max of its variant."""
        self._document["spec"]["variants"][0]["replicas"].update(replicas)
        fresh = write_yaml(self._fleet_file.with_suffix(".new"), self._document)
        fresh.replace(self._fleet_file)

    def cycles(self, since: float) -> list[Cycle]:
        """Journalled cycles since an instant of this machine's clock."""
        return cycles(self.state / "journal", since + self.clock_offset_s)

    def target(self) -> ScaleTarget:
        """The replicas as the cluster has them."""
        reader = LocalReplicaReader(self.stack.addresses.supervisor)
        return reader.read([self._run.fleet])[self._run.fleet.key, "v1"]

    def ready(self) -> tuple[Replica, ...]:
        return self.target().in_phase(ReplicaPhase.READY)

    def order_fault(self, replica: Replica, **order: str) -> None:
        """Switch a fault of a replica on or off."""
        requests.post(f"http://{replica.address}/faults", json=order, timeout=5).raise_for_status()

    @contextmanager
    def scraped_twice(self, replica: Replica) -> Iterator[None]:
        """While it lasts, Prometheus has every series of a replica twice, as by a second job that finds it too."""
        targets = self.stack.run_dir / "prometheus" / "targets.json"
        once = json.loads(targets.read_text())
        again = next(entry for entry in once if entry["targets"] == [replica.address])
        again = {**again, "labels": {**again["labels"], "job": "vllm-again"}}
        replace_json(targets, [*once, again])
        try:
            yield
        finally:
            replace_json(targets, once)

    def overview(self) -> dict[str, Any]:
        found: dict[str, Any] = requests.get(f"{self.page}/api/v1/fleets", timeout=5).json()
        return found

    def wait_for_cycle(self, since: float, wanted: Callable[[Cycle], bool], timeout_s: float, what: str) -> Cycle:
        """The first cycle since then that is as wanted. Fails with the newest decision when it does not come."""
        deadline = time.monotonic() + timeout_s
        while True:
            self.stack.check()
            found = self.cycles(since)
            for cycle in found:
                if wanted(cycle):
                    return cycle
            last = f"{found[-1].decision.sentence} | {found[-1].metrics.message}" if found else "no cycle"
            assert time.monotonic() < deadline, f"waited {timeout_s:g} s for {what}; last: {last}"
            time.sleep(0.5)

    def settle(self, timeout_s: float) -> None:
        """Wait until the fleet has been left alone for a while, on fresh readings: what moves now moves for a cause."""
        deadline = time.monotonic() + timeout_s
        while True:
            found = self.cycles(time.time() - SETTLED_S)
            long_enough = found and found[-1].at - found[0].at > SETTLED_S - 8
            if long_enough and all(c.fresh and not c.writes and c.desired == c.ready for c in found):
                return
            assert time.monotonic() < deadline, f"not settled: {[c.decision.sentence for c in found[-3:]]}"
            time.sleep(1)

    def wait_for_starting(self, count: int, timeout_s: float = 15.0) -> tuple[Replica, ...]:
        """The starting replicas, once there are so many and their processes have begun."""
        deadline = time.monotonic() + timeout_s
        while len(found := self.target().in_phase(ReplicaPhase.STARTING)) != count:
            assert time.monotonic() < deadline, f"{len(found)} replicas are starting, not {count}"
            time.sleep(0.1)
        time.sleep(0.5)
        return found

    def wait_for_ready_without(self, gone: Replica, count: int, timeout_s: float) -> set[str]:
        """The names of the ready replicas, once there are so many without one that has died."""
        deadline = time.monotonic() + timeout_s
        while gone.name in (names := {replica.name for replica in self.ready()}) or len(names) < count:
            assert time.monotonic() < deadline, f"ready are {sorted(names)}, not {count} without {gone.name}"
            time.sleep(0.2)
        return names

    def daemon_process(self) -> psutil.Process:
        """The daemon itself, below its tether."""
        (child,) = psutil.Process(self.stack.pid("daemon")).children()
        return child

    def replica_process(self, replica: Replica) -> psutil.Process:
        """The replica itself, below its tether."""
        port = replica.address.rpartition(":")[2]
        for process in psutil.Process(self.stack.pid("supervisor")).children(recursive=True):
            argv = process.cmdline()
            if "engine.serve" in argv and port in argv and "tether.py" not in " ".join(argv[:4]):
                return process
        raise AssertionError(f"no process serves {replica.address}")


@contextmanager
def fault_rig(folder: Path) -> Iterator[FaultRig]:
    """The stack with its first replicas ready; no daemon and no load yet."""
    prior = yaml.safe_load(CARD.read_text())
    prior["step"] = {term: value * PRIOR_RATIO for term, value in prior["step"].items()}
    write_yaml(folder / "prior.yaml", prior)
    scenario = yaml.safe_load(SCENARIO.read_text())
    fleet_file = write_yaml(folder / "fleet.yaml", scenario["fleet"])
    run = asked_for(str(SCENARIO), fleet_file, "simulated", "fleet", None, None, None, None, 0)
    config = supervisor_config(run)
    options = {**config.launcher.options, "profiles": {"v1": str(CARD)}, "stuck": str(folder / "stuck")}
    launcher = LauncherConfig(factory="tests.live.launchers:SwitchedLauncher", options=options)
    stack_options = StackOptions(run_dir=folder / "run", scrape_interval_s=run.scenario.stack.scrape_interval)
    with LocalStack(config.model_copy(update={"launcher": launcher}), stack_options) as stack:
        stack.wait_until_ready(30)
        yield FaultRig(stack, run, fleet_file, folder / "stuck")
