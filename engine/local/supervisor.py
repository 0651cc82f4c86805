"""The process that stands in for the kubelet and the API server of a cluster.

    python -m engine.local.supervisor --config FILE --port 0 --run-dir DIR --stdin-lifeline

It owns the replicas: it starts them, watches their readiness, restarts and replaces them, drains and ends them, and
keeps the proxy's and the metric store's target files in step. Its own end, kill -9 included, ends them all.

Files in the run folder: `events.jsonl` (what happened to processes), `replicas.jsonl` (counts over time, orders,
weights), `logs/<replica>.log`, `supervisor.address` (where the API listens, written when it does).
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import aiohttp
from aiohttp import web

from controller.errors import GovernorError, UsageError
from engine.local.api import make_app
from engine.local.cluster import ClusterView, LocalCluster
from engine.local.config import SupervisorConfig, read_config
from engine.local.envoy import EnvoyFiles
from engine.local.eventlog import EventLog
from engine.local.launch import load_launcher
from engine.local.ports import LOOPBACK, chosen_port
from engine.local.prometheus import PrometheusTargets
from engine.local.replica import Surroundings
from engine.local.run_dir import EVENTS_FILE, TIMELINE_FILE, logs_dir

ADDRESS_FILE = "supervisor.address"


@dataclass(frozen=True, slots=True)
class Options:
    """The command line."""

    config: Path
    port: int
    run_dir: Path
    envoy_dir: Path | None
    targets_file: Path | None
    lifeline: bool


def parse(argv: Sequence[str]) -> Options:
    """The options of a command line. Exits with code 2 and the usage when it does not fit."""
    parser = argparse.ArgumentParser(prog="python -m engine.local.supervisor", description=__doc__.split("\n\n")[0])
    parser.add_argument("--config", type=Path, required=True, help="fleets, launcher and times, as YAML or JSON")
    parser.add_argument("--port", type=int, default=0, help="of the API on 127.0.0.1; 0: any free one")
    parser.add_argument("--run-dir", type=Path, required=True, help="folder for logs, events and the timeline")
    parser.add_argument("--envoy-dir", type=Path, help="folder with Envoy's dynamic configuration to keep in step")
    parser.add_argument("--targets-file", type=Path, help="Prometheus's file of targets to keep in step")
    parser.add_argument("--stdin-lifeline", action="store_true", help="end when standard input ends")
    found = parser.parse_args(argv)
    return Options(found.config, found.port, found.run_dir, found.envoy_dir, found.targets_file, found.stdin_lifeline)


async def serve(options: Options, config: SupervisorConfig, views: Sequence[ClusterView]) -> None:
    """Run the cluster and its API until SIGTERM, SIGINT or the end of the lifeline. Then all replicas are ended."""
    stop = _stop_signal(lifeline=options.lifeline)
    logs = logs_dir(options.run_dir)
    logs.mkdir(parents=True, exist_ok=True)
    events = EventLog(options.run_dir / EVENTS_FILE)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as http:
        around = Surroundings(load_launcher(config.launcher), config.times, http, logs, events)
        cluster = LocalCluster(config.fleets, around, views, EventLog(options.run_dir / TIMELINE_FILE))
        running = asyncio.create_task(cluster.run())
        runner = web.AppRunner(make_app(cluster), access_log=None)
        await runner.setup()
        port = chosen_port(options.port, "the supervisor's API")
        await web.TCPSite(runner, LOOPBACK, port).start()
        events.write("listening", pid=os.getpid(), port=port)
        (options.run_dir / ADDRESS_FILE).write_text(f"http://{LOOPBACK}:{port}\n")
        asked = asyncio.create_task(stop.wait())
        await asyncio.wait([running, asked], return_when=asyncio.FIRST_COMPLETED)
        await runner.cleanup()
        for task in (asked, running):
            task.cancel()
        await asyncio.wait([asked, running])
        events.write("stopped", asked=stop.is_set())
        if not running.cancelled():
            running.result()


def _stop_signal(*, lifeline: bool) -> asyncio.Event:
    """An event that is set when this process is asked to end."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if lifeline:
        loop.add_reader(sys.stdin.fileno(), _end_of_lifeline, stop)
    return stop


def _end_of_lifeline(stop: asyncio.Event) -> None:
    if not os.read(sys.stdin.fileno(), 64):
        asyncio.get_running_loop().remove_reader(sys.stdin.fileno())
        stop.set()


def _views(options: Options) -> Sequence[ClusterView]:
    """Who is kept in step: first the proxy, for requests must not go where nobody is."""
    views: list[ClusterView] = []
    if options.envoy_dir:
        views.append(EnvoyFiles(options.envoy_dir))
    if options.targets_file:
        views.append(PrometheusTargets(options.targets_file))
    return views


def main(argv: Sequence[str]) -> int:
    """Run the supervisor; returns the exit code."""
    options = parse(argv)
    try:
        config = read_config(options.config)
        asyncio.run(serve(options, config, _views(options)))
    except UsageError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    except (GovernorError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
