"""Where the concrete adapters are built: the only place that knows them all."""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from controller.act.dry_run import DryRunReplicaWriter
from controller.act.gate import Gate, SavedIntents, SeenTargets
from controller.act.local import LocalReplicaWriter
from controller.cli.boundary import Boundary
from controller.cli.version import program_version
from controller.clock import SystemClock
from controller.errors import UsageError
from controller.loop import Adapters, Loop
from controller.model.fleet import Fleet, Variant
from controller.observe.accepted import AcceptedFleets
from controller.observe.fleet_file import FleetFile, load_fleets
from controller.observe.local import LocalReplicaReader, LocalWeightReader
from controller.observe.prometheus import PrometheusSignals
from controller.observe.queries import Scope
from controller.observe.scrape import ScrapeSignals, check_reach
from controller.ports import ReplicaWriter
from controller.record.board import StatusBoard
from controller.record.encoded import MemoryEncoder
from controller.record.facts import DaemonFacts
from controller.record.journal import JournalFolder
from controller.record.memory import MemoryFile
from controller.settings import Settings
from engine.profile import Profile
from engine.profile_files import find_profile, load_profile

MEMORY_NAME = "memory.json"
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
    """A loop with its adapters, and what the process says of itself."""

    loop: Loop
    adapters: Adapters
    settings: Settings
    board: StatusBoard
    facts: Callable[[], DaemonFacts]
    boundary: Boundary
    """Around all that runs on schedule."""
    close: Callable[[], None]


def compose(settings: Settings, fleet_path: Path, proxy_admin_url: str | None) -> Daemon:
    """Build the daemon. Raises UsageError for what the user gave, TransientError where the state folder refuses."""
    declared = load_fleets(fleet_path)
    profiles = Profiles(fleet_path)
    for fleet in declared:
        profiles(fleet)
    if settings.supervisor_url is None:
        raise UsageError(
            "the daemon is not told where replicas live: give --supervisor URL of a local stack, or start the whole "
            "system with `governor local` (a Kubernetes cluster is not supported yet)"
        )
    if settings.prometheus_url is None:
        check_reach(declared)
    fleets = AcceptedFleets(FleetFile(fleet_path), profiles)
    clock = SystemClock(settings.clock_offset_s)
    encoder = MemoryEncoder()
    file = MemoryFile(settings.state_dir / MEMORY_NAME, encoder)
    store = SavedIntents(file)
    journal = JournalFolder(
        settings.state_dir / JOURNAL_NAME, program_version(), encoder, total_bytes=settings.journal_max_bytes
    )
    board = StatusBoard(clock)
    reader = SeenTargets(LocalReplicaReader(settings.supervisor_url))
    signals = _signals(settings, clock, proxy_admin_url)
    adapters = Adapters(
        fleets=fleets,
        signals=signals,
        reader=reader,
        writer=_writer(settings, reader, store),
        store=store,
        journal=journal,
        board=board,
        profiles=profiles,
        clock=clock,
        weights=LocalWeightReader(settings.supervisor_url),
    )
    loop = Loop(adapters, settings)
    boundary = Boundary()

    def facts() -> DaemonFacts:
        return DaemonFacts(
            version=program_version(),
            dry_run=settings.dry_run,
            interval_s=settings.tick_interval_s,
            queries=signals.asked if isinstance(signals, PrometheusSignals) else 0,
            query_failures=signals.refused if isinstance(signals, PrometheusSignals) else 0,
            unjournaled_records=loop.unjournaled,
            lost_records=loop.lost_records,
            journal_error=journal.error,
            memory_error=file.error,
            failed_cycles=boundary.failed,
            cycle_error=boundary.error,
            fleet_errors=tuple(dict.fromkeys(fleets.problems().values())),
        )

    def close() -> None:
        signals.close()
        loop.close()
        journal.close()

    return Daemon(loop, adapters, settings, board, facts, boundary, close)


def _writer(settings: Settings, reader: SeenTargets, store: SavedIntents) -> ReplicaWriter:
    """The gate before the writer; a dry run has a writer that cannot write."""
    if settings.dry_run or settings.supervisor_url is None:
        return DryRunReplicaWriter()
    return Gate(LocalReplicaWriter(settings.supervisor_url), [reader.opposed, store.unsaved])


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
    )


class Profiles:
    """Capacity profiles of a fleet's variants: named in the fleet, else found by model and accelerator.

    A profile file is named relative to the fleet's file. Read once each.
    """

    def __init__(self, fleet_path: Path) -> None:
        self._folder = fleet_path if fleet_path.is_dir() else fleet_path.parent
        self._load = lru_cache(maxsize=256)(self._read)

    def __call__(self, fleet: Fleet) -> Mapping[str, Profile]:
        """Profile by variant name. Raises UsageError naming the variant and the remedy."""
        return {v.name: self._of(fleet, v) for v in fleet.spec.variants}

    def _of(self, fleet: Fleet, variant: Variant) -> Profile:
        try:
            return self._load(variant.profile, fleet.spec.model_name, variant.accelerator)
        except UsageError as error:
            raise UsageError(f"fleet {fleet.key}, variant {variant.name}: {error}") from error

    def _read(self, name: str | None, model: str, accelerator: str) -> Profile:
        if name is None:
            return find_profile(model, accelerator)
        path = self._folder / name
        return load_profile(path if path.is_file() else name)
