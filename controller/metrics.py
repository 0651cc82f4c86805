"""Catalogue of the daemon's own metrics: what it exposes, and what dashboards and alerts may ask for.

Base units: seconds, ratios from 0 to 1, requests per second. `fleet` is namespace/name.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["gauge", "counter", "histogram"]


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric family. Counters end in `_total`, what has a unit ends in it."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()
    """Upper edges of a histogram, without the infinite one."""


_VARIANT = ("fleet", "variant")

BUILD_INFO = Metric("governor_build_info", "gauge", "Always 1; the version is the label.", ("version",))
DRY_RUN = Metric("governor_dry_run", "gauge", "1 when decisions are recorded but nothing is written.")
LEADING = Metric("governor_leading", "gauge", "1 for the instance that decides and writes, 0 for those that stand by.")
TICKS = Metric("governor_ticks_total", "counter", "Cycles ended, full and woken ones.")
LAST_TICK = Metric("governor_last_tick_timestamp_seconds", "gauge", "When the last cycle ended, UTC.")
TICK_DURATION = Metric(
    "governor_tick_duration_seconds",
    "histogram",
    "Length of a cycle from its first query to its last write.",
    buckets=(0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0),
)
QUERIES = Metric("governor_source_queries_total", "counter", "Queries sent to the metric source.")
QUERY_FAILURES = Metric("governor_source_query_failures_total", "counter", "Queries without a complete answer.")
UNJOURNALED = Metric("governor_journal_unwritten_records", "gauge", "Cycles that wait for the journal's disk.")
LOST_RECORDS = Metric(
    "governor_journal_lost_records_total", "counter", "Cycles given up because the disk refused them."
)
DURABLE = Metric("governor_state_writable", "gauge", "1 when the last write succeeded.", ("store",))

DECISIONS = Metric("governor_decisions_total", "counter", "Decisions.", ("fleet", "action", "reason"))
WRITES = Metric(
    "governor_writes_total", "counter", "Orders to scale by what became of them.", ("fleet", "variant", "status")
)
CONDITION = Metric(
    "governor_condition",
    "gauge",
    "1 for the status that a fleet's condition has, 0 for the others.",
    ("fleet", "condition", "status"),
)
LAST_DECISION = Metric("governor_last_decision_timestamp_seconds", "gauge", "When it was decided, UTC.", ("fleet",))
SOURCE_AGE = Metric("governor_source_age_seconds", "gauge", "Age of the oldest sample decided on.", ("fleet",))

ARRIVAL = Metric("governor_arrival_rps", "gauge", "Requests arriving per second, estimated.", ("fleet",))
SIZED = Metric("governor_sized_rps", "gauge", "Requests per second that the fleet is sized for.", ("fleet",))
CAPACITY = Metric("governor_capacity_rps", "gauge", "Requests/s that all ready replicas carry in time.", ("fleet",))
RUNNING = Metric("governor_running_requests", "gauge", "Requests being served.", ("fleet",))
WAITING = Metric("governor_waiting_requests", "gauge", "Requests queued in the engines.", ("fleet",))
ATTAINMENT = Metric(
    "governor_attainment_ratio", "gauge", "Share of requests inside the objective's threshold.", ("fleet", "objective")
)
TARGET = Metric("governor_objective_target_ratio", "gauge", "Share that was promised.", ("fleet", "objective"))
COST = Metric("governor_cost_per_hour", "gauge", "Price of the replicas that hold a machine, per hour.", ("fleet",))

VARIANT_INFO = Metric(
    "governor_variant_info", "gauge", "Always 1; role and subset of a variant.", (*_VARIANT, "role", "subset")
)
DESIRED = Metric("governor_replicas_desired", "gauge", "Replicas ordered.", _VARIANT)
READY = Metric("governor_replicas_ready", "gauge", "Replicas that take requests.", _VARIANT)
STARTING = Metric("governor_replicas_starting", "gauge", "Replicas on their way, pending ones included.", _VARIANT)
DRAINING = Metric("governor_replicas_draining", "gauge", "Replicas that finish what runs and leave.", _VARIANT)
REPLICA_CAPACITY = Metric(
    "governor_replica_capacity_rps", "gauge", "Requests/s that one replica carries in time, as learned.", _VARIANT
)
REPLICA_CAPACITY_UNCERTAINTY = Metric(
    "governor_replica_capacity_uncertainty_ratio", "gauge", "Relative uncertainty of the learned capacity.", _VARIANT
)
COLD_START = Metric(
    "governor_cold_start_seconds",
    "histogram",
    "Measured time from a replica's creation to its readiness.",
    _VARIANT,
    (5.0, 10.0, 15.0, 30.0, 60.0, 90.0, 120.0, 180.0, 300.0, 600.0, 1200.0, 1800.0),
)

CATALOGUE: tuple[Metric, ...] = tuple(value for value in list(globals().values()) if isinstance(value, Metric))
"""Every metric, in the order above."""
