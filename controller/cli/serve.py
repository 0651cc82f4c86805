"""Cycles on schedule and the server beside them, until a signal."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from types import FrameType

import structlog
from apscheduler.schedulers.background import BackgroundScheduler

from controller.cli.compose import Daemon, Turns
from controller.record.server import StatusServer

_log = structlog.get_logger("governor")


def serve(daemon: Daemon, client_stats: Path | None) -> None:
    """Run cycles on schedule, and the server, until a signal. Raises UsageError for a port in use."""
    settings = daemon.settings
    stop = threading.Event()

    def on_signal(number: int, _frame: FrameType | None) -> None:
        _log.info("stopping", signal=signal.Signals(number).name)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, on_signal)
    server = StatusServer(
        daemon.board, daemon.facts, host=settings.listen_host, port=settings.listen_port, client_stats=client_stats
    )
    server.start()
    scheduler = _scheduler(daemon)
    try:
        daemon.start()
        _log.info("listening", url=server.url, fleets=[f.key for f in daemon.adapters.fleets.fleets()])
        scheduler.start()
        stop.wait()
    finally:
        if scheduler.running:
            scheduler.shutdown(wait=True)
        server.stop()
        daemon.close()


def _scheduler(daemon: Daemon) -> BackgroundScheduler:
    """Full cycles and light looks, each never twice at once; a late one runs once, not for every time missed."""
    settings, turns, around = daemon.settings, Turns(daemon), daemon.boundary.around
    defaults = {"coalesce": True, "max_instances": 1, "misfire_grace_time": None}
    scheduler = BackgroundScheduler(job_defaults=defaults, timezone="UTC")
    tick, watch = around("full cycle", turns.tick), around("light look", turns.watch)
    scheduler.add_job(tick, id="first")
    scheduler.add_job(tick, "interval", seconds=settings.tick_interval_s, id="tick")
    scheduler.add_job(watch, "interval", seconds=settings.wake_interval_s, id="watch")
    return scheduler
