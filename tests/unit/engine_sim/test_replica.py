"""One replica follows the step law and vLLM's scheduling order."""

from __future__ import annotations

import pytest

from engine.sim import counters
from engine.sim.interface import Request
from engine.sim.replica import Replica
from tests.unit.engine_sim.cards import LAW, card, finished_of, run_out, serve


def decode_s(context: int) -> float:
    return LAW.step_s(0, 0, 1, context)


def chunk_s(tokens: int, context: int = 0) -> float:
    return LAW.step_s(tokens, tokens * (context + tokens / 2), 0, 0)


def test_a_request_alone_has_the_times_computed_by_hand() -> None:
    end = serve(Replica(card(api_overhead_s=0.015), seed=1), Request("r", 100, 4))["r"]
    assert end.ttft_s == pytest.approx(0.015 + chunk_s(100))
    assert end.tpot_s == pytest.approx((decode_s(100) + decode_s(101) + decode_s(102)) / 3)
    assert end.e2e_s == pytest.approx(end.ttft_s + 3 * end.tpot_s)
    assert (end.queue_s, end.prefill_s) == (0, pytest.approx(chunk_s(100)))


def test_a_prompt_over_the_budget_is_computed_in_chunks() -> None:
    end = serve(Replica(card(max_num_batched_tokens=512), seed=1), Request("r", 1200, 1))["r"]
    assert end.ttft_s == pytest.approx(chunk_s(512) + chunk_s(512, 512) + chunk_s(176, 1024))
    assert end.tpot_s == 0


def test_a_prefix_hit_is_not_computed_and_never_the_whole_prompt() -> None:
    replica = Replica(card(prefix_hit_ratio=1.0), seed=1)
    end = serve(replica, Request("r", 160, 1))["r"]
    assert end.cached_tokens == 144
    assert end.ttft_s == pytest.approx(chunk_s(16, 144))
    snapshot = replica.snapshot()
    assert (snapshot.prompt_tokens, snapshot.cached_tokens) == (160, 144)
    assert (snapshot.prefix_queries, snapshot.prefix_hits) == (160, 144)


def test_a_request_may_bring_its_own_prefix_hit() -> None:
    end = serve(Replica(card(prefix_hit_ratio=0.5), seed=1), Request("r", 160, 1, cached_tokens=33))["r"]
    assert end.cached_tokens == 32


def test_who_arrives_during_a_step_waits_for_the_next() -> None:
    replica = Replica(card(), seed=1)
    replica.submit(Request("early", 100, 2), 0.0)
    replica.submit(Request("late", 100, 1), 0.001)
    ends = finished_of(run_out(replica))
    assert ends["late"].queue_s == pytest.approx(chunk_s(100) - 0.001)
    assert ends["late"].finished_at == ends["early"].finished_at


def test_running_requests_decode_before_waiting_prompts_get_the_rest_of_the_budget() -> None:
    replica = Replica(card(max_num_batched_tokens=64), seed=1)
    replica.submit(Request("runs", 60, 10), 0.0)
    replica.advance_to(chunk_s(60))
    replica.submit(Request("waits", 200, 1), replica.now)
    steps = run_out(replica)
    # The step that began before the prompt came is followed by four with 63 prompt tokens at most.
    assert [len(step.tokens) for step in steps[:5]] == [1, 1, 1, 1, 2]
    assert steps[4].first == ["waits"]


def test_seats_are_never_more_than_max_num_seqs() -> None:
    replica = Replica(card(max_num_seqs=2), seed=1)
    for name in "abc":
        replica.submit(Request(name, 10, 5), 0.0)
    replica.advance_to(0.001)
    assert (replica.snapshot().running, replica.snapshot().waiting) == (2, 1)


def test_the_head_of_the_queue_blocks_smaller_requests_behind_it() -> None:
    replica = Replica(card(num_gpu_blocks=65, max_model_len=1024), seed=1)
    replica.submit(Request("holds", 600, 8), 0.0)
    replica.submit(Request("large", 600, 1), 0.001)
    replica.submit(Request("small", 10, 1), 0.001)
    ends = finished_of(run_out(replica))
    assert ends["holds"].finished_at < ends["small"].finished_at == ends["large"].finished_at


def test_when_blocks_run_out_the_last_running_request_is_preempted_and_recomputes() -> None:
    # 8 usable blocks of 16 tokens: two prompts of 48 take 6, and both grow until the pool is dry.
    replica = Replica(card(num_gpu_blocks=9, max_model_len=128), seed=1)
    replica.submit(Request("first", 48, 40), 0.0)
    replica.submit(Request("last", 48, 40), 0.0)
    steps = run_out(replica)
    ends = finished_of(steps)
    assert [name for step in steps for name in step.preempted] == ["last"]
    assert (ends["first"].preemptions, ends["last"].preemptions) == (0, 1)
    assert ends["first"].finished_at < ends["last"].finished_at
    snapshot = replica.snapshot()
    assert (snapshot.preemptions, snapshot.kv_usage_ratio) == (1, 0)
    # What is recomputed is not counted as prompt tokens, and every token is counted once.
    assert (snapshot.prompt_tokens, snapshot.generation_tokens) == (96, 80)
    assert snapshot.histograms[counters.ITERATION_TOKENS].sum == 96 + 80


def test_an_aborted_request_frees_its_blocks_and_is_counted_nowhere() -> None:
    replica = Replica(card(), seed=1)
    replica.submit(Request("gone", 100, 50), 0.0)
    replica.submit(Request("stays", 100, 3), 0.0)
    replica.advance_to(0.03)
    replica.abort("gone", replica.now)
    ends = finished_of(run_out(replica))
    assert list(ends) == ["stays"]
    snapshot = replica.snapshot()
    assert (snapshot.running, snapshot.kv_usage_ratio, sum(snapshot.finished.values())) == (0, 0, 1)
    assert snapshot.histograms[counters.TTFT].count == 2


@pytest.mark.parametrize("advance_to", [None, 0.001], ids=["before its turn", "in the queue"])
def test_a_request_aborted_before_it_runs_never_runs(advance_to: float | None) -> None:
    replica = Replica(card(max_num_seqs=1, api_overhead_s=0.0005), seed=1)
    replica.submit(Request("runs", 100, 3), 0.0)
    replica.submit(Request("gone", 100, 3), 0.0)
    if advance_to is not None:
        replica.advance_to(advance_to)
    replica.abort("gone", replica.now)
    assert list(finished_of(run_out(replica))) == ["runs"]
    assert replica.snapshot().prompt_tokens == 100


@pytest.mark.parametrize(
    ("request_", "output", "reason"),
    [
        (Request("r", 10, 5), 5, "length"),
        (Request("r", 10, 5, max_tokens=9), 5, "stop"),
        (Request("r", 10, 9, max_tokens=5), 5, "length"),
        (Request("r", 8190, 9), 2, "length"),
    ],
    ids=["exactly what was asked", "the model stops early", "cut by max_tokens", "cut by max_model_len"],
)
def test_a_request_ends_at_its_own_stop_or_at_a_limit(request_: Request, output: int, reason: str) -> None:
    end = serve(Replica(card(), seed=1), request_)["r"]
    assert (end.output_tokens, end.reason) == (output, reason)


def test_busy_time_grows_only_while_steps_run() -> None:
    replica = Replica(card(), seed=1)
    replica.submit(Request("r", 100, 1), 5.0)
    replica.advance_to(5.0 + chunk_s(100) / 2)
    assert replica.snapshot().busy_s == pytest.approx(chunk_s(100) / 2)
    replica.advance_to(60.0)
    assert replica.snapshot().busy_s == pytest.approx(chunk_s(100))


def test_noise_keeps_the_mean_of_the_law() -> None:
    noisy = serve(Replica(card(noise_ratio=0.03), seed=7), Request("r", 10, 4000))["r"]
    quiet = serve(Replica(card(), seed=7), Request("r", 10, 4000))["r"]
    assert noisy.tpot_s != quiet.tpot_s
    assert noisy.tpot_s == pytest.approx(quiet.tpot_s, rel=0.003)


@pytest.mark.parametrize(
    ("request_", "at", "words"),
    [
        (Request("x", 8192, 1), 1.0, "does not fit"),
        (Request("x", 0, 1), 1.0, "does not fit"),
        (Request("x", 10, 0), 1.0, "does not fit"),
        (Request("x", 10, 1), 0.5, "before the clock"),
        (Request("here", 10, 1), 1.0, "already here"),
    ],
    ids=["too long", "no prompt", "no output", "in the past", "id in use"],
)
def test_impossible_requests_are_refused(request_: Request, at: float, words: str) -> None:
    replica = Replica(card(), seed=1)
    replica.submit(Request("here", 10, 1000), 0.0)
    replica.advance_to(1.0)
    with pytest.raises(ValueError, match=words):
        replica.submit(request_, at)


def test_the_clock_never_goes_back() -> None:
    replica = Replica(card(), seed=1)
    replica.advance_to(2.0)
    with pytest.raises(ValueError, match="cannot go back"):
        replica.advance_to(1.0)
    with pytest.raises(ValueError, match="before the clock"):
        replica.abort("r", 1.0)


def test_a_cache_that_cannot_hold_one_request_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot hold one request"):
        Replica(card(num_gpu_blocks=512), seed=1)
