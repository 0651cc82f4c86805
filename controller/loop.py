"""The shell around the pure core: look once, plan every fleet, persist, act, record.

One cycle reads the world, plans each fleet from its snapshot and memory, makes memory and journal durable, and only
then writes. Level-triggered: every write is absolute, the next cycle plans afresh from live state. Between full
cycles a light query over all fleets wakes the cycle early for those whose load jumps.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import structlog

from controller.clock import Clock
from controller.errors import GovernorError, PermanentError, TransientError
from controller.model.decision import Action, Outcome, OutcomeStatus, WeightWrite, Write
from controller.model.fleet import Fleet
from controller.model.memory import FleetMemory
from controller.model.snapshot import ABSENT, ScaleTarget, Snapshot, VariantSignals, VariantState
from controller.model.weights import RouteState, WeightReading, weights_text
from controller.plan import plan
from controller.ports import (
    Board,
    CycleRecord,
    FleetSignals,
    FleetSource,
    Journal,
    MemoryStore,
    ReplicaReader,
    ReplicaWriter,
    SignalSource,
    VariantKey,
    WeightReader,
    WeightWriter,
)
from controller.pressure import PressureWatch
from controller.schedule import active_schedules
from controller.settings import Settings
from engine.profile import Profile

_UNWRITTEN_MAX = 20_000
"""Cycles kept for a journal that cannot be written, before the oldest are let go (and counted)."""
_REMEMBERED_S = 86_400.0
"""What was learned of a fleet that is declared no more is kept so long: a mistaken edit forgets nothing."""

_log = structlog.get_logger("governor")


@dataclass(frozen=True, slots=True)
class Adapters:
    """The world as the loop needs it, built in one place by the command line."""

    fleets: FleetSource
    signals: SignalSource
    reader: ReplicaReader
    writer: ReplicaWriter
    store: MemoryStore
    journal: Journal
    board: Board
    profiles: Callable[[Fleet], Mapping[str, Profile]]
    clock: Clock
    weights: WeightReader | None = None
    """None where traffic is not split by weight, or cannot be read."""
    weight_writer: WeightWriter | None = None
    """None where nobody may move traffic."""


@dataclass(frozen=True, slots=True)
class _Seen:
    """One look at the world, over all fleets of a cycle."""

    at: float
    targets: Mapping[VariantKey, ScaleTarget]
    signals: Mapping[str, FleetSignals]
    weights: Mapping[str, WeightReading]
    unread: str
    """Why replicas could not be read; empty where they were."""
    weights_unread: str = ""
    """Why no weights could be read; empty where some were."""


class Loop:
    """Cycles over all fleets. Thread-safe: full and woken cycles never overlap."""

    def __init__(self, adapters: Adapters, settings: Settings) -> None:
        self._adapters = adapters
        self._settings = settings
        self._lock = threading.Lock()
        self._memories: dict[str, FleetMemory] = {}
        self._watch = PressureWatch(settings.wake_ratio, settings.wake_window_s, settings.scrape_interval_s)
        self._unwritten: list[CycleRecord] = []
        self._unwritten_base: Mapping[str, FleetMemory] = {}
        self.lost_records = 0
        self._loaded = False

    @property
    def unjournaled(self) -> int:
        """Cycles that wait for a journal that could not be written."""
        return len(self._unwritten)

    def tick(self) -> None:
        """One full cycle over all fleets."""
        with self._lock:
            fleets = self._adapters.fleets.fleets()
            self._cycle(fleets)
            self._forget_gone(fleets)

    def stand_by(self) -> None:
        """Another instance leads, and changes what is remembered: the next cycle loads it anew."""
        with self._lock:
            self._memories, self._loaded = {}, False

    def watch(self) -> bool:
        """One light query; a cycle at once for fleets whose load jumps. Returns whether there was one."""
        fleets = self._adapters.fleets.fleets()
        now = self._adapters.clock.monotonic()
        jumped = self._watch.observe(self._adapters.signals.pressure(fleets), now)
        woken = [f for f in fleets if f.key in jumped]
        if not woken or not self._lock.acquire(blocking=False):
            return False
        try:
            self._watch.woken(jumped, now)
            _log.info("woken", fleets=[f.key for f in woken])
            self._cycle(woken)
        finally:
            self._lock.release()
        return True

    def close(self) -> None:
        """The end: what waits for the journal is tried once more, and what is lost for good is said."""
        with self._lock:
            why = self._journal_rest()
            self.lost_records += len(self._unwritten)
            self._unwritten = []
            if self.lost_records:
                _log.error("decisions lost", lost=self.lost_records, error=why)

    def _journal_rest(self) -> str:
        """Why the journal did not take what waits for it; empty where it did, or nothing waits."""
        if not self._unwritten:
            return ""
        try:
            self._adapters.journal.append(self._unwritten, self._unwritten_base)
            self._unwritten = []
        except TransientError as error:
            return str(error)
        return ""

    def _cycle(self, fleets: Sequence[Fleet]) -> None:
        started = self._adapters.clock.monotonic()
        self._load()
        targets, unread = self._targets(fleets)
        signals = self._adapters.signals.read(fleets, targets)
        at = self._adapters.clock.now()
        before = dict(self._memories)
        weights, weights_unread = self._weights(fleets)
        seen = _Seen(at, targets, signals, weights, unread, weights_unread)
        records = [r for f in fleets if (r := self._planned(f, seen)) is not None]
        for record in records:
            self._memories[record.fleet.key] = record.plan.memory
        durable = self._persist(records, before)
        outcomes = self._act(records, durable=durable)
        self._record(at, outcomes)
        self._adapters.board.publish(records, outcomes, self._adapters.clock.monotonic() - started)
        for record in records:
            _say(record)

    def _load(self) -> None:
        if self._loaded:
            return
        try:
            self._memories = dict(self._adapters.store.load())
        except PermanentError as error:
            _log.error("memory lost", error=str(error), kept_at=self._set_aside())
            at = self._adapters.clock.now()
            self._memories = {
                f.key: replace(FleetMemory.empty(f.key), lost_at=at) for f in self._adapters.fleets.fleets()
            }
        self._loaded = True

    def _set_aside(self) -> str:
        try:
            return self._adapters.store.set_aside()
        except TransientError as error:
            return f"not kept: {error}"

    def _targets(self, fleets: Sequence[Fleet]) -> tuple[Mapping[VariantKey, ScaleTarget], str]:
        """The replicas, or why there are none."""
        try:
            return self._adapters.reader.read(fleets), ""
        except TransientError as error:
            _log.warning("replicas unreadable", error=str(error))
            return {}, str(error)

    def _weights(self, fleets: Sequence[Fleet]) -> tuple[Mapping[str, WeightReading], str]:
        """The weights, or why there are none."""
        reader = self._adapters.weights
        try:
            return (reader.weights(fleets), "") if reader is not None else ({}, "nobody reads them here")
        except TransientError as error:
            _log.warning("weights unreadable", error=str(error))
            return {}, str(error)

    def _planned(self, fleet: Fleet, seen: _Seen) -> CycleRecord | None:
        """Plan one fleet. A bug in the plan of one fleet must not stop the others."""
        try:
            profiles = self._adapters.profiles(fleet)
            snapshot = self._snapshot(fleet, seen)
            memory = self._memories.get(fleet.key, FleetMemory.empty(fleet.key))
            result = plan(snapshot, memory, fleet, seen.at, profiles)
        except GovernorError as error:
            _log.error("fleet skipped", fleet=fleet.key, error=str(error))
            return None
        except Exception:  # noqa: BLE001 - the per-fleet boundary: logged with traceback, the loop goes on
            _log.exception("fleet skipped: defect", fleet=fleet.key)
            return None
        return CycleRecord(fleet=fleet, snapshot=snapshot, plan=result, profiles=profiles)

    def _snapshot(self, fleet: Fleet, seen: _Seen) -> Snapshot:
        signals = seen.signals.get(fleet.key)
        if signals is None:
            signals = FleetSignals("none", self._settings.rate_window_s, {}, ABSENT, ABSENT, ABSENT)
        split = seen.weights.get(fleet.key, WeightReading(problem=seen.weights_unread or "the fleet has no such route"))
        return Snapshot(
            fleet=fleet.key,
            at=seen.at,
            source=signals.source,
            window_s=signals.window_s,
            variants=tuple(
                VariantState(
                    name=v.name,
                    target=seen.targets.get((fleet.key, v.name)),
                    signals=signals.variants.get(v.name, VariantSignals()),
                    weight_pct=split.weights.get(v.subset),
                )
                for v in fleet.spec.variants
            ),
            inflight=signals.inflight,
            inflight_before=signals.inflight_before,
            refused_rps=signals.refused_rps,
            source_skew_s=signals.source_skew_s,
            warnings=signals.warnings,
            active_schedules=active_schedules(fleet, seen.at),
            problem=self._adapters.fleets.problems().get(fleet.key, ""),
            vllm_family=signals.vllm_family,
            interval_s=self._settings.tick_interval_s,
            pressure=self._watch.recent(fleet.key, self._adapters.clock.monotonic()),
            unread=seen.unread,
            route=_route(split) if fleet.spec.traffic is not None else None,
        )

    def _forget_gone(self, declared: Sequence[Fleet]) -> None:
        """Memories of fleets that were removed leave a day after their last decision."""
        oldest, kept = self._adapters.clock.now() - _REMEMBERED_S, {f.key for f in declared}
        for key in [k for k, m in self._memories.items() if k not in kept and _last_at(m) < oldest]:
            del self._memories[key]
            _log.info("memory of a removed fleet forgotten", fleet=key)

    def _persist(self, records: Sequence[CycleRecord], before: Mapping[str, FleetMemory]) -> bool:
        """Memory and journal on disk before anything is written to the cluster. False where the disk refuses."""
        if not self._unwritten:
            self._unwritten_base = before
        self._unwritten.extend(records)
        durable = True
        try:
            self._adapters.store.save(self._memories)
        except TransientError as error:
            durable = False
            _log.error("memory not saved", error=str(error))
        refusal = self._journal_rest()
        if refusal:
            durable = False
            _log.error("journal not written", error=refusal, waiting=len(self._unwritten))
            self._forget_oldest()
        return durable

    def _forget_oldest(self) -> None:
        while len(self._unwritten) > _UNWRITTEN_MAX:
            oldest = self._unwritten.pop(0)
            self._unwritten_base = {**self._unwritten_base, oldest.fleet.key: oldest.plan.memory}
            self.lost_records += 1

    def _act(self, records: Sequence[CycleRecord], *, durable: bool) -> list[Outcome]:
        """Send the writes. With a disk that refuses, growth still goes out (safe to repeat), reductions wait."""
        writes = [w for r in records for w in r.plan.ordered]
        why = "neither memory nor journal may be behind what was written: reductions wait until the disk takes both"
        return [
            self._sent(w) if durable or w.safe_to_repeat else Outcome(w, OutcomeStatus.REFUSED, why) for w in writes
        ]

    def _sent(self, write: Write) -> Outcome:
        if isinstance(write, WeightWrite):
            return self._split(write)
        outcome = self._adapters.writer.scale(write)
        _log.info(
            "write",
            fleet=write.fleet,
            variant=write.variant,
            replicas=write.replicas,
            before=write.current,
            status=outcome.status.value,
            detail=outcome.detail,
        )
        return outcome

    def _split(self, write: WeightWrite) -> Outcome:
        writer = self._adapters.weight_writer
        unable = Outcome(write, OutcomeStatus.REFUSED, "nobody may move traffic here")
        outcome = writer.set_weights(write) if writer is not None else unable
        # Traffic taken from where nobody answers is the one exception to capacity before traffic: it is told aloud.
        log = _log.warning if write.urgent else _log.info
        log(
            "write",
            fleet=write.fleet,
            weights=weights_text(write.weights),
            before=weights_text(write.before),
            urgent=write.urgent,
            status=outcome.status.value,
            detail=outcome.detail,
        )
        return outcome

    def _record(self, at: float, outcomes: Sequence[Outcome]) -> None:
        if not outcomes:
            return
        try:
            self._adapters.journal.outcomes(at, outcomes)
        except TransientError as error:
            _log.error("outcomes not journalled", error=str(error))


def _route(split: WeightReading) -> RouteState:
    return RouteState(split.resource_version, split.foreign, split.problem)


def _last_at(memory: FleetMemory) -> float:
    """When something was last decided under this memory, or it began."""
    last = memory.recommendations[-1].at if memory.recommendations else 0.0
    return max(last, memory.started_at or 0.0, memory.lost_at or 0.0)


def _say(record: CycleRecord) -> None:
    decision = record.plan.decision
    log = _log.debug if decision.action is Action.HOLD else _log.info
    log(
        "cycle", fleet=decision.fleet, action=decision.action.value, reason=decision.reason.value, why=decision.sentence
    )
