"""Where the concrete adapters are built: the only place that knows them all."""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import dataclass

from controller.act.dry_run import DryRunReplicaWriter, DryRunWeightWriter
from controller.act.gate import Gate, SavedIntents, SeenTargets, SeenWeights, WeightGate, leading
from controller.cli.boundary import Boundary
from controller.cli.place import Place
from controller.cli.version import program_version
from controller.clock import Clock, SystemClock
from controller.loop import Adapters, Loop
from controller.observe.accepted import AcceptedFleets
from controller.observe.access import authorised
from controller.observe.prometheus import MAX_ANSWER_BYTES, PrometheusSignals
from controller.observe.queries import Scope
from controller.observe.scrape import ScrapeSignals
from controller.ports import Board, FleetSource, Journal, ReplicaWriter, SignalSource, WeightWriter
from controller.record.board import Boards, StatusBoard
from controller.record.encoded import MemoryEncoder
from controller.record.facts import DaemonFacts
from controller.record.journal import JournalFolder
from controller.settings import Settings

JOURNAL_NAME = "journal"


_COLLECT_AFTER = (50_000, 20, 20)
"""New objects between two searches for cyclic garbage, and how many searches until older objects are looked at."""


def spare_collector() -> None:
    """Search for cyclic garbage seldom, and never among what is there already: fleets, profiles, code.

    For a process that is the daemon alone. A cycle makes some hundred thousand values that refer to no cycle and are
    freed when the next one replaces them; looking through all of them costs a fifth of a cycle of 1,000 fleets.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_COLLECT_AFTER)


@dataclass(frozen=True, slots=True)
class Daemon:
    """A loop in its place, and what the process says of itself."""

    loop: Loop
    adapters: Adapters
    settings: Settings
    board: StatusBoard
    facts: Callable[[], DaemonFacts]
    boundary: Boundary
    """Around all that runs on schedule."""
    leading: Callable[[], bool]
    term: Callable[[], int]
    start: Callable[[], None]
    close: Callable[[], None]


class Turns:
    """A daemon's cycles, as long as it leads; else it stands by."""

    def __init__(self, daemon: Daemon) -> None:
        self._loop, self._leading, self._term_now = daemon.loop, daemon.leading, daemon.term
        self._term: int | None = None

    def tick(self) -> None:
        """One full cycle, on memories of this term; while another instance leads, none."""
        term = self._term_now()
        if not self._leading() or term != self._term:
            self._loop.stand_by()
            self._term = term
        if self._leading():
            self._loop.tick()

    def watch(self) -> None:
        """One light query; none before the first full cycle of a term."""
        if self._leading() and self._term_now() == self._term:
            self._loop.watch()


def compose(
    settings: Settings, place_of: Callable[[MemoryEncoder], Place], proxy_admin_url: str | None = None
) -> Daemon:
    """Build the daemon. Raises UsageError for what the user gave, TransientError where the state folder refuses."""
    clock = SystemClock(settings.clock_offset_s)
    encoder = MemoryEncoder()
    place = place_of(encoder)
    journal = JournalFolder(
        settings.state_dir / JOURNAL_NAME, program_version(), encoder, total_bytes=settings.journal_max_bytes
    )
    board = StatusBoard(clock)
    signals = _signals(settings, clock, proxy_admin_url)
    fleets = AcceptedFleets(place.fleets, place.profiles)
    adapters = _adapters(settings, place, fleets, signals, journal, Boards(board, *place.boards), clock)
    loop = Loop(adapters, settings)
    boundary = Boundary()

    def facts() -> DaemonFacts:
        return DaemonFacts(
            version=program_version(),
            dry_run=settings.dry_run,
            leading=place.leading(),
            interval_s=settings.tick_interval_s,
            queries=signals.asked if isinstance(signals, PrometheusSignals) else 0,
            query_failures=signals.refused if isinstance(signals, PrometheusSignals) else 0,
            unjournaled_records=loop.unjournaled,
            lost_records=loop.lost_records,
            journal_error=journal.error,
            memory_error=place.memory_error(),
            failed_cycles=boundary.failed,
            cycle_error=boundary.error,
            fleet_errors=tuple(dict.fromkeys(fleets.problems().values())),
        )

    def close() -> None:
        signals.close()
        loop.close()
        place.close()
        journal.close()

    return Daemon(loop, adapters, settings, board, facts, boundary, place.leading, place.term, place.start, close)


def _adapters(
    settings: Settings,
    place: Place,
    fleets: FleetSource,
    signals: SignalSource,
    journal: Journal,
    board: Board,
    clock: Clock,
) -> Adapters:
    """The place's adapters behind the gate; a dry run has writers that cannot write."""
    store = SavedIntents(place.store)
    reader, routes = SeenTargets(place.reader), SeenWeights(place.weights)
    lead = leading(place.leading)
    writer: ReplicaWriter = Gate(place.writer, [lead, reader.opposed, store.unsaved])
    weight_writer: WeightWriter = WeightGate(place.weight_writer, [lead, routes.opposed, store.unsaved])
    return Adapters(
        fleets=fleets,
        signals=signals,
        reader=reader,
        writer=DryRunReplicaWriter() if settings.dry_run else writer,
        store=store,
        journal=journal,
        board=board,
        profiles=place.profiles,
        clock=clock,
        weights=routes,
        weight_writer=DryRunWeightWriter() if settings.dry_run else weight_writer,
    )


def _signals(settings: Settings, clock: SystemClock, proxy_admin_url: str | None) -> PrometheusSignals | ScrapeSignals:
    if settings.prometheus_url is None:
        return ScrapeSignals(
            scrape_interval_s=settings.scrape_interval_s,
            window_s=settings.rate_window_s,
            stale_after_s=settings.stale_after_s,
            timeout_s=settings.query_timeout_s,
            envoy_address=proxy_admin_url or "",
            prefix=settings.labels.metric_prefix,
        )
    scope = Scope(labels=settings.labels, window_s=settings.rate_window_s, stale_after_s=settings.stale_after_s)
    return PrometheusSignals(
        settings.prometheus_url,
        scope,
        timeout_s=settings.query_timeout_s,
        concurrency=settings.query_concurrency,
        now=clock.now,
        proxy_cluster=settings.proxy_cluster,
        session=authorised(settings.prometheus_access, MAX_ANSWER_BYTES),
    )
