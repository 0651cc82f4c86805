"""The metric catalogue against pages recorded from a real vLLM 0.32, and against itself."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from engine.metrics import (
    ITL,
    LAT,
    PREFIX,
    ROWS,
    TTFT,
    all_sample_names,
    alternatives,
    family_markers,
    family_of,
    metric,
    names_for,
    nearest_edges,
    prefixed,
    sample_names,
    token_buckets,
    version_bounds,
)

PAGES = Path(__file__).parents[2] / "fixtures" / "vllm"
RECORDED = (0, 32, 0)


def names_on(page: str) -> set[str]:
    lines = (PAGES / f"{page}.prom").read_text().splitlines()
    return {re.split(r"[{ ]", line)[0] for line in lines if line and not line.startswith("#")}


ALL_PAGES = pytest.mark.parametrize("page", ["idle", "load", "saturated"])


@ALL_PAGES
def test_every_vllm_name_on_a_real_page_is_catalogued(page: str) -> None:
    unknown = names_on(page) - all_sample_names()
    assert {name for name in unknown if name.startswith(PREFIX) and not name.endswith("_created")} == set()


@ALL_PAGES
def test_every_name_that_this_version_always_shows_is_on_its_page(page: str) -> None:
    always = [row for row in ROWS if not row.optional and row.until is None and row.since <= RECORDED]
    assert {row.name for row in always if not set(sample_names(row)) <= names_on(page)} == set()


@ALL_PAGES
def test_no_removed_name_is_on_a_page_of_today(page: str) -> None:
    removed = [row for row in ROWS if row.until is not None]
    assert {row.name for row in removed if set(sample_names(row)) & names_on(page)} == set()


def edges_on_page(name: str) -> tuple[float, ...]:
    text = (PAGES / "load.prom").read_text()
    found = re.findall(rf'^{re.escape(name)}_bucket{{.*?le="([^"]+)"', text, re.MULTILINE)
    return tuple(float(edge) for edge in dict.fromkeys(found) if edge != "+Inf")


@pytest.mark.parametrize(
    "row", [row for row in ROWS if row.kind == "histogram" and edges_on_page(row.name)], ids=lambda row: str(row.name)
)
def test_bucket_edges_are_those_of_the_real_page(row: object) -> None:
    found = next(candidate for candidate in ROWS if candidate is row)
    assert (found.buckets or token_buckets(1024)) == edges_on_page(found.name)


def test_every_name_is_catalogued_once() -> None:
    assert len({row.name for row in ROWS}) == len(ROWS)


@pytest.mark.parametrize("row", [row for row in ROWS if row.replaced_by], ids=lambda row: str(row.name))
def test_a_replacement_is_catalogued_and_was_there_in_time(row: object) -> None:
    old = next(candidate for candidate in ROWS if candidate is row)
    assert old.until is not None
    assert metric(old.replaced_by).since <= (old.until[0], old.until[1] + 1, 0)


@pytest.mark.parametrize("measure", sorted({row.measure for row in ROWS if row.measure}))
def test_of_one_measure_the_newest_name_comes_first(measure: str) -> None:
    rows = alternatives(measure)
    assert [row.since for row in rows] == sorted((row.since for row in rows), reverse=True)
    assert rows[0].until is None


@pytest.mark.parametrize("measure", ["", "vllm_request_failure_total", "latency"])
def test_an_unknown_measure_is_refused(measure: str) -> None:
    with pytest.raises(KeyError):
        alternatives(measure)


@pytest.mark.parametrize(
    ("measure", "suffix", "wanted"),
    [
        ("running", "", {"vllm:num_requests_running"}),
        ("kv_usage", "", {"vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc"}),
        ("finished", "", {"vllm:request_success_total"}),
        ("steps", "_count", {"vllm:iteration_tokens_total_count"}),
    ],
)
def test_names_of_a_measure_are_spelled_as_prometheus_stores_them(measure: str, suffix: str, wanted: set[str]) -> None:
    names = {name + suffix for name in names_for(measure)}
    assert names == wanted
    assert names <= all_sample_names()


@pytest.mark.parametrize("prefix", ["vllm_", "ray_vllm_", "kserve_vllm:"])
def test_another_prefix_replaces_vllms_own_and_no_other(prefix: str) -> None:
    assert names_for("running", prefix) == (f"{prefix}num_requests_running",)
    assert prefixed("http_requests_total", prefix) == "http_requests_total"


@pytest.mark.parametrize(
    ("edges", "threshold", "expected"),
    [
        (TTFT, 1.0, (1.0, 1.0)),
        (TTFT, 2.0, (1.0, 2.5)),
        (TTFT, 0.0001, (0.001, 0.001)),
        (TTFT, 9999.0, (2560.0, 2560.0)),
        (ITL, 0.06, (0.05, 0.075)),
        (LAT, 0.3, (0.3, 0.3)),
    ],
)
def test_the_nearest_edges_enclose_a_threshold(
    edges: tuple[float, ...], threshold: float, expected: tuple[float, float]
) -> None:
    assert nearest_edges(edges, threshold) == expected


def shown_by(version: tuple[int, int, int]) -> set[str]:
    """What the catalogue says that a version shows without any option."""
    rows = [row for row in ROWS if not row.optional and row.since <= version]
    return {name for row in rows if row.until is None or version <= row.until for name in sample_names(row)}


@pytest.mark.parametrize(
    ("version", "family"),
    [
        ((0, 6, 3), "vLLM before 0.8.5"),
        ((0, 8, 5), "vLLM 0.8.5 to before 0.9"),
        ((0, 9, 2), "vLLM 0.9.2 to before 0.10.2"),
        ((0, 10, 2), "vLLM 0.10.2 to before 0.11"),
        ((0, 11, 0), "vLLM 0.11 to before 0.11.2"),
        ((0, 11, 2), "vLLM 0.11.2 to before 0.12"),
        ((0, 13, 0), "vLLM 0.13 to before 0.16"),
        ((0, 16, 0), "vLLM 0.16 to before 0.19"),
        ((0, 20, 0), "vLLM 0.20 to before 0.30"),
        ((0, 30, 0), "vLLM 0.30 to before 0.32"),
        ((0, 32, 0), "vLLM 0.32 or newer"),
    ],
)
def test_the_names_on_a_page_say_which_versions_it_can_be_from(version: tuple[int, int, int], family: str) -> None:
    assert family_of(shown_by(version)) == family


@pytest.mark.parametrize("version", sorted({row.since for row in ROWS}))
def test_a_version_lies_within_the_bounds_of_its_own_names(version: tuple[int, int, int]) -> None:
    low, high = version_bounds(shown_by(version))
    assert low <= version
    assert high is None or version < high


@pytest.mark.parametrize("version", sorted({row.since for row in ROWS}))
def test_the_few_markers_tell_the_same_family_as_the_whole_page(version: tuple[int, int, int]) -> None:
    markers = family_markers()
    assert family_of(shown_by(version) & set(markers), markers) == family_of(shown_by(version))


@ALL_PAGES
def test_recorded_pages_are_of_their_own_version_family(page: str) -> None:
    assert family_of(names_on(page)) == "vLLM 0.32 or newer"


def test_a_page_without_vllm_names_belongs_to_no_version() -> None:
    assert family_of({"http_requests_total", "python_info"}) == ""


def test_old_names_shown_on_request_beside_new_ones_are_said_to_be_mixed() -> None:
    assert "names of other versions" in family_of(shown_by((0, 32, 0)) | {"vllm:gpu_cache_usage_perc"})


def test_token_histograms_go_up_to_the_longest_context() -> None:
    assert token_buckets(1024) == (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
