"""`governor local`: the whole system on this machine, live in the terminal and in the browser."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import requests
import typer
from rich.console import Console
from rich.live import Live

from controller.cli.compose import Profiles
from controller.cli.local_report import report_of
from controller.cli.local_run import (
    DEFAULT_SCENARIO,
    Engine,
    LocalRun,
    Policy,
    asked_for,
    daemon_command,
    load_command,
    supervisor_config,
    write_fleet,
)
from controller.cli.local_view import live_table, summary
from controller.errors import PermanentError, UsageError
from controller.record.api import client_figures
from controller.settings import Settings
from engine.load.report import Report
from engine.local.ports import chosen_port, is_free
from engine.local.run_dir import RUNS
from engine.local.stack import LocalStack, StackOptions

INVALID_RUN = 3
"""Exit code of a run that the host was too busy for."""
_FRAME_S = 1.0
_console = Console(stderr=True)


def local(
    scenario: Annotated[
        str | None,
        typer.Option("--scenario", "-s", help="Shipped name or YAML file; else default, or vllm.", metavar="NAME|FILE"),
    ] = None,
    fleet: Annotated[
        Path | None, typer.Option("--fleet", help="Your own Fleet file, instead of the scenario's.")
    ] = None,
    engine: Annotated[Engine, typer.Option("--engine", help="simulated, or vllm: real vLLM on the CPU.")] = "simulated",
    policy: Annotated[
        Policy, typer.Option("--policy", help="fleet: as the Fleet says; static: decide, write nothing.")
    ] = "fleet",
    trace: Annotated[
        Path | None, typer.Option("--trace", help="Replay real arrivals (Azure CSV, Mooncake JSONL; plain or .gz).")
    ] = None,
    rate: Annotated[
        float | None, typer.Option("--rate", help="Mean requests/s to thin or repeat the trace to.")
    ] = None,
    duration: Annotated[float | None, typer.Option("--duration", help="Seconds of traffic.", min=1)] = None,
    exit_: Annotated[bool, typer.Option("--exit", help="End when the traffic has ended.")] = False,
    json_report: Annotated[
        Path | None, typer.Option("--json", help="Write the report as JSON here.", metavar="REPORT")
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Of arrivals and lengths.", min=0)] = None,
    port: Annotated[
        int | None,
        typer.Option("--port", help="Of the live page; 0: a free one. Default: 9470 where free.", min=0, max=65535),
    ] = None,
    proxy_port: Annotated[int, typer.Option("--proxy-port", help="Of Envoy; 0: a free one.", min=0, max=65535)] = 0,
    prometheus: Annotated[bool, typer.Option(help="Use Prometheus where it is installed.")] = True,
    run_dir: Annotated[Path | None, typer.Option("--run-dir", help="Folder for logs, journal and results.")] = None,
) -> None:
    """Run everything on this machine: a fleet behind Envoy, traffic, Prometheus and the daemon that scales it.

    Ends with Ctrl-C, or by itself with --exit or --duration. Prints what clients saw and what it cost.

    Examples:
      governor local
      governor local --scenario step --exit --json report.json
      governor local --engine vllm
      governor local --trace AzureLLMInferenceTrace_conv.csv.gz --rate 6 --duration 300
    """
    named, page_port = scenario or DEFAULT_SCENARIO[engine], _page_port(port)
    run = asked_for(named, fleet, engine, policy, trace, rate, duration, seed, page_port)
    _check_writable(json_report)
    Profiles(fleet or Path())(run.fleet)  # a missing profile is said before anything is started
    options = StackOptions(
        run_dir=run_dir,
        scrape_interval_s=run.scenario.stack.scrape_interval,
        proxy_port=proxy_port,
        prometheus=prometheus,
    )
    report = _Session(run, LocalStack(supervisor_config(run), options)).play(until_end=exit_ or duration is not None)
    if report is None:
        _console.print(f"ended before the traffic began; logs: {options.run_dir or RUNS}")
        return
    if json_report is not None:
        json_report.write_text(report.to_json(), encoding="utf-8")
    if not report.valid:
        _console.print(f"[yellow]this run is not valid: {'; '.join(report.invalid_reasons)}[/]")
        raise typer.Exit(INVALID_RUN)


def _check_writable(report: Path | None) -> None:
    """Raises UsageError now for a report that could not be written in the end."""
    if report is None:
        return
    if not report.parent.is_dir():
        raise UsageError(f"{report.parent} is no folder: the report cannot be written there")
    if not os.access(report if report.exists() else report.parent, os.W_OK) or report.is_dir():
        raise UsageError(f"the report cannot be written to {report}: give --json a file that this user may write")


def _page_port(asked: int | None) -> int:
    """Where `governor status` and `explain` look by themselves, unless another daemon is there."""
    if asked is not None:
        return asked
    usual = Settings().listen_port
    return usual if is_free(usual) else 0


@dataclass
class _Session:
    """One run, from start to report."""

    run: LocalRun
    stack: LocalStack
    page: str = ""

    def play(self, *, until_end: bool) -> Report | None:
        """Start everything, show it, end it, judge it. None when it was ended before the traffic began."""
        with self.stack:
            for note in self.stack.notes:
                _console.print(f"[yellow]{note}[/]")
            try:
                self._start()
                self._show(until_end=until_end)
            except KeyboardInterrupt:
                _console.print("ending …")
            ended_at = time.time()
        if not self._results.exists():
            return None
        report = report_of(
            self.run,
            timeline=self.stack.timeline,
            journal=self._state / "journal",
            results=self._results,
            source="prometheus" if self.stack.addresses.prometheus else "scrape",
            ended_at=ended_at,
        )
        _console.print(summary(report, str(self._state / "journal"), str(self.stack.run_dir)))
        return report

    @property
    def _results(self) -> Path:
        return self.stack.run_dir / "requests.jsonl"

    @property
    def _state(self) -> Path:
        return self.stack.run_dir / "state"

    def _start(self) -> None:
        run, addresses, folder = self.run, self.stack.addresses, self.stack.run_dir
        port = chosen_port(run.page_port, "the live page")
        self.page = f"http://127.0.0.1:{port}"
        fleet = write_fleet(run, folder)
        _console.print(f"{run.source}, {run.engine} replicas; live page: [link={self.page}]{self.page}[/link]")
        with _console.status("starting the first replicas …"):
            self.stack.wait_until_ready(run.scenario.stack.start_timeout)
        command = daemon_command(run, addresses, fleet, folder, port, self.stack.log("load"))
        self.stack.start_daemon(command, ready_url=f"{self.page}/healthz")
        scenario = folder / "scenario.yaml"
        scenario.write_text(run.scenario.model_dump_json(by_alias=True, exclude_unset=True), encoding="utf-8")
        self.stack.start_load(load_command(run, addresses, str(scenario), self._results))

    def _show(self, *, until_end: bool) -> None:
        with Live(console=_console, auto_refresh=False, transient=not _console.is_terminal) as live:
            while True:
                self.stack.check()
                code = self.stack.load_exit_code()
                if _console.is_terminal:
                    live.update(self._frame(), refresh=True)
                if code is not None and self._load_ended(code, until_end=until_end):
                    return
                time.sleep(_FRAME_S)

    def _load_ended(self, code: int, *, until_end: bool) -> bool:
        if code != 0:
            words = self.stack.log("load").read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:]
            raise PermanentError(f"the load generator ended with code {code}: {' '.join(words)}")
        return until_end

    def _frame(self) -> Any:
        client = client_figures(self.stack.log("load"))["client"]
        stats = client if client and client.get("type") == "stats" else None
        return live_table(f"{self.run.source}, {self.run.engine}", stats, self._fleets(), self.page)

    def _fleets(self) -> list[Any]:
        try:
            found: list[Any] = requests.get(f"{self.page}/api/v1/fleets", timeout=2).json()["fleets"]
        except (requests.RequestException, ValueError, KeyError):
            return []
        return found
