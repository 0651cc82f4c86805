"""Laws of one replica, on random engines and random traffic."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.sim import counters
from engine.sim.card import Card
from engine.sim.interface import Request, StepEvents
from engine.sim.replica import Replica
from tests.unit.engine_sim.cards import LAW, card, finished_of, run_out


@dataclass(frozen=True)
class Traffic:
    """Arrivals of requests, and when some of them are given up."""

    arrivals: tuple[tuple[float, Request], ...]
    aborts: tuple[tuple[float, str], ...] = ()


@st.composite
def cards(draw: st.DrawFn) -> Card:
    """Engines with little of everything, so that every limit binds sometimes."""
    block_size = draw(st.sampled_from([1, 4, 16]))
    max_model_len = draw(st.integers(16, 96))
    smallest = -(-max_model_len // block_size) + 1
    return card(
        noise_ratio=draw(st.sampled_from([0.0, 0.03])),
        api_overhead_s=draw(st.sampled_from([0.0, 0.015])),
        prefix_hit_ratio=draw(st.sampled_from([0.0, 0.5, 1.0])),
        block_size=block_size,
        max_model_len=max_model_len,
        num_gpu_blocks=draw(st.integers(smallest, 3 * smallest)),
        max_num_seqs=draw(st.integers(1, 8)),
        max_num_batched_tokens=draw(st.integers(1, 64)),
    )


@st.composite
def traffic(draw: st.DrawFn, *, with_aborts: bool = False) -> Traffic:
    """Up to 20 requests within two seconds."""
    times = sorted(draw(st.lists(st.floats(0, 2, allow_nan=False), min_size=1, max_size=20)))
    arrivals = tuple(
        (at, Request(f"r{n}", draw(st.integers(1, 15)), draw(st.integers(1, 60)))) for n, at in enumerate(times)
    )
    if not with_aborts:
        return Traffic(arrivals)
    gone = draw(st.lists(st.sampled_from(arrivals), unique_by=lambda a: a[1].id, max_size=5))
    return Traffic(arrivals, tuple(sorted((at + draw(st.floats(0, 1)), request.id) for at, request in gone)))


def play(replica: Replica, load: Traffic) -> list[StepEvents]:
    """Submit and abort everything at its time, one event at a time, with the laws of state checked between."""
    steps: list[StepEvents] = []
    calls = sorted([(at, 0, r.id, r) for at, r in load.arrivals] + [(at, 1, name, None) for at, name in load.aborts])
    for at, _, name, request in calls:
        while (next_at := replica.next_event_at()) is not None and next_at <= at:
            steps += replica.advance_to(next_at)
            check_state(replica)
        steps += replica.advance_to(at)
        if request is None:
            replica.abort(name, at)
        else:
            replica.submit(request, at)
    while (next_at := replica.next_event_at()) is not None:
        steps += replica.advance_to(next_at)
        check_state(replica)
    return steps


def check_state(replica: Replica) -> None:
    scheduler, batch = replica._scheduler, replica._batch
    limits = scheduler.limits
    held = sum(seq.capacity for seq in [*scheduler.running, *scheduler.waiting]) // limits.block_size
    assert held + scheduler.free_blocks == scheduler.usable_blocks, "blocks allocated + free = total"
    assert scheduler.free_blocks >= 0
    assert len(scheduler.running) <= limits.max_num_seqs
    assert all(seq.capacity == 0 for seq in scheduler.waiting), "who waits holds no blocks"
    assert all(seq.computed <= seq.capacity for seq in scheduler.running)
    if scheduler.running or scheduler.waiting:
        assert batch is not None, "work-conserving: whoever is here, a step runs"
    if batch is not None:
        assert 0 < batch.tokens <= limits.max_num_batched_tokens


@given(cards(), traffic())
@settings(max_examples=150, deadline=None)
def test_every_request_ends_once_with_every_token(engine: Card, load: Traffic) -> None:
    replica = Replica(engine, seed=1)
    steps = play(replica, load)
    ends = finished_of(steps)
    assert sorted(ends) == sorted(request.id for _, request in load.arrivals)
    delivered = [name for step in steps for name in step.tokens]
    room = engine.limits.max_model_len
    for at, request in load.arrivals:
        end = ends[request.id]
        assert end.output_tokens == min(request.output_tokens, room - request.prompt_tokens)
        assert delivered.count(request.id) == end.output_tokens
        assert sum(step.first.count(request.id) for step in steps) == 1
        assert engine.api_overhead_s < end.ttft_s <= end.e2e_s + 1e-9
        assert end.arrived_at == at


@given(cards(), traffic())
@settings(max_examples=100, deadline=None)
def test_counters_agree_with_what_was_delivered(engine: Card, load: Traffic) -> None:
    replica = Replica(engine, seed=1)
    steps = play(replica, load)
    ends, page = finished_of(steps), replica.snapshot()
    outputs = sum(end.output_tokens for end in ends.values())
    prompts = sum(end.prompt_tokens for end in ends.values())
    assert page.generation_tokens == sum(len(step.tokens) for step in steps) == outputs
    assert page.prompt_tokens == page.prefix_queries == prompts
    assert page.cached_tokens == page.prefix_hits == sum(end.cached_tokens for end in ends.values())
    assert sum(page.finished.values()) == len(ends)
    assert page.preemptions == sum(end.preemptions for end in ends.values())
    assert page.histograms[counters.ITL].count == outputs - len(ends)
    assert page.histograms[counters.TTFT].count == len(ends)
    assert page.histograms[counters.ITERATION_TOKENS].sum == outputs + prompts - page.cached_tokens
    assert (page.running, page.waiting, page.kv_usage_ratio) == (0, 0, 0)


@given(cards(), traffic(with_aborts=True))
@settings(max_examples=100, deadline=None)
def test_aborts_leave_nothing_behind(engine: Card, load: Traffic) -> None:
    replica = Replica(engine, seed=1)
    ends = finished_of(play(replica, load))
    kept = {request.id for _, request in load.arrivals} - {name for _, name in load.aborts}
    assert kept <= set(ends)
    page = replica.snapshot()
    assert (page.running, page.waiting, page.kv_usage_ratio) == (0, 0, 0)


@given(cards(), traffic())
@settings(max_examples=60, deadline=None)
def test_steps_follow_each_other_and_the_clock_is_monotone(engine: Card, load: Traffic) -> None:
    replica = Replica(engine, seed=1)
    times = [step.at for step in play(replica, load)]
    assert times == sorted(times)
    assert len(set(times)) == len(times)
    assert replica.snapshot().busy_s <= replica.now + 1e-9


@given(cards(), traffic(), st.integers(0, 1000), st.floats(0.001, 0.5))
@settings(max_examples=60, deadline=None)
def test_the_same_seed_gives_the_same_run_however_the_clock_is_driven(
    engine: Card, load: Traffic, seed: int, tick_s: float
) -> None:
    stepped, ticked = Replica(engine, seed), Replica(engine, seed)
    for replica in (stepped, ticked):
        for at, request in load.arrivals:
            replica.submit(request, at)
    expected = run_out(stepped)
    seen: list[StepEvents] = []
    while ticked.next_event_at() is not None:
        seen += ticked.advance_to(ticked.now + tick_s)
    assert seen == expected


def test_one_seat_and_one_token_answers_make_an_m_d_1_queue() -> None:
    """Each wait follows Lindley's recursion, and their mean Pollaczek-Khinchine's rho*T / (2*(1 - rho))."""
    service_s = LAW.step_s(100, 100 * 50, 0, 0)
    rho, rng = 0.5, Random(11)
    gaps = [rng.expovariate(rho / service_s) for _ in range(20_000)]
    replica = Replica(card(max_num_seqs=1), seed=1)
    at, wait_s, waits = 0.0, 0.0, []
    for number, gap_s in enumerate(gaps):
        at += gap_s
        wait_s = max(0.0, wait_s + service_s - gap_s) if number else 0.0
        waits.append(wait_s)
        replica.submit(Request(f"r{number}", 100, 1), at)
    ends = finished_of(run_out(replica))
    assert [ends[f"r{n}"].queue_s for n in range(len(gaps))] == pytest.approx(waits, abs=1e-6)
    assert sum(waits) / len(waits) == pytest.approx(rho * service_s / (2 * (1 - rho)), rel=0.1)
