"""The observed world of one fleet at one instant, frozen.

Silence is not idleness: every number is a `Reading` that says whether it may be trusted. A reading without
a trustworthy number has `value=None`; nothing here ever stands in for a missing value.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from controller.model.weights import RouteState

MOST = 1e12
"""No count, rate, ratio or time of one fleet is greater."""


class Freshness(StrEnum):
    """How far a reading may be trusted."""

    FRESH = "Fresh"
    """Complete and recent: may justify any change."""
    STALE = "Stale"
    """Old or partial (late samples, warnings of a federated Prometheus, replicas missing): never a scale-down."""
    ABSENT = "Absent"
    """Nobody reported it."""
    IMPLAUSIBLE = "Implausible"
    """Reported, but impossible: negative, NaN, infinite, from the future, duplicated."""


# Read some hundred times for each fleet and cycle: members are slow to reach through their class before Python 3.12.
_FRESH = Freshness.FRESH
_TRUSTED = (Freshness.FRESH, Freshness.STALE)


@dataclass(frozen=True, slots=True)
class Reading:
    """One number with its trustworthiness.

    `value` is None for ABSENT and IMPLAUSIBLE. `age_s` is measured on the *source's* clock (query time minus
    sample time), so a daemon whose own clock is off reads the same age. `detail` says what is wrong.
    Nothing that is counted here is negative, endless or beyond `MOST`, whoever called it trustworthy.
    """

    value: float | None
    freshness: Freshness
    age_s: float | None = None
    detail: str = ""

    @property
    def usable(self) -> float | None:
        """The value when Fresh or Stale (good enough to scale up on) and possible, else None."""
        value = self.value
        return value if self.freshness in _TRUSTED and value is not None and 0 <= value <= MOST else None

    @property
    def fresh(self) -> float | None:
        """The value when Fresh (good enough for anything) and possible, else None."""
        value = self.value
        return value if self.freshness is _FRESH and value is not None and 0 <= value <= MOST else None


ABSENT = Reading(None, Freshness.ABSENT)


@dataclass(frozen=True, slots=True)
class VariantSignals:
    """What the replicas of one variant said of themselves, summed or averaged over them, for one window.

    Rates are per second over `Snapshot.window_s`. Token counts are of work done: `prefill_tps` is prompt
    tokens computed (prefix hits are in `cached_tps`), `decode_tps` is tokens generated.
    """

    engines: Reading = ABSENT
    """Engines (replicas x data-parallel ranks) that reported a recent sample."""
    running: Reading = ABSENT
    waiting: Reading = ABSENT
    kv_usage_ratio: Reading = ABSENT
    """Mean over engines, 0-1."""
    kv_usage_max_ratio: Reading = ABSENT
    kv_capacity_tokens: Reading = ABSENT
    """Blocks x block size of one engine, from vllm:cache_config_info."""
    finished_rps: Reading = ABSENT
    """Requests finished per second, whatever the reason."""
    first_token_rps: Reading = ABSENT
    """First tokens per second: the count of the TTFT histogram."""
    ttft_within_ratio: Reading = ABSENT
    """Share of first tokens within the TTFT objective's threshold. ABSENT where nothing was counted."""
    tpot_within_ratio: Reading = ABSENT
    """Share of finished requests within the TPOT objective's threshold."""
    itl_mean_s: Reading = ABSENT
    """Mean inter-token latency: the token-weighted mean step time."""
    prefill_tps: Reading = ABSENT
    cached_tps: Reading = ABSENT
    decode_tps: Reading = ABSENT
    steps_per_s: Reading = ABSENT
    """Engine steps per second, summed over engines (count of vllm:iteration_tokens_total)."""
    preemptions_per_s: Reading = ABSENT
    gpu_busy_ratio: Reading = ABSENT
    """DCGM GPU utilisation as a ratio, mean over the variant's GPUs."""
    gpu_memory_ratio: Reading = ABSENT
    """DCGM frame buffer in use, mean over the variant's GPUs. vLLM takes its memory at the start: this says what is
    allocated, not how full the cache is."""


class ReplicaPhase(StrEnum):
    """Where one replica is in its life."""

    PENDING = "Pending"
    """Wanted, but no machine has taken it."""
    STARTING = "Starting"
    READY = "Ready"
    DRAINING = "Draining"
    """Takes no new requests, finishes the running ones."""
    FAILED = "Failed"
    """Ended or crash-looping without having become ready."""


_READY = ReplicaPhase.READY


@dataclass(frozen=True, slots=True)
class Replica:
    """One replica. Times are UTC seconds by the cluster's clock; `load` is running + waiting where known."""

    name: str
    phase: ReplicaPhase
    created_at: float
    ready_at: float | None = None
    load: float | None = None
    detail: str = ""
    address: str = ""
    """host:port of its HTTP server, where it can be reached directly; empty where not known."""


@dataclass(frozen=True, slots=True)
class ScaleTarget:
    """The scalable object behind a variant as read from the cluster: the truth about replicas."""

    desired: int
    resource_version: str
    replicas: tuple[Replica, ...]
    foreign_writer: str = ""
    """Who else drives this object (an HPA, another controller); empty when nobody does."""
    chooses_victims: bool = True
    """Whether named victims are honoured (a StatefulSet always drops its highest ordinal)."""

    def in_phase(self, *phases: ReplicaPhase) -> tuple[Replica, ...]:
        """The replicas that are in one of `phases`."""
        return tuple(r for r in self.replicas if r.phase in phases)

    @property
    def ready(self) -> int:
        """Replicas that take requests now."""
        return [r.phase for r in self.replicas].count(_READY)


@dataclass(frozen=True, slots=True)
class VariantState:
    """One variant as observed. `target` is None where the cluster could not be read."""

    name: str
    target: ScaleTarget | None
    signals: VariantSignals
    weight_pct: int | None = None
    """Share of the fleet's requests that is routed to the variant's subset; None where not read."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything that one decision about one fleet may depend on, besides memory and the Fleet itself."""

    fleet: str
    """namespace/name."""
    at: float
    """The daemon's wall clock, UTC seconds: the decision's `now`."""
    source: str
    """Where signals came from: `prometheus` or `scrape`."""
    window_s: float
    """Length of the rate window."""
    variants: tuple[VariantState, ...]
    inflight: Reading = ABSENT
    """Running + waiting over all variants: the newest stored samples (may be newer than the windows)."""
    inflight_before: Reading = ABSENT
    """The same at the window's start."""
    refused_rps: Reading = ABSENT
    """Requests per second turned away at the proxy because no replica was ready."""
    source_skew_s: float | None = None
    """The metric source's clock minus the daemon's."""
    warnings: tuple[str, ...] = ()
    """What the source said about its own answer (partial data, failed queries), in its words."""
    active_schedules: tuple[str, ...] = ()
    """Names of the fleet's schedules whose time window contains `at` (resolved at the edge: zones need files)."""
    problem: str = ""
    """Why the fleet's newest version was refused, and an older one is in force; empty where it was not."""
    vllm_family: str = ""
    """Version family that the exposed metric names belong to."""
    interval_s: float = 5.0
    """Time to the next full cycle."""
    pressure: tuple[tuple[float, float], ...] = ()
    """The light query's newest samples (seconds before `at`, running + waiting), oldest first; only in woken cycles."""
    unread: str = ""
    """Why replicas could not be read, in the words of who was asked; empty where they were."""
    route: Annotated[RouteState | None, Field(exclude_if=lambda found: found is None)] = None
    """The route whose weights are set by hand; None where the fleet has none."""

    @property
    def cluster_at(self) -> float:
        """`at` by the clock of metric source and cluster, where their difference is known: for ages of replicas."""
        return self.at + (self.source_skew_s or 0.0)

    def variant(self, name: str) -> VariantState | None:
        """The observed variant of that name, if any."""
        return next((v for v in self.variants if v.name == name), None)
