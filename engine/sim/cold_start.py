"""How long a start takes: the sum of its stages, each lognormal around its median."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from engine.profile import ColdStartStage


@dataclass(frozen=True, slots=True)
class StageSpan:
    """One stage of one particular start."""

    name: str
    duration_s: float


def sample_cold_start(
    stages: Sequence[ColdStartStage], seed: int | str, total_s: float | None = None
) -> tuple[StageSpan, ...]:
    """Draw one start. `total_s` imposes the sum and keeps the stages' proportions."""
    rng = Random(f"cold-start:{seed}")
    spans = tuple(StageSpan(s.name, _lognormal(rng, s.median_s, s.cv)) for s in stages)
    if total_s is None:
        return spans
    drawn_s = sum(span.duration_s for span in spans)
    if drawn_s <= 0:
        return (StageSpan("start", total_s),)
    return tuple(StageSpan(span.name, span.duration_s * total_s / drawn_s) for span in spans)


def _lognormal(rng: Random, median: float, cv: float) -> float:
    """For a lognormal, cv² = exp(sigma²) - 1."""
    return median * math.exp(math.sqrt(math.log1p(cv * cv)) * rng.gauss(0.0, 1.0))
