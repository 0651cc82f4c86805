"""The daemon in a process of its own, as `governor run` composes it, cycling on demand instead of by the clock.

Reads one word a line, answers one JSON object a line: `tick` (a full cycle), `light` (the light query), each with
what it cost; `look` says what the last full cycle saw. Ends with its input. `--profile FILE` keeps a cProfile of
all ticks.
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
from pathlib import Path

from controller.cli import logs
from controller.cli.compose import Daemon, compose
from controller.model.decision import Action
from controller.settings import Settings


def measured(work: Callable[[], object]) -> dict[str, float]:
    """Wall and CPU seconds of a piece of work, all threads of the process together."""
    wall_s, cpu_s = time.monotonic(), time.process_time()
    work()
    return {"wall_s": time.monotonic() - wall_s, "cpu_s": time.process_time() - cpu_s, "rss_peak_mb": rss_peak_mb()}


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
    daemon = compose(settings, Path(options.fleet), None)
    daemon.adapters.fleets.fleets()
    profiler = cProfile.Profile() if options.profile else None
    tick = daemon.loop.tick if profiler is None else lambda: profiler.runcall(daemon.loop.tick)
    work: dict[str, Callable[[], dict[str, float] | dict[str, int]]] = {
        "tick": lambda: measured(tick),
        "light": lambda: measured(daemon.loop.watch),
        "look": lambda: seen(daemon),
    }
    sys.stdout.write(json.dumps({"ready": os.getpid()}) + "\n")
    sys.stdout.flush()
    for line in sys.stdin:
        sys.stdout.write(json.dumps(work[line.strip()]()) + "\n")
        sys.stdout.flush()
    if profiler is not None:
        profiler.dump_stats(options.profile)
    daemon.close()


if __name__ == "__main__":
    main()
