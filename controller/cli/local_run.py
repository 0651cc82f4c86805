"""What `governor local` is asked for, and how its parts are told: the supervisor's configuration and command lines."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import yaml

from controller.cli.local_options import Engine, Policy
from controller.errors import UsageError
from controller.model.fleet import Fleet, Variant
from controller.observe.fleet_file import load_fleets
from engine.load.rate import extent
from engine.load.scenario import Scenario
from engine.load.scenario_file import load_scenario, shipped_scenarios
from engine.load.traces import Trace
from engine.local.config import FleetConfig, LauncherConfig, SupervisorConfig
from engine.local.stack import Addresses
from engine.profile_files import find_profile
from engine.real.environment import vllm_home

DEFAULT_SCENARIO: Mapping[Engine, str] = {"simulated": "default", "vllm": "vllm"}
"""A tiny model on the CPU cannot carry the traffic that a simulated GPU can."""
_INITIAL_COLD_START_S = 1.0
"""The fleet that a run begins with need not show a cold start."""
_LOOKED_AT = 1000
"""Requests of a trace that are read before anything is started."""


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
    own_scenario: bool = False
    """Whether the scenario is a file of the user's own."""

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
    _check_trace(trace, rate_rps, seed or 0)
    found = load_scenario(scenario)
    fleet = found.fleet if fleet_file is None else _only(fleet_file)
    if policy in ("slo", "thresholds"):
        scaling = fleet.spec.scaling.model_copy(update={"policy": policy})
        fleet = fleet.model_copy(update={"spec": fleet.spec.model_copy(update={"scaling": scaling})})
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
        own_scenario=scenario not in shipped_scenarios(),
    )


def _check_trace(trace: Path | None, rate_rps: float | None, seed: int) -> None:
    """Raises UsageError for a trace whose beginning holds no traffic, and for a rate that is none or nobody's."""
    if rate_rps is not None and trace is None:
        raise UsageError("--rate belongs to --trace; a scenario has rates of its own")
    if rate_rps is not None and not 0 < rate_rps < float("inf"):
        raise UsageError(f"--rate {rate_rps:g}: must be above 0")
    if trace is None:
        return
    if not trace.is_file():
        raise UsageError(f"no trace file {trace}: give an Azure CSV or a Mooncake JSONL file, plain or .gz")
    begun = list(islice(Trace(trace, seed), _LOOKED_AT))
    if len(begun) < _LOOKED_AT:
        try:
            extent(begun)
        except UsageError as error:
            raise UsageError(f"{trace}: {error}") from error


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
        "profiles": dict(truths(run)),
        "cold_start_s": stack.cold_start,
        "initial_cold_start_s": min(stack.cold_start, _INITIAL_COLD_START_S),
        "arguments": arguments,
        "seed": run.seed,
    }
    return LauncherConfig(options=options)


def truths(run: LocalRun) -> Mapping[str, str]:
    """Name or path of the profile that the simulated replicas of each variant obey, by the variant's name.

    Each variant's own where the user brought the Fleet: by its `profile`, else by model and accelerator. The
    scenario's for all where the Fleet is the scenario's, or where a scenario of the user's own says the truth itself:
    so a daemon is shown that believes what is not so. Raises UsageError where no profile fits.
    """
    stack = run.scenario.stack
    told = run.own_scenario and "profile" in stack.model_fields_set
    if run.fleet_file is None or told:
        return {v.name: stack.profile for v in run.fleet.spec.variants}
    folder = run.fleet_file if run.fleet_file.is_dir() else run.fleet_file.parent
    return {v.name: _own_truth(v, run.fleet.spec.model_name, folder) for v in run.fleet.spec.variants}


def _own_truth(variant: Variant, model: str, folder: Path) -> str:
    if variant.profile is None:
        return find_profile(model, variant.accelerator).name
    path = (folder / variant.profile).resolve()
    return str(path) if path.is_file() else variant.profile


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
    # The tiny model's vocabulary has no words: only token ids have the length that was asked for.
    argv += ["--prompt", "ids" if run.engine == "vllm" else "words", "--stdin-lifeline"]
    argv += ["--trace", str(run.trace)] if run.trace else []
    argv += ["--rate", f"{run.rate_rps:g}"] if run.rate_rps is not None else []
    argv += ["--duration", f"{run.duration_s:g}"] if run.duration_s is not None else []
    return argv
