"""Capacity: how many requests/s one replica of a variant can carry inside the objectives, with today's token mix.

The belief about the step law is sharpened by each fresh window (an old answer read again says nothing new); capacity is
taken at its lower confidence bound. The smallest of four limits binds: TPOT, TTFT, KV blocks, seats.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from controller.estimate import law as laws
from controller.model.copies import replace
from controller.model.fleet import Fleet
from controller.model.memory import LearnedLaw, VariantMemory
from controller.model.snapshot import MOST, Snapshot, VariantSignals, VariantState
from engine import perf
from engine.perf import Mix, Promise
from engine.profile import Profile, StepLaw

CONFIDENCE_Z = 1.0
SPARE_RATIO = 0.95
"""A shrunken fleet must be left with this margin of its capacity against growing back at once (hysteresis)."""
TPOT_SPREAD = 0.16
"""Prior log-spread of a request's TPOT: 0.16-0.18 in simulations of Azure conversations at 95-99 % attainment."""
TTFT_SPREAD = 0.7
_SPREAD_BOUNDS = (0.03, 1.5)
_SPREAD_STEP = 0.1
_STEADY_RATIO = 0.15
"""Spreads are learned only while requests in flight change by less than this share in a window."""
_KV_TARGET_RATIO = 0.85
"""Mean KV use to plan for: above it, ordinary fluctuation reaches full and preempts."""
_SEATS_TARGET_RATIO = 0.85
_DEFAULT_MIX = Mix(1000.0, 0.0, 200.0)


@dataclass(frozen=True, slots=True)
class Capacity:
    """Of one replica: requests/s at the objectives (lower bound), and what limits it.

    `stable_rps` keeps the engine stable at any latency: what to size for when the objective is unattainable.
    """

    variant: str
    rps: float
    binding: str
    attainable: bool
    stable_rps: float
    seqs: float
    """Sequences that decode at that rate: more than these per replica are work left over."""
    uncertainty_ratio: float
    samples: int

    @property
    def sizing_rps(self) -> float:
        """Requests/s to plan a replica with."""
        return self.rps if self.attainable else self.stable_rps


def observe_law(memory: VariantMemory, signals: VariantSignals, profile: Profile) -> VariantMemory:
    """Sharpen the belief by this window, where it says something."""
    belief = memory.law if memory.law is not None and memory.law.profile == profile.name else laws.prior(profile)
    row, step_s = composition(signals, memory), signals.itl_mean_s.fresh
    if row is None or step_s is None:
        return replace(memory, law=belief)
    return replace(memory, law=laws.updated(belief, row, step_s, profile))


def composition(signals: VariantSignals, memory: VariantMemory) -> laws.Row | None:
    """The mean step of the window as a row (1, P, A, B, K); None where nothing decoded or the mix is unknown."""
    steps, decode = signals.steps_per_s.fresh, signals.decode_tps.fresh
    prefill = signals.prefill_tps.fresh
    if not steps or not decode or prefill is None or memory.prompt_tokens is None or memory.output_tokens is None:
        return None
    mix = Mix(memory.prompt_tokens, memory.cached_tokens or 0.0, memory.output_tokens)
    prompts = prefill / steps
    seqs = decode / steps
    per_token = mix.attention_tokens2 / mix.prompt_tokens if mix.prompt_tokens > 0 else 0.0
    return (1.0, prompts, prompts * per_token, seqs, seqs * mix.context_tokens)


def observe_spreads(memory: VariantMemory, state: VariantState, fleet: Fleet, snapshot: Snapshot) -> VariantMemory:
    """Learn how far requests scatter around the mean, from the share within the threshold, in steady windows."""
    if not _steady(snapshot) or _unsettled(state, snapshot):
        return memory
    signals = state.signals
    itl, finished = signals.itl_mean_s.fresh, signals.finished_rps.fresh
    within = signals.tpot_within_ratio.fresh
    if itl is None or not finished or within is None or itl <= 0:
        return memory
    implied = _implied_spread(fleet.spec.objectives.tpot.threshold, itl, within, finished * snapshot.window_s)
    spread = _moved(TPOT_SPREAD if memory.tpot_spread is None else memory.tpot_spread, implied)
    return replace(memory, tpot_spread=spread)


def _steady(snapshot: Snapshot) -> bool:
    now, before = snapshot.inflight.fresh, snapshot.inflight_before.fresh
    if now is None or before is None:
        return False
    return abs(now - before) <= _STEADY_RATIO * max(before, 1.0)


def _unsettled(state: VariantState, snapshot: Snapshot) -> bool:
    if state.target is None:
        return True
    settle_s = 2 * snapshot.window_s
    return any(r.ready_at is None or snapshot.cluster_at - r.ready_at < settle_s for r in state.target.replicas)


def _implied_spread(threshold_s: float, mean_s: float, within: float, count: float) -> tuple[float, bool]:
    """The lognormal log-sigma that puts a share `within` below the threshold; and whether it is only an upper bound.

    With no miss (or nothing but misses) among `count` requests, half a request is assumed.
    """
    half = 0.5 / max(count, 1.0)
    bounded = min(max(within, half), 1 - half)
    z, distance = perf.quantile_z(bounded), math.log(threshold_s / mean_s)
    if z * distance <= 0 or abs(z) < 0.2:
        return (TPOT_SPREAD, True)
    return (distance / z, bounded > within or within >= 1 - half)


def _moved(old: float, implied: tuple[float, bool]) -> float:
    value, only_bound = implied
    if only_bound and value >= old:
        return old
    low, high = _SPREAD_BOUNDS
    return min(high, max(low, old + _SPREAD_STEP * (value - old)))


def estimate_capacity(memory: VariantMemory, mix: Mix | None, fleet: Fleet, profile: Profile) -> Capacity:
    """Capacity of one replica of the variant, at the belief's lower confidence bound."""
    belief = memory.law or laws.prior(profile)
    mix = mix or _DEFAULT_MIX
    doubt = _doubt(belief, mix, fleet)
    law = laws.step_law(belief, 1 + CONFIDENCE_Z * doubt)
    limits = _limits(memory, mix, fleet, profile, law)
    binding = min(limits, key=lambda name: limits[name])
    work = perf.work_s(law, mix)
    stable = min(0.8 / work if work > 0 else math.inf, limits["kv"], limits["seats"])
    rps = limits[binding]
    step_s = perf.step_time_s(law, mix, rps)
    return Capacity(
        variant=memory.name,
        rps=rps,
        binding=binding,
        attainable=rps > 0.02 * stable,
        stable_rps=stable,
        seqs=rps * mix.output_tokens * step_s if math.isfinite(step_s) else profile.limits.max_num_seqs,
        uncertainty_ratio=doubt,
        samples=belief.samples,
    )


def _doubt(belief: LearnedLaw, mix: Mix, fleet: Fleet) -> float:
    """Relative error of the believed step time where it matters: at the TPOT threshold's operating point."""
    law = laws.step_law(belief)
    step_s = fleet.spec.objectives.tpot.threshold
    rps = perf.rps_for_step_time(law, mix, step_s)
    load = rps * step_s
    row = (
        1.0,
        load * mix.prompt_tokens,
        load * mix.attention_tokens2,
        load * mix.output_tokens,
        load * mix.output_tokens * mix.context_tokens,
    )
    return laws.relative_error(belief, row)


def _limits(memory: VariantMemory, mix: Mix, fleet: Fleet, profile: Profile, law: StepLaw) -> dict[str, float]:
    objectives, limits = fleet.spec.objectives, profile.limits
    tpot = Promise(objectives.tpot.threshold, objectives.tpot.target)
    ttft = Promise(objectives.ttft.threshold, objectives.ttft.target)
    kv_tokens = memory.kv_tokens_per_ratio or float(limits.num_gpu_blocks * limits.block_size)
    context = max(mix.context_tokens, 1.0)
    tpot_spread = TPOT_SPREAD if memory.tpot_spread is None else memory.tpot_spread
    ttft_spread = TTFT_SPREAD if memory.ttft_spread is None else memory.ttft_spread
    found = {
        "tpot": perf.rps_for_step_time(law, mix, tpot.mean_s(tpot_spread)),
        "kv": perf.rps_for_batch(law, mix, _KV_TARGET_RATIO * kv_tokens / context),
        "seats": perf.rps_for_batch(law, mix, _SEATS_TARGET_RATIO * limits.max_num_seqs),
    }
    longest_s, overhead_s = ttft.mean_s(ttft_spread), profile.api_overhead_s
    if perf.ttft_mean_s(law, limits, mix, min(found.values()), overhead_s) > longest_s:
        # Only then can it bind; finding where takes a bisection.
        found["ttft"] = perf.rps_for_ttft(law, limits, mix, longest_s, overhead_s)
    return found


def observe_kv(memory: VariantMemory, signals: VariantSignals) -> VariantMemory:
    """Learn how many context tokens a full cache holds: from use where there is enough of it, else from the config.

    In hybrid-attention models blocks x block size is not the token capacity, so what running requests are seen to
    occupy wins as soon as a fifth of the cache is used.
    """
    ratio, running, engines = signals.kv_usage_ratio.fresh, signals.running.fresh, signals.engines.fresh
    mix_known = memory.prompt_tokens is not None and memory.output_tokens is not None
    if ratio and ratio > 0.2 and running and engines and mix_known:
        context = (memory.prompt_tokens or 0.0) + (memory.cached_tokens or 0.0) + (memory.output_tokens or 0.0) / 2
        seen = max(1.0, min(MOST, running / engines * context / ratio))
        old = memory.kv_tokens_per_ratio or seen
        return replace(memory, kv_tokens_per_ratio=old + 0.1 * (seen - old))
    if memory.kv_tokens_per_ratio is None and (signals.kv_capacity_tokens.fresh or 0.0) >= 1:
        return replace(memory, kv_tokens_per_ratio=signals.kv_capacity_tokens.fresh)
    return memory
