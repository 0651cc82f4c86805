"""What was decided, and the whole history of the number: who changed it, to what, why.

A decision is a value. The journal, the conditions, the metrics and the pages are rendered from it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from controller.model.weights import RouteRef, Weights

Counts = tuple[tuple[str, int], ...]
"""Replicas by variant, in the fleet's order of variants."""


class Action(StrEnum):
    """The direction of a decision, over the whole fleet's capacity."""

    UP = "Up"
    DOWN = "Down"
    SHIFT = "Shift"
    """Some variants grow while others shrink."""
    TRAFFIC = "Traffic"
    """Replicas are kept, weights move."""
    HOLD = "Hold"


class Reason(StrEnum):
    """Why a stage changed or kept a number. Closed: it is a metric label."""

    DEMAND = "Demand"
    """The cheapest mix that carries the demand inside the objectives."""
    PRESSURE = "Pressure"
    """Objectives missed or queue growing although the model sees enough capacity: one more."""
    THRESHOLD_UP = "ThresholdUp"
    THRESHOLD_DOWN = "ThresholdDown"
    WAKE = "Wake"
    """Requests refused while at zero replicas."""
    IDLE = "Idle"
    """No demand for the whole idle window: down to zero where allowed."""
    STEADY = "Steady"
    """The current count is what is wanted."""
    RETRY = "Retry"
    """One more, because a replica on its way was given up."""
    BLIND = "Blind"
    """No trustworthy reading at all: hold."""
    NOT_FRESH = "NotFresh"
    """A reduction refused because evidence is stale, partial or missing."""
    IN_FLIGHT = "InFlight"
    """Pressure, but capacity is already on its way: no second order for the same demand."""
    STABILISED = "Stabilised"
    """A reduction held back by the look-back window."""
    COOL_DOWN = "CoolDown"
    STEP_LIMIT = "StepLimit"
    HEADROOM = "Headroom"
    """The shrunken fleet was predicted to miss its objectives."""
    BOUND_MIN = "BoundMin"
    BOUND_MAX = "BoundMax"
    BUDGET = "Budget"
    FOREIGN_WRITER = "ForeignWriter"
    PAUSED = "Paused"
    OVERRIDE = "Override"
    UNATTAINABLE = "Unattainable"
    """No replica count can meet the objective; sized for stability instead."""
    UNREADABLE = "Unreadable"
    """The cluster could not be read: nothing to decide on."""
    WEIGHTS = "Weights"
    """Weights moved to what the Fleet wants: every version that gets more can carry it."""
    WAITING_FOR_CAPACITY = "WaitingForCapacity"
    """Weights held: a version that would get more cannot carry it yet."""
    DRIFT = "Drift"
    """Weights put back after somebody else changed them."""
    CONTESTED = "Contested"
    """Weights left alone: somebody else keeps changing them."""
    NO_READY_REPLICA = "NoReadyReplica"
    """Traffic taken from a version without a ready replica."""
    BLOCKED = "Blocked"
    """Weights cannot be written: the route is not as the Fleet says."""


@dataclass(frozen=True, slots=True)
class Step:
    """One stage's effect on the replica counts. `before == after` is a stage that looked and kept."""

    stage: str
    before: Counts
    after: Counts
    reason: Reason
    message: str
    """One sentence with numbers and units."""
    inputs: tuple[tuple[str, float | None], ...] = ()
    """What the stage looked at, with units in the names."""


@dataclass(frozen=True, slots=True)
class Alternative:
    """A mix that was considered and not taken, and why."""

    replicas: Counts
    cost_per_hour: float
    why_not: str


@dataclass(frozen=True, slots=True)
class TrafficDecision:
    """What one cycle decided about weights set by hand."""

    wanted: Weights
    before: Weights | None
    """As observed; None where they could not be read."""
    after: Weights | None
    """What shall hold from now on: `before` where the weights are held."""
    reason: Reason
    sentence: str
    """What is done or waited for, with numbers."""


class ConditionStatus(StrEnum):
    """Kubernetes condition status."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


@dataclass(frozen=True, slots=True)
class Condition:
    """A standing fact. `since` moves only when `status` changes."""

    type: str
    status: ConditionStatus
    reason: str
    message: str
    since: float


@dataclass(frozen=True, slots=True)
class Decision:
    """What one cycle decided for one fleet."""

    fleet: str
    at: float
    action: Action
    before: Counts
    after: Counts
    reason: Reason
    """The binding one: the last reason that set the final number."""
    sentence: str
    """The decision for people: what, and why, with numbers."""
    steps: tuple[Step, ...]
    rejected: tuple[Alternative, ...] = ()
    counterfactuals: tuple[str, ...] = ()
    """What would have changed the outcome: "5 → 6 if waiting > 14 or arrival > 9.3/s"."""
    conditions: tuple[Condition, ...] = ()
    estimates: tuple[tuple[str, float | None], ...] = ()
    """The numbers behind it, with units in the names: arrival_rps, capacity_rps.<variant>, horizon_s, …"""
    traffic: Annotated[TrafficDecision | None, Field(exclude_if=lambda found: found is None)] = None
    """Of a fleet whose weights are set by hand."""


@dataclass(frozen=True, slots=True)
class ScaleWrite:
    """One absolute, idempotent order: this object shall have this many replicas.

    Holds only against `resource_version`; a conflict means that the world moved, and the next cycle plans afresh.
    """

    fleet: str
    variant: str
    current: int
    replicas: int
    resource_version: str
    victims: tuple[str, ...] = ()
    """Replicas to leave first, the least loaded first; only for reductions."""

    @property
    def safe_to_repeat(self) -> bool:
        """Whether it may be sent unsaved: a growth is planned again from live state."""
        return self.replicas > self.current


@dataclass(frozen=True, slots=True)
class WeightWrite:
    """One absolute, idempotent order: this route shall split requests like this.

    Holds only against `resource_version`, where the object has one.
    """

    fleet: str
    route: RouteRef
    before: Weights
    weights: Weights
    resource_version: str
    urgent: bool = False
    """Takes traffic from a version without a ready replica."""

    @property
    def safe_to_repeat(self) -> bool:
        """Whether it may be sent unsaved: what takes traffic from where nobody answers is planned again."""
        return self.urgent


Write = ScaleWrite | WeightWrite


class OutcomeStatus(StrEnum):
    """What became of a write."""

    APPLIED = "Applied"
    DRY_RUN = "DryRun"
    CONFLICT = "Conflict"
    """The object changed since it was read; nothing was written."""
    REFUSED = "Refused"
    """A precondition failed: not leading, foreign writer, nothing persisted."""
    FAILED = "Failed"


@dataclass(frozen=True, slots=True)
class Outcome:
    """A write and what became of it."""

    write: ScaleWrite | WeightWrite
    status: OutcomeStatus
    detail: str = ""
