"""The daemon in a process of its own, as `governor run` composes it, cycling on demand instead of by the clock.

Reads one word a line, answers one JSON object a line: `tick` (a full cycle), `light` (the light query), each with
what it cost; `look` says what the last full cycle saw. Ends with its input. `--profile FILE` keeps a cProfile of
all ticks.

CPU time is that of the whole process. What is not spent in an adapter is planning and the loop itself.
"""

from __future__ import annotations

import argparse
import cProfile
import json
import os
import re
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from controller.cli import logs
from controller.cli.compose import Daemon, compose, spare_collector
from controller.cli.place_local import local_place
from controller.loop import Loop
from controller.model.decision import Action
from controller.settings import Settings

_PARTS = {
    "reader": "replicas",
    "weights": "replicas",
    "signals": "signals",
    "store": "memory",
    "journal": "journal",
    "board": "board",
}
"""Adapters of the loop, and what their cost is called."""


class Timed:
    """An adapter whose calls are timed: CPU seconds by name."""

    def __init__(self, adapter: Any, name: str, spent: dict[str, float]) -> None:
        self._adapter, self._name, self._spent = adapter, name, spent

    def __getattr__(self, name: str) -> Any:
        work = getattr(self._adapter, name)

        def timed(*args: Any) -> Any:
            began_s = time.process_time()
            try:
                return work(*args)
            finally:
                self._spent[self._name] += time.process_time() - began_s

        return timed


class Measured:
    """A loop on timed adapters."""

    def __init__(self, daemon: Daemon, profile: str | None) -> None:
        self._spent: dict[str, float] = dict.fromkeys(_PARTS.values(), 0.0)
        timed: dict[str, Any] = {
            part: Timed(getattr(daemon.adapters, part), name, self._spent) for part, name in _PARTS.items()
        }
        self._loop = Loop(replace(daemon.adapters, **timed), daemon.settings)
        self._profiler = cProfile.Profile() if profile else None
        self._profile = profile

    def tick(self) -> dict[str, Any]:
        """A full cycle."""
        loop, profiler = self._loop.tick, self._profiler
        return self._cost(loop if profiler is None else lambda: profiler.runcall(loop))

    def light(self) -> dict[str, Any]:
        """A light query."""
        return self._cost(self._loop.watch)

    def _cost(self, work: Callable[[], object]) -> dict[str, Any]:
        """Wall and CPU seconds of a piece of work, all threads of the process together."""
        self._spent.update(dict.fromkeys(self._spent, 0.0))
        wall_s, cpu_s = time.monotonic(), time.process_time()
        work()
        wall_s, cpu_s = time.monotonic() - wall_s, time.process_time() - cpu_s
        parts = {**self._spent, "planning": cpu_s - sum(self._spent.values())}
        return {"wall_s": wall_s, "cpu_s": cpu_s, "parts": parts, "rss_peak_mb": rss_peak_mb()}

    def close(self) -> None:
        """Keep the profile."""
        if self._profiler is not None and self._profile is not None:
            self._profiler.dump_stats(self._profile)


def rss_peak_mb() -> float:
    """The most memory that this process has had resident, MiB."""
    found = re.search(r"^VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="ascii"), re.MULTILINE)
    return int(found[1]) / 1024 if found else 0.0


def seen(daemon: Daemon) -> dict[str, int]:
    """Fleets planned, fleets whose load was fresh, fleets that were to change."""
    records = daemon.board.records()
    return {
        "fleets": len(records),
        "fresh": sum(
            r.snapshot.inflight.fresh is not None and r.snapshot.variants[0].signals.decode_tps.fresh is not None
            for r in records
        ),
        "changing": sum(r.plan.decision.action is not Action.HOLD for r in records),
    }


def main() -> None:
    """Compose, then obey until the input ends."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("--fleet", "--prometheus", "--supervisor", "--state-dir"):
        parser.add_argument(name, required=True)
    parser.add_argument("--profile")
    options = parser.parse_args()
    logs.configure("json", verbose=False)
    settings = Settings(
        prometheus_url=options.prometheus,
        supervisor_url=options.supervisor,
        state_dir=Path(options.state_dir),
        query_timeout_s=60,
        tick_interval_s=61,
    )
    daemon = compose(settings, partial(local_place, Path(options.fleet), settings))
    daemon.adapters.fleets.fleets()
    spare_collector()
    measured = Measured(daemon, options.profile)
    work: dict[str, Callable[[], dict[str, Any]]] = {
        "tick": measured.tick,
        "light": measured.light,
        "look": lambda: seen(daemon),
    }
    sys.stdout.write(json.dumps({"ready": os.getpid()}) + "\n")
    sys.stdout.flush()
    for line in sys.stdin:
        sys.stdout.write(json.dumps(work[line.strip()]()) + "\n")
        sys.stdout.flush()
    measured.close()
    daemon.close()


if __name__ == "__main__":
    main()
