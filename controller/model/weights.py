"""Weights of traffic as values: percent by subset, where they are kept, and what one look at that place found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

Weights = tuple[tuple[str, int], ...]
"""Percent by subset, every subset of the fleet in the order of its variants; 100 together."""


@dataclass(frozen=True, slots=True)
class RouteRef:
    """The named http route of a VirtualService, and the host whose subsets it sends requests to."""

    namespace: str
    virtual_service: str
    route: str
    host: str

    def __str__(self) -> str:
        return f"route {self.route} of VirtualService {self.namespace}/{self.virtual_service}"


@dataclass(frozen=True, slots=True)
class WeightReading:
    """What one look at a fleet's route found."""

    weights: Mapping[str, int] = field(default_factory=dict)
    """Percent by subset, 100 together; empty where they could not be read or make no sense."""
    resource_version: str = ""
    """Of the object that they are in; empty where it has none."""
    foreign: str = ""
    """Who else has written these weights, newest first; empty where nobody has."""
    problem: str = ""
    """Why there are no weights, or why they cannot be moved as wanted, with the remedy."""


@dataclass(frozen=True, slots=True)
class RouteState:
    """The same without the weights, as a Snapshot keeps it: those stand at the variants."""

    resource_version: str = ""
    foreign: str = ""
    problem: str = ""


def weights_text(weights: Weights) -> str:
    """The split for messages: v1 70 %, v2 30 %."""
    return ", ".join(f"{subset} {percent} %" for subset, percent in weights)


def moved_text(before: Weights, after: Weights) -> str:
    """From one split to another: v1 90 → 70 %, v2 10 → 30 %; what stays is told by its number."""
    was = dict(before)
    return ", ".join(
        f"{subset} {was[subset]} → {percent} %" if was.get(subset, percent) != percent else f"{subset} {percent} %"
        for subset, percent in after
    )
