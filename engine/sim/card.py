"""The truth of a simulated accelerator card: what a profile says, and how real servers differ from it.

No card is what the kernel database says, so the controller's prior and the simulated truth must differ. The decode
terms are multiplied by 1.04 (the best fit to 20 measured runs of a 70B model on H100), and API server and tokeniser
add about 15 ms before the queue. The base and prefill factors are a calibration, not a measurement: chosen within
the disagreement of the database's own sweeps (the empty step fitted to prefill is 4-26 % below the one fitted to
decode) so that an L40S with an 8B model holds 3.9 conversations/s with 95 % of them inside 1 s and 50 ms.
"""

from __future__ import annotations

from dataclasses import dataclass

from engine.profile import ColdStartStage, EngineLimits, Profile, StepLaw

BASE_FACTOR = 0.82
DECODE_FACTOR = 1.04
PREFILL_FACTOR = 1.05
API_OVERHEAD_S = 0.015
NOISE_RATIO = 0.03


@dataclass(frozen=True, slots=True)
class Card:
    """Everything a model of a replica needs. Only simulations hold one."""

    name: str
    limits: EngineLimits
    law: StepLaw
    api_overhead_s: float
    cold_start: tuple[ColdStartStage, ...]
    noise_ratio: float = NOISE_RATIO
    """Lognormal sigma of a step's duration around the law; its mean stays the law's."""
    prefix_hit_ratio: float = 0.0
    """Share of every prompt found in the prefix cache, in whole blocks."""


def card_for(profile: Profile, prefix_hit_ratio: float = 0.0) -> Card:
    """A card that a server with this profile would really be."""
    law = profile.law
    truth = StepLaw(
        base_s=law.base_s * BASE_FACTOR,
        prefill_s_per_token=law.prefill_s_per_token * PREFILL_FACTOR,
        attention_s_per_token2=law.attention_s_per_token2 * PREFILL_FACTOR,
        batch_s_per_seq=law.batch_s_per_seq * DECODE_FACTOR,
        kv_s_per_token=law.kv_s_per_token * DECODE_FACTOR,
    )
    return Card(
        profile.name,
        profile.limits,
        truth,
        API_OVERHEAD_S,
        profile.cold_start,
        prefix_hit_ratio=prefix_hit_ratio,
    )


def ideal_card(profile: Profile) -> Card:
    """The profile taken at its word: no noise, no overhead it does not name. For checks of the profile itself."""
    return Card(profile.name, profile.limits, profile.law, profile.api_overhead_s, profile.cold_start, noise_ratio=0.0)
