"""Small cards and runs, so that a test names only what matters."""

from __future__ import annotations

from dataclasses import replace

from engine.profile import ColdStartStage, EngineLimits, StepLaw
from engine.sim.card import Card
from engine.sim.interface import Finished, Request, StepEvents
from engine.sim.replica import Replica

LAW = StepLaw(
    base_s=0.020,
    prefill_s_per_token=40e-6,
    attention_s_per_token2=10e-9,
    batch_s_per_seq=30e-6,
    kv_s_per_token=200e-9,
)
LIMITS = EngineLimits(
    max_num_batched_tokens=2048, max_num_seqs=256, block_size=16, num_gpu_blocks=4097, max_model_len=8192
)
STAGES = (ColdStartStage("boot", 10.0, 0.2), ColdStartStage("weights", 8.0, 0.2))


def card(noise_ratio: float = 0.0, api_overhead_s: float = 0.0, prefix_hit_ratio: float = 0.0, **limits: int) -> Card:
    """A quiet card without overhead; limits by name."""
    return Card("test", replace(LIMITS, **limits), LAW, api_overhead_s, STAGES, noise_ratio, prefix_hit_ratio)


def run_out(replica: Replica) -> list[StepEvents]:
    """Every step until nothing happens any more."""
    steps: list[StepEvents] = []
    while (at := replica.next_event_at()) is not None:
        steps += replica.advance_to(at)
    return steps


def finished_of(steps: list[StepEvents]) -> dict[str, Finished]:
    """Completed requests by id."""
    return {end.id: end for step in steps for end in step.finished}


def serve(replica: Replica, *requests: Request) -> dict[str, Finished]:
    """Submit all at the clock's instant and run to the end."""
    for request in requests:
        replica.submit(request, replica.now)
    return finished_of(run_out(replica))
