"""A scenario: the fleet to run, how it starts, and the traffic that it meets. One YAML file says it all.

Shipped ones lie in `engine/load/scenarios/*.yaml`; a user's own file has the same shape. Two runs of one scenario with
one seed meet the same arrivals with the same lengths.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from controller.model.fields import Duration, Model, Name
from controller.model.fleet import Fleet
from engine.load.arrivals import Arrival, poisson_times_s, with_lengths
from engine.load.phases import AnyPhase, segments_of
from engine.load.token_lengths import Pair, mean_output_tokens, sample_pairs, shipped_pairs

Tokens = Annotated[int, Field(ge=1, le=1_000_000)]


class TableLengths(Model):
    """Pairs drawn from a shipped table of real requests."""

    source: Literal["azure-conv"]

    def pairs(self) -> tuple[Pair, ...]:
        """What is drawn from."""
        return shipped_pairs(self.source)


class FixedLengths(Model):
    """All requests alike."""

    source: Literal["fixed"]
    prompt_tokens: Tokens
    output_tokens: Tokens

    def pairs(self) -> tuple[Pair, ...]:
        """What is drawn from."""
        return ((self.prompt_tokens, self.output_tokens),)


class Stack(Model):
    """What the local stack needs besides the Fleet: the truth about its replicas, and its patience."""

    start_replicas: int = Field(ge=0, le=64, description="Ready before the traffic begins.")
    profile: Name = Field(default="l40s-8b", description="Capacity profile that the simulated replicas obey.")
    max_num_seqs: int | None = Field(default=None, ge=1, le=4096, description="Instead of the profile's.")
    cold_start: Duration = Field(default=15.0, description="From the order to ready, for every replica.")
    scrape_interval: Duration = Field(default=2.0, gt=0)
    start_timeout: Duration = Field(default=60.0, gt=0, description="Longest wait for the first replicas.")
    request_timeout: Duration = Field(default=300.0, gt=0, description="A client gives a request up after it.")
    answer_timeout: Duration = Field(default=60.0, description="Longest wait for answers after the last arrival.")


@dataclass(frozen=True, slots=True)
class JudgedObjectives:
    """What a request is held against: seconds, and the share of requests that shall be inside."""

    ttft_s: float = 1.0
    tpot_s: float = 0.05
    ttft_target_ratio: float = 0.95
    tpot_target_ratio: float = 0.95


@dataclass(frozen=True, slots=True)
class LoadWindow:
    """The load that recovery is judged on, in seconds since the traffic began."""

    start_s: float
    end_s: float


class Scenario(Model):
    """See the module. `fleet` is the document that the daemon is given; `stack` is never shown to it."""

    name: Name
    description: str = Field(min_length=1, max_length=1000)
    seed: int = Field(default=1, ge=0)
    stack: Stack
    lengths: Annotated[TableLengths | FixedLengths, Field(discriminator="source")]
    phases: tuple[AnyPhase, ...] = Field(min_length=1, max_length=100)
    fleet: Fleet

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        endless = [phase.name for phase in self.phases[:-1] if phase.duration is None]
        if endless:
            raise ValueError(f"phase {endless[0]!r} has no duration but is not the last: give it one")
        flags = "".join("L" if phase.load else "-" for phase in self.phases)
        if "L" in flags.strip("-").strip("L").strip("-") or "-" in flags.strip("-"):
            raise ValueError("phases with load: true must follow each other: judged load is one stretch of time")
        if self.phases[-1].load and self.phases[-1].duration is None:
            raise ValueError(f"phase {self.phases[-1].name!r} is judged load but never ends: give it a duration")
        most = self.fleet.spec.variants[0].replicas.max
        if self.stack.start_replicas > most:
            raise ValueError(f"stack.startReplicas {self.stack.start_replicas} is above the first variant's max {most}")
        return self

    @property
    def duration_s(self) -> float | None:
        """From the first to the last moment with arrivals; None: until it is ended."""
        durations = [phase.duration for phase in self.phases]
        return None if durations[-1] is None else sum(d for d in durations if d is not None)

    @property
    def load_window(self) -> LoadWindow | None:
        """From the beginning of the first judged phase to the end of the last; None where none is marked."""
        at_s, start_s, end_s = 0.0, None, 0.0
        for phase in self.phases:
            before_s, at_s = at_s, at_s + (phase.duration or 0.0)
            if phase.load:
                start_s, end_s = (before_s if start_s is None else start_s), at_s
        return None if start_s is None else LoadWindow(start_s, end_s)

    @property
    def objectives(self) -> JudgedObjectives:
        """The Fleet's own objectives."""
        ttft, tpot = self.fleet.spec.objectives.ttft, self.fleet.spec.objectives.tpot
        return JudgedObjectives(ttft.threshold, tpot.threshold, ttft.target, tpot.target)

    @property
    def peak_output_tps(self) -> float:
        """Output tokens/s that the highest rate asks for, on average."""
        peak_rps = max(segment.peak_rps for segment in segments_of(self.phases))
        return peak_rps * mean_output_tokens(self.lengths.pairs())

    def arrivals(self, seed: int | None = None) -> Iterator[Arrival]:
        """The traffic, endless where the scenario is. Times and lengths have random streams of their own."""
        chosen = self.seed if seed is None else seed
        times_s = poisson_times_s(segments_of(self.phases), random.Random(f"{chosen}/times"))
        return with_lengths(times_s, sample_pairs(self.lengths.pairs(), random.Random(f"{chosen}/lengths")))

    def fleet_document(self) -> dict[str, Any]:
        """The Fleet as it goes into the daemon's file: what was written, nothing that was defaulted."""
        document: dict[str, Any] = {"apiVersion": self.fleet.api_version, "kind": self.fleet.kind}
        return document | self.fleet.model_dump(mode="json", by_alias=True, exclude_unset=True)
