"""One run of `governor local`: started, shown, ended and judged."""

from __future__ import annotations

import os
import shutil
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import requests
import typer
from rich.console import Console
from rich.live import Live

from controller.cli.local_lines import PlainLines
from controller.cli.local_options import Engine, Policy
from controller.cli.local_report import lost_decisions, report_of
from controller.cli.local_run import (
    DEFAULT_SCENARIO,
    LocalRun,
    asked_for,
    daemon_command,
    load_command,
    supervisor_config,
    truths,
    write_fleet,
)
from controller.cli.local_view import live_table, summary
from controller.cli.profiles import Profiles
from controller.errors import GovernorError, PermanentError, UsageError
from controller.record.api import client_figures
from controller.settings import Settings
from engine.load.report import Report
from engine.local.ports import chosen_port, is_free
from engine.local.run_dir import RUNS
from engine.local.stack import LocalStack, StackOptions

INVALID_RUN = 3
"""Exit code of a run that the host was too busy for."""
_FRAME_S = 1.0
_FULL_BYTES = 2**20
"""With less than this left, what ended a run is the disk."""
_console = Console(stderr=True)


def run_of(
    scenario: str | None,
    fleet: Path | None,
    engine: Engine,
    policy: Policy,
    trace: Path | None,
    rate_rps: float | None,
    duration_s: float | None,
    seed: int | None,
    port: int | None,
) -> LocalRun:
    """What is asked for, checked before anything is started. Raises UsageError."""
    named, page_port = scenario or DEFAULT_SCENARIO[engine], _page_port(port)
    run = asked_for(named, fleet, engine, policy, trace, rate_rps, duration_s, seed, page_port)
    Profiles(fleet or Path())(run.fleet)
    return run


def play(run: LocalRun, options: StackOptions, json_report: Path | None, *, until_end: bool) -> None:
    """Run it, print the summary, write the report.

    Raises UsageError and PermanentError; for a failure in the middle after what there is has been judged. Ends with
    `INVALID_RUN` where the run proves nothing.
    """
    _check_writable(json_report)
    session = _Session(run, LocalStack(supervisor_config(run), options))
    report = session.play(until_end=until_end)
    if report is None:
        _console.print(f"ended before the traffic began; logs: {options.run_dir or RUNS}")
        return
    if json_report is not None:
        _write(report, json_report)
    if not report.valid:
        _console.print(f"[yellow]this run is not valid: {'; '.join(report.invalid_reasons)}[/]")
    if session.failure is not None:
        raise session.failure
    if not report.valid:
        raise typer.Exit(INVALID_RUN)


def _check_writable(report: Path | None) -> None:
    """Raises UsageError now for a report that could not be written in the end."""
    if report is None:
        return
    if not report.parent.is_dir():
        raise UsageError(f"{report.parent} is no folder: the report cannot be written there")
    if not os.access(report if report.exists() else report.parent, os.W_OK) or report.is_dir():
        raise UsageError(f"the report cannot be written to {report}: give --json a file that this user may write")


def _write(report: Report, path: Path) -> None:
    try:
        path.write_text(report.to_json(), encoding="utf-8")
    except OSError as error:
        raise PermanentError(f"the report cannot be written to {path}: {error.strerror or error}") from error


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
    failure: GovernorError | None = None
    """What ended the run before its time."""
    _lines: PlainLines = field(default_factory=PlainLines)

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
            except GovernorError as error:
                self.failure = error
            except OSError as error:
                where = error.filename or self.stack.run_dir
                self.failure = PermanentError(f"{where}: {error.strerror or error}; the run was ended")
            ended_at = time.time()
        report = self._judged(ended_at)
        if report is not None:
            _console.print(summary(report, str(self._state / "journal"), str(self.stack.run_dir)))
            if lost := lost_decisions(self.stack.log("daemon")):
                _console.print(f"[yellow]{lost} decisions are not in the journal: the disk did not take them[/]")
        return report

    def _judged(self, ended_at: float) -> Report | None:
        """The report of what there is; after a failure it says that the run proves nothing, and why."""
        try:
            report = self._report(ended_at) if self._results.exists() else None
        except GovernorError as error:
            raise self.failure or error from error
        if self.failure is None:
            return report
        if report is None:
            raise self.failure
        return replace(report, valid=False, invalid_reasons=(str(self.failure), *report.invalid_reasons))

    def _report(self, ended_at: float) -> Report:
        return report_of(
            self.run,
            timeline=self.stack.timeline,
            journal=self._state / "journal",
            results=self._results,
            source="prometheus" if self.stack.addresses.prometheus else "scrape",
            ended_at=ended_at,
        )

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
        if run.fleet_file is not None and run.engine == "simulated":
            obeyed = ", ".join(f"{variant} obey {profile}" for variant, profile in truths(run).items())
            _console.print(f"simulated replicas of {obeyed}")
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
                else:
                    self._print_lines()
                if code is not None and self._load_ended(code, until_end=until_end):
                    return
                time.sleep(_FRAME_S)

    def _load_ended(self, code: int, *, until_end: bool) -> bool:
        if code != 0:
            raise PermanentError(load_failure(code, self.stack.log("load")))
        return until_end

    def _frame(self) -> Any:
        return live_table(f"{self.run.source}, {self.run.engine}", self._stats(), self._fleets(), self.page)

    def _print_lines(self) -> None:
        for line in self._lines.due(time.monotonic(), self._stats(), self._fleets()):
            _console.print(line, soft_wrap=True, markup=False, highlight=False)

    def _stats(self) -> Any:
        client = client_figures(self.stack.log("load"))["client"]
        return client if client and client.get("type") == "stats" else None

    def _fleets(self) -> list[Any]:
        try:
            found: list[Any] = requests.get(f"{self.page}/api/v1/fleets", timeout=2).json()["fleets"]
        except (requests.RequestException, ValueError, KeyError):
            return []
        return found


def load_failure(code: int, log: Path) -> str:
    """Why the load generator ended, in its own words where it left some."""
    words = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:]
    said = words[0] if words and not words[0].startswith("{") else ""
    if said.startswith("error: "):
        return said.removeprefix("error: ")
    if shutil.disk_usage(log.parent).free < _FULL_BYTES:
        return f"the disk that holds {log.parent} is full: free some space, or choose another --run-dir"
    return f"the load generator ended with code {code}{f': {said}' if said else ''} (log: {log})"
