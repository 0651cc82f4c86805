"""Capacity profiles: what one replica of a model on an accelerator can do, and how sure we are of it.

Shipped profiles lie in `engine/profiles/*.yaml`; `engine.profiles` reads them. Numbers of grade `database` are
fits of T = a + b*P + e*A + c*B + d*K to NVIDIA AIConfigurator's kernel tables for vLLM (mean error 2-7 %).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Grade = Literal["measured", "database", "estimated"]


@dataclass(frozen=True, slots=True)
class StepLaw:
    """Time of one engine step: T = base + prefill*P + attention*A + batch*B + kv*K, in seconds.

    P: prompt tokens computed in the step; A: sum over their chunks of chunk*(context + chunk/2);
    B: sequences decoding; K: context tokens of those sequences.
    """

    base_s: float
    prefill_s_per_token: float
    attention_s_per_token2: float
    batch_s_per_seq: float
    kv_s_per_token: float

    def step_s(self, prefill_tokens: float, attention_tokens2: float, seqs: float, kv_tokens: float) -> float:
        """Seconds of one step."""
        return (
            self.base_s
            + self.prefill_s_per_token * prefill_tokens
            + self.attention_s_per_token2 * attention_tokens2
            + self.batch_s_per_seq * seqs
            + self.kv_s_per_token * kv_tokens
        )


@dataclass(frozen=True, slots=True)
class EngineLimits:
    """vLLM's scheduler limits for one engine."""

    max_num_batched_tokens: int
    max_num_seqs: int
    block_size: int
    num_gpu_blocks: int
    max_model_len: int


@dataclass(frozen=True, slots=True)
class ColdStartStage:
    """One stage of a start, lognormal around its median."""

    name: str
    median_s: float
    cv: float


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where the numbers come from. An `estimated` profile may advise, not act without online correction."""

    grade: Grade
    source: str
    error: str


@dataclass(frozen=True, slots=True)
class Profile:
    """One replica: engine limits, step law, overhead outside the step, cold start, price, provenance."""

    name: str
    model: str
    accelerator: str
    gpus_per_replica: int
    limits: EngineLimits
    law: StepLaw
    api_overhead_s: float
    """From arrival at the API server to the scheduler's queue."""
    cold_start: tuple[ColdStartStage, ...]
    cost_per_gpu_hour: float
    provenance: Provenance
