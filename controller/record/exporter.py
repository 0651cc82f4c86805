"""The daemon's metrics: read off the board when Prometheus asks, stored nowhere twice."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from operator import itemgetter

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from controller import metrics as m
from controller.model.decision import ConditionStatus
from controller.ports import CycleRecord
from controller.record.board import StatusBoard
from controller.record.facts import DaemonFacts
from controller.record.figures import Figures, VariantFigures, figures
from controller.record.totals import Tally, Totals

Family = GaugeMetricFamily | CounterMetricFamily | HistogramMetricFamily
Rows = Iterable[tuple[tuple[str, ...], float | None]]

_BY_FLEET: Mapping[m.Metric, Callable[[Figures], float | None]] = {
    m.ARRIVAL: lambda f: f.arrival_rps,
    m.SIZED: lambda f: f.sized_rps,
    m.CAPACITY: lambda f: f.capacity_rps,
    m.RUNNING: lambda f: f.running,
    m.WAITING: lambda f: f.waiting,
    m.COST: lambda f: f.cost_per_hour,
    m.SOURCE_AGE: lambda f: f.oldest_sample_s,
    m.LAST_DECISION: lambda f: f.at,
}
_BY_VARIANT: Mapping[m.Metric, Callable[[VariantFigures], float | None]] = {
    m.DESIRED: lambda v: v.desired,
    m.READY: lambda v: v.ready,
    m.STARTING: lambda v: v.starting,
    m.DRAINING: lambda v: v.draining,
    m.REPLICA_CAPACITY: lambda v: v.capacity_rps,
    m.REPLICA_CAPACITY_UNCERTAINTY: lambda v: v.capacity_uncertainty_ratio,
}


class BoardCollector(Collector):
    """All families of `controller.metrics.CATALOGUE`. What is unknown has no sample, never a zero."""

    def __init__(self, board: StatusBoard, facts: Callable[[], DaemonFacts]) -> None:
        self._board = board
        self._facts = facts

    def collect(self) -> Iterator[Family]:
        """The families, as of the latest cycle."""
        yield from _daemon(self._facts(), self._board)
        shown = [(record, figures(record)) for record in self._board.records()]
        yield from _fleets(shown)
        yield from _variants(shown)
        with self._board.totals() as totals:
            families = list(_totals(totals))
        yield from families


def exposition(board: StatusBoard, facts: Callable[[], DaemonFacts]) -> bytes:
    """The page that Prometheus scrapes, in its text format."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(BoardCollector(board, facts))
    return generate_latest(registry)


def _gauge(metric: m.Metric, rows: Rows) -> GaugeMetricFamily:
    family = GaugeMetricFamily(metric.name, metric.help, labels=metric.labels)
    for labels, value in rows:
        if value is not None:
            family.add_metric(labels, value)
    return family


def _counter(metric: m.Metric, rows: Rows) -> CounterMetricFamily:
    family = CounterMetricFamily(metric.name, metric.help, labels=metric.labels)
    for labels, value in rows:
        family.add_metric(labels, value or 0.0)
    return family


def _histogram(metric: m.Metric, tallies: Iterable[tuple[tuple[str, ...], Tally]]) -> HistogramMetricFamily:
    family = HistogramMetricFamily(metric.name, metric.help, labels=metric.labels)
    for labels, tally in tallies:
        family.add_metric(labels, tally.cumulative(), tally.total)
    return family


def _daemon(facts: DaemonFacts, board: StatusBoard) -> Iterator[Family]:
    last = board.last_tick()
    yield _gauge(m.BUILD_INFO, [((facts.version,), 1.0)])
    yield _gauge(m.DRY_RUN, [((), float(facts.dry_run))])
    yield _gauge(m.LEADING, [((), float(facts.leading))])
    yield _gauge(m.LAST_TICK, [((), last.at if last is not None else None)])
    yield _counter(m.QUERIES, [((), facts.queries)])
    yield _counter(m.QUERY_FAILURES, [((), facts.query_failures)])
    yield _gauge(m.UNJOURNALED, [((), facts.unjournaled_records)])
    yield _counter(m.LOST_RECORDS, [((), facts.lost_records)])
    errors = {"journal": facts.journal_error, "memory": facts.memory_error}
    yield _gauge(m.DURABLE, [((store,), float(not error)) for store, error in errors.items()])


def _fleets(shown: list[tuple[CycleRecord, Figures]]) -> Iterator[Family]:
    for metric, value in _BY_FLEET.items():
        yield _gauge(metric, [((record.fleet.key,), value(f)) for record, f in shown])
    yield _gauge(m.ATTAINMENT, [row for record, f in shown for row in _attained(record, f)])
    yield _gauge(m.TARGET, [row for record, _ in shown for row in _promised(record)])
    yield _gauge(
        m.CONDITION,
        [
            ((record.fleet.key, c.type, status.value), float(c.status is status))
            for record, _ in shown
            for c in record.plan.decision.conditions
            for status in ConditionStatus
        ],
    )


def _attained(record: CycleRecord, f: Figures) -> Rows:
    yield (record.fleet.key, "ttft"), f.ttft_within_ratio
    yield (record.fleet.key, "tpot"), f.tpot_within_ratio


def _promised(record: CycleRecord) -> Rows:
    objectives = record.fleet.spec.objectives
    yield (record.fleet.key, "ttft"), objectives.ttft.target
    yield (record.fleet.key, "tpot"), objectives.tpot.target


def _variants(shown: list[tuple[CycleRecord, Figures]]) -> Iterator[Family]:
    pairs = [(record.fleet.key, variant) for record, f in shown for variant in f.variants]
    yield _gauge(m.VARIANT_INFO, [((fleet, v.name, v.role, v.subset), 1.0) for fleet, v in pairs])
    for metric, value in _BY_VARIANT.items():
        yield _gauge(metric, [((fleet, v.name), value(v)) for fleet, v in pairs])


def _totals(totals: Totals) -> Iterator[Family]:
    yield _counter(m.TICKS, [((), totals.ticks)])
    yield _histogram(m.TICK_DURATION, [((), totals.tick_s)])
    yield _counter(m.DECISIONS, sorted(totals.decisions.items()))
    yield _counter(m.WRITES, sorted(totals.writes.items()))
    yield _histogram(m.COLD_START, sorted(totals.cold_starts.items(), key=itemgetter(0)))
