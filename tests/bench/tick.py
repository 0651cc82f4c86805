"""What a tick costs: `make bench`, or `python -m tests.bench.tick --help`.

A real Prometheus holds the series of 1,000 fleets of 10 pods; the daemon, composed as `governor run` composes it,
runs full cycles and light queries on it in a process of its own. Only the cluster is played: its API answers from
memory. Prometheus reads from blocks on the disk here, not from its head, which costs it rather more.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console
from rich.table import Table

from controller.settings import Settings
from tests.bench.cluster import Targets, supervisor, write_fleets
from tests.bench.series import series_per_pod
from tests.bench.store import BenchError, Plan, Store, filled, planned

_FIRST_TICK_S, _TICK_MOST_S, _MARGIN_S = 20.0, 5.0, 20.0
"""The time that is laid out for the first tick, which begins every memory and the journal, and for each other one."""
_DIGITS = {"s": 3, "cores": 2}
_QUIET_CORES = 0.2
_console = Console(stderr=True, highlight=False)


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured figure against its budget (None: it has none)."""

    name: str
    value: float
    unit: str
    budget: float | None = None

    @property
    def ratio(self) -> float | None:
        """Share of the budget that is used; above 1 it is missed."""
        return None if self.budget is None else self.value / self.budget


@dataclass(slots=True)
class Runs:
    """What full cycles (the first one apart) and light queries cost."""

    first: dict[str, Any]
    ticks: list[dict[str, Any]]
    light: list[dict[str, Any]]
    seen: dict[str, int]


class DaemonProcess:
    """The daemon's process, told what to do line by line."""

    def __init__(self, process: subprocess.Popen[str], log: Path) -> None:
        self.pid = process.pid
        self._process = process
        self._log = log

    def ask(self, word: str) -> dict[str, Any]:
        """Its answer. Raises BenchError when it ended."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(word + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass
        return self.answer()

    def answer(self) -> dict[str, Any]:
        """The next line that it says."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise BenchError(f"the daemon ended: {self._log.read_text(encoding='utf-8')[-500:]}")
        answer: dict[str, Any] = json.loads(line)
        return answer


@contextmanager
def daemon(folder: Path, store_url: str, supervisor_url: str, profile: str) -> Iterator[DaemonProcess]:
    """A daemon on the fleets of this folder, ready for its first tick."""
    command = [sys.executable, "-m", "tests.bench.daemon", "--fleet", str(folder / "fleets.yaml")]
    command += ["--prometheus", store_url, "--supervisor", supervisor_url, "--state-dir", str(folder / "state")]
    command += ["--profile", profile] if profile else []
    log = folder / "daemon.log"
    pipe = subprocess.PIPE
    with log.open("wb") as out, subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=out, text=True) as process:
        try:
            yield DaemonProcess(process, log)
            assert process.stdin is not None
            process.stdin.close()
            process.wait(timeout=30)
        finally:
            process.kill()


def progress(what: str, share: float | None) -> None:
    """One line on a terminal that is written over; elsewhere one line for each new step."""
    text = what if share is None else f"{what}: {share:.0%}"
    if _console.is_terminal:
        _console.print(f"\r\x1b[2K{text} …", end="\n" if share == 1.0 else "")
    elif share is None or share == 1.0:
        _console.print(f"{text} …")


def measure(options: argparse.Namespace, folder: Path) -> list[Figure]:
    """The whole benchmark in a folder of its own. Raises BenchError."""
    run_s = _FIRST_TICK_S + options.ticks * _TICK_MOST_S + _MARGIN_S
    progress("timing a small part of the work", None)
    plan = planned(folder, options.fleets, options.pods, run_s, Settings().rate_window_s)
    write_fleets(folder / "fleets.yaml", options.fleets)
    targets = Targets(options.fleets, options.pods, plan.from_s)
    with ExitStack() as parts:
        address = parts.enter_context(supervisor(targets, plan.from_s))
        store = parts.enter_context(filled(plan, folder, progress))
        progress(f"the daemon reads {options.fleets} fleets", None)
        governor = parts.enter_context(daemon(folder, store.url, address, options.profile))
        governor.answer()
        _await_start(plan)
        return _figures(options, *_run(options.ticks, governor, store, plan))


def _await_start(plan: Plan) -> None:
    if time.time() > plan.until_s - _MARGIN_S:
        raise BenchError(
            "the machine took longer to fill the store than a part of the work foretold, so the samples are old by "
            "now: run it again on a quieter machine, or give fewer --fleets"
        )
    while (left_s := plan.from_s - time.time()) > 0:
        progress(f"the store was ready early: its samples begin to count in {left_s:.0f} s", None)
        time.sleep(min(left_s, 1.0 if _console.is_terminal else 30.0))


def _run(ticks: int, governor: DaemonProcess, store: Store, plan: Plan) -> tuple[Runs, dict[str, float]]:
    """Full cycles, each followed by a light query, and what they cost Prometheus."""
    runs = Runs(first=governor.ask("tick"), ticks=[], light=[], seen={})
    others_s, began_at = cpu_by_process(), time.monotonic()
    theirs: dict[str, list[float]] = {"tick_cpu_s": [], "tick_queries": [], "light_cpu_s": [], "light_queries": []}
    for number in range(ticks):
        for word, kept in (("tick", runs.ticks), ("light", runs.light)):
            queries, cpu_s = store.queries(), store.cpu_s()
            kept.append(governor.ask(word))
            theirs[f"{word}_cpu_s"].append(store.cpu_s() - cpu_s)
            theirs[f"{word}_queries"].append(store.queries() - queries)
        progress(f"{ticks} ticks", (number + 1) / ticks)
    runs.seen = governor.ask("look")
    if time.time() > plan.until_s:
        raise BenchError("the ticks took so long that the samples ran out: give fewer --ticks or --fleets")
    now_s = cpu_by_process()
    ours = {os.getpid(), governor.pid, store.pid}
    spent_s = sum(now_s[pid] - others_s.get(pid, 0.0) for pid in now_s if pid not in ours)
    cost = {
        "others_cores": spent_s / (time.monotonic() - began_at),
        "tick_cpu_s": statistics.mean(theirs["tick_cpu_s"]),
        "light_cpu_s": statistics.mean(theirs["light_cpu_s"]),
        "tick_queries": max(theirs["tick_queries"]),
        "light_queries": max(theirs["light_queries"]),
        "rss_mb": store.rss_mb(),
    }
    return runs, cost


def cpu_by_process() -> dict[int, float]:
    """CPU seconds of every process that is there, by its number."""
    processes = psutil.process_iter(["cpu_times"])
    return {p.pid: float(sum(p.info["cpu_times"][:2])) for p in processes if p.info["cpu_times"]}


def _figures(options: argparse.Namespace, runs: Runs, store: dict[str, float]) -> list[Figure]:
    if runs.seen["fresh"] < options.fleets:
        raise BenchError(
            f"only {runs.seen['fresh']} of {options.fleets} fleets had fresh readings: this measures nothing"
        )

    def mean(part: list[dict[str, Any]], name: str) -> float:
        return float(statistics.mean(run[name] for run in part))

    parts = sorted(runs.ticks[0]["parts"], key=lambda part: -runs.ticks[0]["parts"][part])
    return [
        Figure("daemon's CPU per tick", mean(runs.ticks, "cpu_s"), "s", 1.0),
        *(Figure(f"  of it {part}", statistics.mean(run["parts"][part] for run in runs.ticks), "s") for part in parts),
        Figure("whole tick, mean", mean(runs.ticks, "wall_s"), "s", 3.0),
        Figure("whole tick, slowest", max(run["wall_s"] for run in runs.ticks), "s", 3.0),
        Figure("queries per tick, most", store["tick_queries"], "", 15),
        Figure("daemon's resident memory, peak", runs.ticks[-1]["rss_peak_mb"], "MB", 400.0),
        Figure("Prometheus's CPU per tick", store["tick_cpu_s"], "s"),
        Figure("Prometheus's resident memory", store["rss_mb"], "MB"),
        Figure("first tick: daemon's CPU", runs.first["cpu_s"], "s"),
        Figure("first tick: whole", runs.first["wall_s"], "s"),
        Figure("light query: daemon's CPU", mean(runs.light, "cpu_s"), "s"),
        Figure("light query: whole", mean(runs.light, "wall_s"), "s"),
        Figure("light query: Prometheus's CPU", store["light_cpu_s"], "s"),
        Figure("fleets that wanted a change", runs.seen["changing"], ""),
        Figure("cores busy with other processes", store["others_cores"], "cores"),
    ]


def table_of(options: argparse.Namespace, figures: Sequence[Figure]) -> Table:
    """The figures for people."""
    series = series_per_pod()
    table = Table(
        title=f"{options.fleets:,} fleets × {options.pods} pods × {series} series, {options.ticks} ticks",
        title_justify="left",
    )
    table.add_column("figure")
    for name in ("measured", "budget", "of budget"):
        table.add_column(name, justify="right")
    for figure in figures:
        budget = "" if figure.budget is None else f"≤ {figure.budget:g} {figure.unit}".rstrip()
        share = "" if figure.ratio is None else f"{figure.ratio:.0%}" + (" MISSED" if figure.ratio > 1 else "")
        table.add_row(figure.name, f"{_text(figure)} {figure.unit}".rstrip(), budget, share)
    return table


def _text(figure: Figure) -> str:
    return f"{figure.value:.{_DIGITS.get(figure.unit, 0)}f}"


def _count(least: int, most: int) -> Any:
    def parse(text: str) -> int:
        if not (text.isdecimal() and least <= int(text) <= most):
            raise argparse.ArgumentTypeError(f"{text!r} is no whole number from {least} to {most}")
        return int(text)

    return parse


def parser() -> argparse.ArgumentParser:
    """The command line."""
    found = argparse.ArgumentParser(prog="python -m tests.bench.tick", description=__doc__.split("\n\n")[0])
    found.add_argument("--fleets", type=_count(1, 2000), default=1000, help="fleets (1-2000; 1000)")
    found.add_argument("--pods", type=_count(1, 20), default=10, help="pods of each fleet (1-20; 10)")
    found.add_argument("--ticks", type=_count(1, 30), default=10, help="measured ticks (1-30; 10)")
    found.add_argument("--json", metavar="FILE", help="write the figures there as JSON; - is standard output")
    found.add_argument("--profile", metavar="FILE", default="", help="keep a cProfile of the ticks, which slows them")
    return found


def main() -> int:
    """0: within all budgets, 1: one is missed, 2: there is no result."""
    options = parser().parse_args()
    try:
        with tempfile.TemporaryDirectory(prefix="governor-bench-") as folder:
            figures = measure(options, Path(folder))
    except BenchError as error:
        _console.print(f"no result: {error}", markup=False)
        return 2
    except KeyboardInterrupt:
        return 130
    if figures[-1].value > _QUIET_CORES:
        busy = f"other processes kept {figures[-1].value:.1f} of {os.cpu_count()} cores busy"
        _console.print(f"{busy}: on a quiet machine whole ticks are shorter")
    missed = [figure.name for figure in figures if figure.ratio is not None and figure.ratio > 1]
    document = {
        "fleets": options.fleets,
        "pods": options.pods,
        "series_per_pod": series_per_pod(),
        "ticks": options.ticks,
        "within_budgets": not missed,
        "figures": [asdict(figure) | {"ratio": figure.ratio} for figure in figures],
    }
    if options.json == "-":
        sys.stdout.write(json.dumps(document, indent=2) + "\n")
    else:
        Console(highlight=False).print(table_of(options, figures))
        if options.json:
            Path(options.json).write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
