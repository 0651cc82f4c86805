"""The result of one cycle for one fleet: the decision, the writes it asks for, and what to remember."""

from __future__ import annotations

from dataclasses import dataclass

from controller.model.decision import Decision, ScaleWrite, WeightWrite
from controller.model.memory import FleetMemory


@dataclass(frozen=True, slots=True)
class Plan:
    """`writes` are in safe order: every prefix leaves the fleet no worse (grow first, shrink last).

    `weights` are written after growth and before reductions.
    """

    decision: Decision
    writes: tuple[ScaleWrite, ...]
    memory: FleetMemory
    weights: WeightWrite | None = None

    @property
    def ordered(self) -> tuple[ScaleWrite | WeightWrite, ...]:
        """All writes in safe order."""
        grow = tuple(w for w in self.writes if w.replicas > w.current)
        shrink = tuple(w for w in self.writes if w.replicas <= w.current)
        return (*grow, *([] if self.weights is None else [self.weights]), *shrink)
