"""Closed-form latency and throughput of one replica in steady state, from its step law and the token mix.

With r requests/s on a replica whose step takes T seconds: P = r*p*T prompt tokens arrive in a step, B = r*o*T
sequences decode (each needs o steps of T), and they hold K = B*(context + o/2) tokens. Put into the step law
T = a + b*P + e*A + c*B + d*K, every term but the first is proportional to r*T, so

    T(r) = a / (1 - r*w),   w = b*p + e*A1 + c*o + d*o*(context + o/2)   [seconds of work of one request]

A1 is the attention work of one prompt: E[p^2]/2 + p*cached. Conservative near saturation in so far as means hide
bursts: quantiles are taken by a lognormal spread around the mean, learned from attainment (see `controller.estimate`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

from engine.profile import EngineLimits, StepLaw

PROMPT_SECOND_MOMENT = 1.8
"""E[p^2] / E[p]^2 of prompt lengths: 1.7-1.9 in the Azure 2023 conversation and code traces."""

_NORMAL = NormalDist()


@dataclass(frozen=True, slots=True)
class Mix:
    """Mean tokens of one request: computed prompt, prompt found in the prefix cache, output."""

    prompt_tokens: float
    cached_tokens: float
    output_tokens: float

    @property
    def context_tokens(self) -> float:
        """Mean context while decoding."""
        return self.prompt_tokens + self.cached_tokens + self.output_tokens / 2

    @property
    def attention_tokens2(self) -> float:
        """Mean attention work of a prompt: sum over its chunks of chunk*(context + chunk/2)."""
        p = self.prompt_tokens
        return PROMPT_SECOND_MOMENT * p * p / 2 + p * self.cached_tokens


@dataclass(frozen=True, slots=True)
class Promise:
    """A latency objective: `target_ratio` of the requests within `threshold_s`."""

    threshold_s: float
    target_ratio: float

    def mean_s(self, spread: float) -> float:
        """Largest mean whose `target_ratio` quantile is within the threshold, for a lognormal of log-sigma `spread`."""
        return self.threshold_s * math.exp(-quantile_z(self.target_ratio) * spread)


def quantile_z(ratio: float) -> float:
    """Standard normal quantile."""
    return _NORMAL.inv_cdf(ratio)


def work_s(law: StepLaw, mix: Mix) -> float:
    """Seconds of engine time that one request adds (w above)."""
    return (
        law.prefill_s_per_token * mix.prompt_tokens
        + law.attention_s_per_token2 * mix.attention_tokens2
        + law.batch_s_per_seq * mix.output_tokens
        + law.kv_s_per_token * mix.output_tokens * mix.context_tokens
    )


def step_time_s(law: StepLaw, mix: Mix, rps: float) -> float:
    """Mean step time at `rps` requests/s on the replica; infinite where it cannot keep up."""
    idle_ratio = 1 - rps * work_s(law, mix)
    return law.base_s / idle_ratio if idle_ratio > 0 else math.inf


def ttft_mean_s(law: StepLaw, limits: EngineLimits, mix: Mix, rps: float, overhead_s: float) -> float:
    """Mean time to first token: API overhead, the rest of the current step, waiting for and computing the prompt.

    Prompts share a budget of `max_num_batched_tokens` a step; the wait is that of a single server with utilisation
    `tokens arriving in a step / budget` (M/D/1 form, Pollaczek-Khinchine).
    """
    step_s = step_time_s(law, mix, rps)
    if math.isinf(step_s):
        return math.inf
    used_ratio = rps * mix.prompt_tokens * step_s / limits.max_num_batched_tokens
    if used_ratio >= 1:
        return math.inf
    chunks = max(1.0, mix.prompt_tokens / limits.max_num_batched_tokens)
    own_s = (
        chunks * step_s
        + law.prefill_s_per_token * mix.prompt_tokens
        + law.attention_s_per_token2 * mix.attention_tokens2
    )
    return overhead_s + step_s / 2 + own_s * (1 + used_ratio / (2 * (1 - used_ratio)))


def rps_for_step_time(law: StepLaw, mix: Mix, step_s: float) -> float:
    """Requests/s at which the mean step takes `step_s`; 0 where even an idle engine is slower."""
    work = work_s(law, mix)
    if work <= 0 or step_s <= law.base_s:
        return 0.0
    return (1 - law.base_s / step_s) / work


def rps_for_batch(law: StepLaw, mix: Mix, seqs: float) -> float:
    """Requests/s at which `seqs` sequences decode on average (Little: B = r*o*T)."""
    if mix.output_tokens <= 0:
        return math.inf
    return seqs / (law.base_s * mix.output_tokens + seqs * work_s(law, mix))


def rps_for_ttft(law: StepLaw, limits: EngineLimits, mix: Mix, mean_s: float, overhead_s: float) -> float:
    """Requests/s at which the mean TTFT reaches `mean_s` (bisection; monotone)."""
    low, high = 0.0, 1 / work_s(law, mix) if work_s(law, mix) > 0 else 0.0
    if ttft_mean_s(law, limits, mix, 0.0, overhead_s) >= mean_s:
        return 0.0
    for _ in range(20):
        middle = (low + high) / 2
        if ttft_mean_s(law, limits, mix, middle, overhead_s) < mean_s:
            low = middle
        else:
            high = middle
    return low
