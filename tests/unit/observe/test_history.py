"""A replica's scrapes over time, and what they come down to."""

from __future__ import annotations

from pathlib import Path

import pytest

from controller.observe.history import LOOKBACK_S, WANTED, History, engine_numbers
from engine.exposition import read_page

PAGES = Path(__file__).parents[2] / "fixtures" / "vllm"
LABELS = (("engine", "0"),)
RUNNING = ("running", 0.0, LABELS)
FINISHED = ("finished", 0.0, LABELS)


def history(*scrapes: tuple[float, float | None]) -> History:
    kept = History(keep_s=60.0)
    for at_s, value in scrapes:
        kept.add(at_s, None if value is None else {RUNNING: value, FINISHED: value})
    return kept


def test_the_newest_scrape_at_an_instant_is_the_last_one_before_it() -> None:
    kept = history((1, 10), (2, 20), (3, 30))
    assert [scrape and scrape.at_s for scrape in map(kept.at, (0.5, 1.0, 2.9, 9.0))] == [None, 1, 2, 3]


def test_a_failed_scrape_ends_the_newest_values_at_once() -> None:
    kept = history((1, 10), (2, None))
    assert kept.at(1.5) is not None
    assert kept.at(2.0) is None


def test_values_older_than_the_look_back_are_gone() -> None:
    assert history((0, 10)).at(LOOKBACK_S + 1) is None


def test_counters_are_followed_across_a_failed_scrape() -> None:
    rates = history((0, 100), (1, 102), (2, None), (3, 106), (4, 108)).rates(0, 4)
    assert rates == {FINISHED: pytest.approx(2.0)}


def test_what_no_window_reaches_is_forgotten() -> None:
    kept = history(*((float(at), 1.0) for at in range(200)))
    assert kept.at(100.0) is None
    assert kept.at(150.0) is not None


def test_a_history_without_scrapes_ended_long_ago() -> None:
    assert History(60).ended_at_s == float("-inf")
    assert history((1, 1), (5, None)).ended_at_s == 5


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ("running", 6.0),
        ("waiting", 128.0),
        ("kv", 0.9375),
        ("kv_tokens", 17 * 128.0),
        ("preemptions", 73.0),
    ],
)
def test_a_real_page_comes_down_to_the_tables_numbers(table: str, expected: float) -> None:
    text = (PAGES / "saturated.prom").read_text()
    numbers = engine_numbers(read_page(text, wanted=WANTED, edges=frozenset((1.0, 0.05))), "tiny")
    assert [value for series, value in numbers.items() if series[0] == table] == [expected]


def test_of_a_real_page_only_the_buckets_at_the_edges_are_kept() -> None:
    text = (PAGES / "load.prom").read_text()
    numbers = engine_numbers(read_page(text, wanted=WANTED, edges=frozenset((1.0, 0.05))), "tiny")
    assert sorted(series[1] for series in numbers if series[0] == "ttft") == [1.0, float("inf")]
    assert sorted(series[1] for series in numbers if series[0] == "tpot") == [0.05, 1.0, float("inf")]


def test_of_two_names_for_one_number_the_newer_counts() -> None:
    text = (
        'vllm:gpu_cache_usage_perc{model_name="m"} 0.9\nvllm:kv_cache_usage_perc{model_name="m"} 0.1\n'
        'vllm:gpu_prefix_cache_hits_total{model_name="m"} 7\nvllm:prompt_tokens_cached_total{model_name="m"} 5\n'
        'DCGM_FI_PROF_GR_ENGINE_ACTIVE{gpu="0"} 0.3\nDCGM_FI_DEV_GPU_UTIL{gpu="0"} 80\n'
    )
    numbers = engine_numbers(read_page(text, wanted=WANTED), "m")
    assert {series[0]: value for series, value in numbers.items()} == {"kv": 0.1, "cached": 5.0, "gpu": 0.8}


@pytest.mark.parametrize(
    "line",
    [
        'vllm:num_requests_running{model_name="another"} 5',
        "vllm:num_requests_running 5",
        'vllm:cache_config_info{num_gpu_blocks="None",block_size="16"} 1',
        'http_requests_total{handler="/v1"} 5',
    ],
    ids=["another model", "a router's copy", "blocks not set yet", "not read"],
)
def test_what_says_nothing_about_the_model_is_left_out(line: str) -> None:
    assert engine_numbers(read_page(f"{line}\n"), "m") == {}
