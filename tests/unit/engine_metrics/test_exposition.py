"""Reading a metrics page: what is really on it, and what is said about what cannot be read."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from engine.exposition import Page, read_page
from engine.metrics import PREFIX, names_for

PAGES = Path(__file__).parents[2] / "fixtures" / "vllm"
BASE = (("engine", "0"), ("model_name", "tiny"))
RUNNING = 'vllm:num_requests_running{engine="0",model_name="tiny"}'


def page(name: str) -> Page:
    return read_page((PAGES / f"{name}.prom").read_text())


@pytest.mark.parametrize(
    ("name", "sample", "value"),
    [
        ("load", "vllm:num_requests_running", 5.0),
        ("load", "vllm:num_requests_waiting", 0.0),
        ("load", "vllm:time_to_first_token_seconds_count", 1391.0),
        ("load", "vllm:prompt_tokens_cached_total", 132864.0),
        ("load", "vllm:iteration_tokens_total_count", 17350.0),
        ("saturated", "vllm:num_requests_running", 6.0),
        ("saturated", "vllm:num_requests_waiting", 128.0),
        ("saturated", "vllm:num_preemptions_total", 73.0),
        ("saturated", "vllm:kv_cache_usage_perc", 0.9375),
        ("idle", "vllm:num_requests_running", 0.0),
    ],
)
def test_a_real_page_reads_as_what_was_measured(name: str, sample: str, value: float) -> None:
    assert page(name).values(sample) == {BASE: value}


def test_finished_requests_are_kept_by_their_reason() -> None:
    by_reason = {
        dict(labels)["finished_reason"]: value
        for labels, value in page("load").values("vllm:request_success_total").items()
    }
    assert by_reason == {"stop": 1, "length": 1383, "abort": 0, "error": 0, "repetition": 0}


@pytest.mark.parametrize("name", ["idle", "load", "saturated"])
def test_a_real_page_is_plausible_and_says_its_version(name: str) -> None:
    read = page(name)
    assert read.plausible
    assert read.damage == ()
    assert read.family == "vLLM 0.32 or newer"


def test_only_what_is_wanted_is_kept_and_only_buckets_at_wanted_edges() -> None:
    bucket = "vllm:time_to_first_token_seconds_bucket"
    text = (PAGES / "load.prom").read_text()
    read = read_page(text, wanted=frozenset((bucket,)), edges=frozenset((1.0,)))
    assert {(name, dict(labels)["le"]): value for (name, labels), value in read.samples.items()} == {
        (bucket, "1.0"): 1095.0,
        (bucket, "+Inf"): 1391.0,
    }
    assert read.family == "vLLM 0.32 or newer"


def test_edges_written_as_integers_are_found() -> None:
    text = 'vllm:time_to_first_token_seconds_bucket{le="1",model_name="tiny"} 3\n'
    assert len(read_page(text, edges=frozenset((1.0,))).samples) == 1


def test_another_prefix_reads_as_vllms_own() -> None:
    text = 'ray_vllm_num_requests_running{model_name="tiny"} 4\n'
    assert read_page(text, prefix="ray_vllm_").values("vllm:num_requests_running") == {(("model_name", "tiny"),): 4.0}


def test_a_page_behind_a_sanitising_exporter_still_says_its_family() -> None:
    text = (PAGES / "load.prom").read_text().replace("vllm:", "vllm_")
    assert read_page(text, prefix="vllm_").family == "vLLM 0.32 or newer"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("<html><body>502</body></html>", "unreadable line '<html><body>502"),
        (f"{RUNNING} six", "unreadable line 'vllm:num_requests_running"),
        ('vllm:num_requests_running{engine="0 5', "unreadable line"),
        ("some_other_metric{a=", "unreadable line 'some_other_metric{a='"),
        ("\x00\x01\x02", "unreadable line"),
        ("just_a_name", "unreadable line 'just_a_name'"),
    ],
    ids=["html", "no number", "open quote", "cut label", "binary", "no value"],
)
def test_a_damaged_line_is_named_and_the_others_are_read(line: str, words: str) -> None:
    read = read_page(f"{RUNNING} 5\n{line}\nvllm:num_requests_waiting{{}} 2\n")
    assert read.values("vllm:num_requests_running") == {BASE: 5.0}
    assert read.values("vllm:num_requests_waiting") == {(): 2.0}
    assert words in read.damage[0]
    assert not read.plausible


def test_a_page_that_ends_within_a_line_is_damaged_even_if_the_line_reads() -> None:
    read = read_page(f"{RUNNING} 5")
    assert read.damage == ("the page ends within a line",)


def test_an_empty_page_is_no_damage_and_no_vllm() -> None:
    read = read_page("")
    assert (read.samples, read.family, read.damage) == ({}, "", ())


@pytest.mark.parametrize("text", ["NaN", "+Inf", "-Inf"])
def test_a_number_that_is_none_is_kept_and_called_doubtful(text: str) -> None:
    read = read_page(f"{RUNNING} {text}\n")
    assert not math.isfinite(read.values("vllm:num_requests_running")[BASE])
    assert read.doubtful == ("vllm:num_requests_running",)
    assert not read.plausible
    assert read.damage == ()


def test_of_two_values_for_one_series_the_first_is_kept_and_doubtful() -> None:
    read = read_page(f"{RUNNING} 5\n{RUNNING} 7\n")
    assert read.values("vllm:num_requests_running") == {BASE: 5.0}
    assert read.doubtful == ("vllm:num_requests_running",)


def test_the_same_line_twice_is_harmless() -> None:
    assert read_page(f"{RUNNING} 5\n{RUNNING} 5\n").plausible


def test_gpu_numbers_beside_vllms_are_read() -> None:
    read = read_page('DCGM_FI_DEV_GPU_UTIL{gpu="0"} 40\nDCGM_FI_DEV_FB_USED{gpu="0"} 1234\n')
    assert read.values("DCGM_FI_DEV_GPU_UTIL") == {(("gpu", "0"),): 40.0}
    assert read.values("DCGM_FI_DEV_FB_USED") == {(("gpu", "0"),): 1234.0}
    assert read.family == ""


def test_damage_is_quoted_a_few_times_only() -> None:
    assert len(read_page("<p>\n" * 100).damage) == 5


def test_every_name_of_a_measure_has_the_prefix_that_pages_are_read_with() -> None:
    assert all(name.startswith(PREFIX) for name in names_for("cached"))
