"""The metric reader finds on a real server's page every catalogue name that this version shows."""

from __future__ import annotations

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

from engine.exposition import Page, read_page
from engine.metric_rows import Metric, token_buckets
from engine.metrics import ROWS, family_markers, family_of, sample_names
from engine.real.install import VLLM_VERSION
from tests.vllm.servers import MODEL, Server

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(300)]

VERSION = tuple(int(part) for part in VLLM_VERSION.split("."))
MAX_MODEL_LEN = 1024


def _shown_now(row: Metric) -> bool:
    return row.since <= VERSION and (row.until is None or row.until >= VERSION)


def _samples(page: str) -> dict[str, list[dict[str, str]]]:
    found: dict[str, list[dict[str, str]]] = {}
    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            found.setdefault(sample.name, []).append(dict(sample.labels))
    return found


@pytest.fixture(scope="module")
def samples(real: Server) -> dict[str, list[dict[str, str]]]:
    """Labels of every sample on the page, by sample name."""
    return _samples(real.settled_page())


@pytest.mark.parametrize(
    "row", [row for row in ROWS if _shown_now(row) and not row.optional], ids=lambda row: str(row.name)
)
def test_what_this_version_always_shows_is_there_with_its_labels(
    row: Metric, samples: dict[str, list[dict[str, str]]]
) -> None:
    for name in sample_names(row):
        assert samples.get(name), f"{name} is not on the page"
        expected = {*row.base, *row.labels}
        assert all(expected <= labels.keys() for labels in samples[name])


@pytest.mark.parametrize("row", [row for row in ROWS if not _shown_now(row)], ids=lambda row: str(row.name))
def test_what_another_version_shows_is_not_there(row: Metric, samples: dict[str, list[dict[str, str]]]) -> None:
    assert not [name for name in sample_names(row) if name in samples]


@pytest.mark.parametrize(
    "row",
    [row for row in ROWS if row.kind == "histogram" and _shown_now(row) and not row.optional],
    ids=lambda row: str(row.name),
)
def test_bucket_edges_are_the_catalogues(row: Metric, samples: dict[str, list[dict[str, str]]]) -> None:
    edges = sorted({float(labels["le"]) for labels in samples[f"{row.name}_bucket"]})[:-1]
    assert tuple(edges) == (row.buckets or token_buckets(MAX_MODEL_LEN))


def test_every_vllm_name_on_the_page_is_in_the_catalogue(samples: dict[str, list[dict[str, str]]]) -> None:
    known = {name for row in ROWS for name in sample_names(row)}
    shown = {name for name in samples if name.startswith("vllm:") and not name.endswith("_created")}
    assert sorted(shown - known) == []


def test_the_reader_takes_the_page_as_whole_and_plausible(real: Server) -> None:
    page = read_page(real.settled_page())
    assert (page.damage, page.doubtful, page.plausible) == ((), (), True)
    assert page.family == "vLLM 0.32 or newer"


@pytest.mark.parametrize(
    "row",
    [row for row in ROWS if row.measure and _shown_now(row) and not row.optional],
    ids=lambda row: str(row.measure),
)
def test_the_reader_gives_every_measure_of_this_version(row: Metric, real: Server) -> None:
    page = read_page(real.settled_page())
    assert [name for name in sample_names(row) if not page.values(name)] == []


def test_the_readers_counters_count_what_was_asked(real: Server) -> None:
    before = read_page(real.settled_page())
    body: dict[str, object] = {"model": MODEL, "prompt": "a b c", "max_tokens": 7, "ignore_eos": True}
    answers = [real.post("/v1/completions", body) for _ in range(3)]
    used = [answer.json()["usage"] for answer in answers]
    after = read_page(real.settled_page())
    grown = {name: _total(after, name) - _total(before, name) for name in COUNTED}
    assert grown == {
        "vllm:generation_tokens_total": 21,
        "vllm:prompt_tokens_total": sum(usage["prompt_tokens"] for usage in used),
        "vllm:request_success_total": 3,
        "vllm:time_to_first_token_seconds_count": 3,
        "vllm:request_queue_time_seconds_count": 3,
    }


COUNTED = (
    "vllm:generation_tokens_total",
    "vllm:prompt_tokens_total",
    "vllm:request_success_total",
    "vllm:time_to_first_token_seconds_count",
    "vllm:request_queue_time_seconds_count",
)


def _total(page: Page, name: str) -> float:
    return sum(page.values(name).values())


def test_the_version_family_is_recognised(real: Server, samples: dict[str, list[dict[str, str]]]) -> None:
    assert family_of(samples) == "vLLM 0.32 or newer"
    assert [marker for marker in family_markers() if marker in samples]
    assert requests.get(f"{real.address}/version", timeout=10).json()["version"] == VLLM_VERSION


def test_the_served_model_is_the_label_that_the_daemon_asks_for(samples: dict[str, list[dict[str, str]]]) -> None:
    assert {labels["model_name"] for labels in samples["vllm:num_requests_running"]} == {MODEL}
