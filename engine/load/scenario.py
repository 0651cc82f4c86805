"""A scenario: the fleet to run, how it starts, and the traffic that it meets. One YAML file says it all.

Shipped ones lie in `engine/load/scenarios/*.yaml`; a user's own file has the same shape. Two runs of one scenario with
one seed meet the same arrivals with the same lengths.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from controller.model.fields import Duration, Model, Name
from controller.model.fleet import Fleet
from controller.model.problems import Problem, refuse_any
from engine.load.arrivals import Arrival, poisson_times_s, with_lengths
from engine.load.phases import Phase, Span, segments_of
from engine.load.records import JudgedObjectives
from engine.load.token_lengths import Pair, mean_output_tokens, sample_pairs, shipped_pairs

Tokens = Annotated[int, Field(ge=1, le=1_000_000)]


class Lengths(Model):
    """How long prompts and answers are."""

    source: Literal["azure-conv", "fixed"]
    """azure-conv: pairs drawn from real ones. fixed: all alike."""
    prompt_tokens: Tokens | None = None
    output_tokens: Tokens | None = None

    @model_validator(mode="after")
    def _both_or_none(self) -> Lengths:
        refuse_any(self._misfits())
        return self

    def _misfits(self) -> Iterator[Problem]:
        for name, value in (("promptTokens", self.prompt_tokens), ("outputTokens", self.output_tokens)):
            if self.source == "fixed" and value is None:
                yield Problem((name,), "is missing: fixed lengths need it", "add it")
            if self.source != "fixed" and value is not None:
                yield Problem((name,), "is for fixed lengths only", "remove it, or write `source: fixed`", str(value))

    def pairs(self) -> tuple[Pair, ...]:
        """What is drawn from."""
        if self.prompt_tokens is not None and self.output_tokens is not None:
            return ((self.prompt_tokens, self.output_tokens),)
        return shipped_pairs(self.source)


class Stack(Model):
    """What the local stack needs besides the Fleet: the truth about its replicas, and its patience."""

    start_replicas: int = Field(ge=0, le=64)
    """Replicas of the first variant that are ready before the traffic begins."""
    profile: Name = "l40s-8b"
    """Capacity profile that the simulated replicas obey."""
    max_num_seqs: int | None = Field(default=None, ge=1, le=4096)
    """Requests that a replica runs at once, instead of the profile's."""
    cold_start: Duration = 15.0
    """From the order to ready, for every simulated replica."""
    scrape_interval: Span = 2.0
    start_timeout: Span = 60.0
    """Longest wait for the first replicas."""
    request_timeout: Span = 300.0
    """After so long a client gives a request up."""
    answer_timeout: Duration = 60.0
    """Longest wait for answers after the last arrival."""


@dataclass(frozen=True, slots=True)
class LoadWindow:
    """The load that recovery is judged on, in seconds since the traffic began."""

    start_s: float
    end_s: float


class Scenario(Model):
    """See the module. `fleet` is the document that the daemon is given; `stack` is never shown to it."""

    name: Name
    """Short name."""
    description: str = Field(min_length=1, max_length=1000)
    """What it shows."""
    seed: int = Field(default=1, ge=0, le=2**53)
    """Of arrivals and lengths."""
    stack: Stack
    lengths: Lengths
    phases: tuple[Phase, ...] = Field(min_length=1, max_length=100)
    """The arrival rate over time."""
    fleet: Fleet

    @model_validator(mode="after")
    def _consistent(self) -> Scenario:
        refuse_any(self._contradictions())
        return self

    def _contradictions(self) -> Iterator[Problem]:
        for index, phase in enumerate(self.phases[:-1]):
            if phase.duration is None:
                yield Problem(
                    ("phases", index, "duration"), "is missing: only the last phase may go on for ever", "add it"
                )
        judged = [index for index, phase in enumerate(self.phases) if phase.load]
        if judged and judged[-1] - judged[0] >= len(judged):
            yield Problem(("phases",), "have load: true in several places", "mark phases that follow each other")
        if judged and self.phases[judged[-1]].duration is None:
            reason = "is missing: a judged load has an end"
            yield Problem(("phases", judged[-1], "duration"), reason, "add it, or remove `load`")
        most, start = self.fleet.spec.variants[0].replicas.max, self.stack.start_replicas
        if start > most:
            reason = f"is above the max of the fleet's first variant, {most}"
            yield Problem(("stack", "startReplicas"), reason, "lower it, or raise replicas.max", str(start))

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
