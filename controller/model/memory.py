"""What the cluster cannot tell us again after a crash: little, versioned, safe when lost.

Replica counts and weights are never remembered as truth; the live objects are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from controller.model.decision import Condition, Counts, ScaleWrite, WeightWrite
from controller.model.weights import RouteRef, Weights

MEMORY_VERSION = 1


@dataclass(frozen=True, slots=True)
class LearnedLaw:
    """A Gaussian belief about the step law of one variant: terms a, b, e, c, d of `engine.perf.StepLaw`.

    `mean` has 5 entries in seconds per unit, `covariance` the 25 entries row by row. `samples` counts updates.
    `profile` names the prior it was started from: another profile starts afresh.
    """

    profile: str
    mean: tuple[float, ...]
    covariance: tuple[float, ...]
    samples: int = 0


@dataclass(frozen=True, slots=True)
class StartingReplica:
    """A replica seen starting, to measure its cold start when it becomes ready."""

    name: str
    since: float


@dataclass(frozen=True, slots=True)
class VariantMemory:
    """What was learned about one variant."""

    name: str
    law: LearnedLaw | None = None
    tpot_spread: float | None = None
    """Log-spread of per-request TPOT around its mean (lognormal sigma), learned from attainment."""
    ttft_spread: float | None = None
    prompt_tokens: float | None = None
    """Mean computed prompt tokens per request, smoothed."""
    output_tokens: float | None = None
    cached_tokens: float | None = None
    kv_tokens_per_ratio: float | None = None
    """Learned KV capacity in tokens where blocks x block size misleads."""
    cold_starts_s: tuple[float, ...] = ()
    """The last measured cold starts, oldest first, at most 16."""
    starting: tuple[StartingReplica, ...] = ()
    given_up: tuple[str, ...] = ()
    """Replicas past their start deadline: counted as no capacity, neither now nor later."""


@dataclass(frozen=True, slots=True)
class DemandPoint:
    """Demand as estimated at one tick."""

    at: float
    arrival_rps: float
    prefill_tps: float
    decode_tps: float
    inflight: float


@dataclass(frozen=True, slots=True)
class Recommendation:
    """What a past cycle would have wanted before stabilisation."""

    at: float
    replicas: Counts


@dataclass(frozen=True, slots=True)
class TrafficMemory:
    """What is remembered of weights set by hand, to tell foreign changes from our own. Another wish starts afresh."""

    wanted: Weights
    route: RouteRef
    settled: Weights | None = None
    """What was last seen as we want it, or as we wrote it."""
    seen: Weights | None = None
    """What was observed last."""
    intent: WeightWrite | None = None
    """A write persisted before it is sent; whether it took effect shows in the next reading."""
    intent_at: float | None = None
    repairing: bool = False
    """Whether the intent puts back what somebody else changed."""
    repairs: tuple[float, ...] = ()
    """When foreign changes were put back, within the last ten minutes."""
    foreign_at: float | None = None
    """When the weights were last changed by somebody else."""
    contested: bool = False
    """Left alone, until nobody has changed them for ten minutes."""


@dataclass(frozen=True, slots=True)
class FleetMemory:
    """Memory of one fleet. A fresh one (`FleetMemory.empty`) can never cause a reduction or an advance by itself."""

    fleet: str
    version: int = MEMORY_VERSION
    started_at: float | None = None
    """When this memory began: look-back windows are not complete before it is older than they are."""
    stable: str = ""
    """Subset that holds production traffic; empty: the first variant's."""
    variants: tuple[VariantMemory, ...] = ()
    demand: tuple[DemandPoint, ...] = ()
    recommendations: tuple[Recommendation, ...] = ()
    last_up_at: float | None = None
    last_down_at: float | None = None
    last_demand_at: float | None = None
    """When demand was last seen (or could not be ruled out): scale to zero counts from here."""
    lost_at: float | None = None
    """When an older memory was found unreadable and this one was begun in its place."""
    conditions: tuple[Condition, ...] = ()
    intent_at: float | None = None
    intent: tuple[ScaleWrite, ...] = ()
    """Writes persisted before they are sent; re-planned from live state after a crash, never re-sent blindly."""
    traffic: Annotated[TrafficMemory | None, Field(exclude_if=lambda found: found is None)] = None
    """Of a fleet whose weights are set by hand. Written only where there is something to remember."""

    @staticmethod
    def empty(fleet: str) -> FleetMemory:
        """Memory of a fleet never seen before."""
        return FleetMemory(fleet=fleet)

    def variant(self, name: str) -> VariantMemory:
        """Memory of one variant; blank if nothing is known."""
        return next((v for v in self.variants if v.name == name), VariantMemory(name=name))
