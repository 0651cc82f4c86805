"""What `governor local` is asked for, and how its parts are told: the supervisor's configuration and command lines."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from controller.errors import UsageError
from controller.model.fleet import Fleet
from controller.observe.fleet_file import load_fleets
from engine.load.scenario import Scenario
from engine.load.scenario_file import load_scenario
from engine.local.config import FleetConfig, LauncherConfig, SupervisorConfig
from engine.local.stack import Addresses
from engine.real.environment import vllm_home

Engine = Literal["simulated", "vllm"]
Policy = Literal["fleet", "slo", "thresholds", "static"]
DEFAULT_SCENARIO: Mapping[Engine, str] = {"simulated": "default", "vllm": "vllm"}
"""A tiny model on the CPU cannot carry the traffic that a simulated GPU can."""
_INITIAL_COLD_START_S = 1.0
"""The fleet that a run begins with need not show a cold start."""


@dataclass(frozen=True, slots=True)
class LocalRun:
    """Everything that one run is made of."""

    scenario: Scenario
    fleet: Fleet
    engine: Engine
    policy: Policy
    trace: Path | None
    rate_rps: float | None
    duration_s: float | None
    seed: int
    page_port: int
    fleet_file: Path | None
    """The user's own, when there is one: profiles named in it are relative to it."""

    @property
    def source(self) -> str:
        """What the traffic is, for people."""
        return f"trace {self.trace.name}" if self.trace else f"scenario {self.scenario.name}"

    @property
    def endless(self) -> bool:
        """Whether the traffic goes on until somebody ends it."""
        return self.duration_s is None and self.trace is None and self.scenario.duration_s is None


def asked_for(
    scenario: str,
    fleet_file: Path | None,
    engine: Engine,
    policy: Policy,
    trace: Path | None,
    rate_rps: float | None,
    duration_s: float | None,
    seed: int | None,
    page_port: int,
) -> LocalRun:
    """Put a run together. Raises UsageError for files that do not fit."""
    found = load_scenario(scenario)
    fleet = found.fleet if fleet_file is None else _only(fleet_file)
    if policy in ("slo", "thresholds"):
        scaling = fleet.spec.scaling.model_copy(update={"policy": policy})
        fleet = fleet.model_copy(update={"spec": fleet.spec.model_copy(update={"scaling": scaling})})
    if trace is not None and not trace.is_file():
        raise UsageError(f"no trace file {trace}: give an Azure CSV or a Mooncake JSONL file, plain or .gz")
    return LocalRun(
        scenario=found,
        fleet=fleet,
        engine=engine,
        policy=policy,
        trace=trace,
        rate_rps=rate_rps,
        duration_s=duration_s,
        seed=found.seed if seed is None else seed,
        page_port=page_port,
        fleet_file=fleet_file,
    )


def _only(path: Path) -> Fleet:
    fleets = load_fleets(path)
    if len(fleets) != 1:
        raise UsageError(f"{path} has {len(fleets)} fleets; the local stack runs one: give a file with one")
    return fleets[0]


def supervisor_config(run: LocalRun) -> SupervisorConfig:
    """What the supervisor runs: replicas of the chosen engine, the first variant with the scenario's start."""
    first = run.fleet.spec.variants[0]
    start = min(run.scenario.stack.start_replicas, first.replicas.max)
    if run.fleet_file is not None:
        start = max(start, first.replicas.min)
    return SupervisorConfig(fleets=(FleetConfig.of(run.fleet, replicas={first.name: start}),), launcher=_launcher(run))


def _launcher(run: LocalRun) -> LauncherConfig:
    stack = run.scenario.stack
    if run.engine == "vllm":
        home = vllm_home()
        home.require_installed()
        seats = {} if stack.max_num_seqs is None else {"max_num_seqs": stack.max_num_seqs}
        return LauncherConfig(factory="engine.real.launcher:RealLauncher", options={"home": str(home.root), **seats})
    arguments = [] if stack.max_num_seqs is None else ["--max-num-seqs", str(stack.max_num_seqs)]
    options: dict[str, Any] = {
        "profiles": {v.name: stack.profile for v in run.fleet.spec.variants},
        "cold_start_s": stack.cold_start,
        "initial_cold_start_s": min(stack.cold_start, _INITIAL_COLD_START_S),
        "arguments": arguments,
        "seed": run.seed,
    }
    return LauncherConfig(options=options)


def write_fleet(run: LocalRun, folder: Path) -> Path:
    """The daemon's fleet file: the user's own where nothing in it was changed, else a new one in the run folder."""
    if run.fleet_file is not None and run.policy in ("fleet", "static"):
        return run.fleet_file
    path = folder / "fleet.yaml"
    document: dict[str, Any] = {"apiVersion": run.fleet.api_version, "kind": run.fleet.kind}
    document |= run.fleet.model_dump(mode="json", by_alias=True, exclude_unset=True)
    path.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
    return path


def daemon_command(
    run: LocalRun, addresses: Addresses, fleet: Path, folder: Path, port: int, client_stats: Path
) -> Sequence[str]:
    """The daemon gets the fleet file and addresses, never the simulator's constants."""
    argv = [sys.executable, "-m", "controller", "run", "--fleet", str(fleet)]
    argv += ["--supervisor", addresses.supervisor, "--state-dir", str(folder / "state"), "--port", str(port)]
    argv += ["--scrape-interval", f"{run.scenario.stack.scrape_interval:g}", "--log-format", "json"]
    argv += ["--client-stats", str(client_stats)]
    if addresses.prometheus:
        argv += ["--prometheus", addresses.prometheus]
    else:
        argv += ["--proxy-admin", addresses.proxy_admin]
    return [*argv, "--dry-run"] if run.policy == "static" else argv


def load_command(run: LocalRun, addresses: Addresses, scenario_file: str, results: Path) -> Sequence[str]:
    """The load generator's command line."""
    argv = [sys.executable, "-m", "engine.load", "--target", addresses.proxy, "--scenario", scenario_file]
    argv += ["--results", str(results), "--seed", str(run.seed), "--model", run.fleet.spec.model_name]
    argv += ["--stdin-lifeline"]
    argv += ["--trace", str(run.trace)] if run.trace else []
    argv += ["--rate", f"{run.rate_rps:g}"] if run.rate_rps is not None else []
    argv += ["--duration", f"{run.duration_s:g}"] if run.duration_s is not None else []
    return argv
