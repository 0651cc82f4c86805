"""The result of one cycle for one fleet: the decision, the writes it asks for, and what to remember."""

from __future__ import annotations

from dataclasses import dataclass

from controller.model.decision import Decision, ScaleWrite
from controller.model.memory import FleetMemory


@dataclass(frozen=True, slots=True)
class Plan:
    """`writes` are in safe order: every prefix leaves the fleet no worse (grow first, shrink last)."""

    decision: Decision
    writes: tuple[ScaleWrite, ...]
    memory: FleetMemory
