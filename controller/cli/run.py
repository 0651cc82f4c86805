"""`governor run`: the daemon."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import structlog
import typer
from apscheduler.schedulers.background import BackgroundScheduler
from pydantic import ValidationError

from controller.cli import logs
from controller.cli.compose import Daemon, compose, spare_collector
from controller.errors import UsageError
from controller.model.describe import problems_of
from controller.model.problems import Problem
from controller.record.server import StatusServer
from controller.settings import Settings

_log = structlog.get_logger("governor")

_OPTIONS = {
    "prometheus_url": "--prometheus",
    "supervisor_url": "--supervisor",
    "state_dir": "--state-dir",
    "listen_host": "--host",
    "listen_port": "--port",
    "tick_interval_s": "--interval",
    "scrape_interval_s": "--scrape-interval",
    "clock_offset_s": "--clock-offset",
}
"""Names of the settings that have an option."""

FleetOption = Annotated[
    Path, typer.Option("--fleet", help="Fleet file (YAML), or a folder of them.", envvar="GOVERNOR_FLEET")
]
PrometheusOption = Annotated[
    str | None,
    typer.Option("--prometheus", help="Prometheus' address; without it replicas are scraped.", metavar="URL"),
]
SupervisorOption = Annotated[
    str | None, typer.Option("--supervisor", help="Supervisor of a local stack that owns the replicas.", metavar="URL")
]
ProxyOption = Annotated[
    str | None,
    typer.Option("--proxy-admin", help="Envoy's admin address, read when scraping directly.", metavar="URL"),
]
StateOption = Annotated[Path, typer.Option("--state-dir", help="Folder of memory and journal.")]
HostOption = Annotated[str, typer.Option("--host", help="Where API, metrics and page listen.")]
PortOption = Annotated[int, typer.Option("--port", help="Its port; 0: a free one.", min=0, max=65535)]
IntervalOption = Annotated[float, typer.Option("--interval", help="Seconds between full cycles.")]
ScrapeOption = Annotated[float, typer.Option("--scrape-interval", help="Seconds between scrapes of vLLM.")]
OffsetOption = Annotated[float, typer.Option("--clock-offset", help="Seconds added to the clock.", hidden=True)]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Decide and record, write nothing.")]
ClientOption = Annotated[
    Path | None, typer.Option("--client-stats", help="JSON lines of a load generator, shown on the page.", hidden=True)
]
FormatOption = Annotated[logs.LogFormat, typer.Option("--log-format", help="auto, text or json.")]
VerboseOption = Annotated[bool, typer.Option("--verbose", "-v", help="Log every cycle, holds included.")]


def run(
    fleet: FleetOption,
    prometheus: PrometheusOption = None,
    supervisor: SupervisorOption = None,
    proxy_admin: ProxyOption = None,
    state_dir: StateOption = Path(".governor"),
    host: HostOption = "127.0.0.1",
    port: PortOption = 9470,
    interval: IntervalOption = 5.0,
    scrape_interval: ScrapeOption = 15.0,
    clock_offset: OffsetOption = 0.0,
    dry_run: DryRunOption = False,
    client_stats: ClientOption = None,
    log_format: FormatOption = "auto",
    verbose: VerboseOption = False,
) -> None:
    """Run the daemon: observe, decide, write, explain; until SIGTERM or Ctrl-C.

    Example: governor run --fleet fleet.yaml --prometheus http://127.0.0.1:9090 --supervisor http://127.0.0.1:7070
    """
    logs.configure(log_format, verbose=verbose)
    settings = checked_settings(
        prometheus_url=prometheus,
        supervisor_url=supervisor,
        state_dir=state_dir,
        listen_host=host,
        listen_port=port,
        tick_interval_s=interval,
        scrape_interval_s=scrape_interval,
        clock_offset_s=clock_offset,
        dry_run=dry_run,
    )
    daemon = compose(settings, fleet, proxy_admin)
    daemon.adapters.fleets.fleets()
    spare_collector()
    serve(daemon, client_stats)


def checked_settings(**values: Any) -> Settings:
    """Settings from options. Raises UsageError with every option that is wrong, by the name that the user knows."""
    try:
        return Settings(**values)
    except ValidationError as error:
        raise UsageError("; ".join(map(_in_options, problems_of(error, Settings)))) from error


def _in_options(problem: Problem) -> str:
    """A problem of a setting as one of its option; contradictions name settings of their own."""
    text = str(problem)
    for setting, option in _OPTIONS.items():
        text = text.replace(setting, option)
    return text


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
    _log.info("listening", url=server.url, fleets=[f.key for f in daemon.adapters.fleets.fleets()])
    scheduler = _scheduler(daemon)
    scheduler.start()
    try:
        stop.wait()
    finally:
        scheduler.shutdown(wait=True)
        server.stop()
        daemon.close()


def _scheduler(daemon: Daemon) -> BackgroundScheduler:
    """Full cycles and light looks, each never twice at once; a late one runs once, not for every time missed."""
    settings, around = daemon.settings, daemon.boundary.around
    tick, watch = around("full cycle", daemon.loop.tick), around("light look", daemon.loop.watch)
    defaults = {"coalesce": True, "max_instances": 1, "misfire_grace_time": None}
    scheduler = BackgroundScheduler(job_defaults=defaults, timezone="UTC")
    scheduler.add_job(tick, id="first")
    scheduler.add_job(tick, "interval", seconds=settings.tick_interval_s, id="tick")
    scheduler.add_job(watch, "interval", seconds=settings.wake_interval_s, id="watch")
    return scheduler
