"""The /metrics page is that of a real vLLM 0.32 server: families, types, label sets and buckets."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from tests.unit.engine_serve.servers import LiveServer, start

RECORDED = Path("tests/fixtures/vllm/load.prom")
DIFFERENCES: dict[str, Any] = yaml.safe_load(Path(__file__).with_name("page_differences.yaml").read_text())

Family = tuple[str, frozenset[tuple[str, tuple[tuple[str, str], ...]]]]
Page = dict[str, Family]


def read(text: str) -> Page:
    """Type and label sets of every family; where values are not compared, label names alone."""
    page: Page = {}
    for family in text_string_to_metric_families(text):
        named_only = family.name in DIFFERENCES["label_values_not_compared"]
        samples = frozenset(
            (s.name, tuple(sorted((k, "" if named_only else v) for k, v in s.labels.items()))) for s in family.samples
        )
        page[family.name] = (family.type, samples)
    return page


@pytest.fixture(scope="module")
def served(profile: Path) -> Iterator[str]:
    """A page after the kinds of call that the recorded server had answered."""
    with start("--profile", str(profile), "--model", "tiny", "--cold-start", "0") as server:
        server.get("/v1/models")
        short = {"model": "tiny", "max_tokens": 4}
        server.post("/v1/completions", {**short, "prompt": "a river", "n": 3})
        server.post("/v1/chat/completions", {**short, "messages": [{"role": "user", "content": "a river"}]})
        server.post("/tokenize", {"model": "tiny", "prompt": "a river"})
        server.post("/v1/completions", {**short, "prompt": list(range(2000))})
        server.get("/no/such/path")
        yield server.get("/metrics").text


def test_nothing_is_missing(served: str) -> None:
    page, recorded = read(served), read(RECORDED.read_text())
    assert sorted(recorded.keys() - page.keys()) == sorted(DIFFERENCES["missing"])


def test_nothing_is_surplus(served: str) -> None:
    page, recorded = read(served), read(RECORDED.read_text())
    assert sorted(page.keys() - recorded.keys()) == sorted(DIFFERENCES["surplus"])


def test_types_label_sets_and_buckets_are_the_same(served: str) -> None:
    page, recorded = read(served), read(RECORDED.read_text())
    assert {name: page[name] for name in recorded} == recorded


def test_every_difference_has_a_reason() -> None:
    assert all(len(reason) > 10 for part in DIFFERENCES.values() for reason in part.values())


def test_no_series_appears_twice(served: str) -> None:
    series = [line.rsplit(" ", 1)[0] for line in served.splitlines() if not line.startswith("#")]
    assert len(series) == len(set(series))


def test_label_values_are_escaped(profile: Path) -> None:
    name = 'a "b" \\ c'
    with start("--profile", str(profile), "--model", name, "--cold-start", "0") as server:
        families = list(text_string_to_metric_families(server.get("/metrics").text))
    (running,) = next(f for f in families if f.name == "vllm:num_requests_running").samples
    assert running.labels["model_name"] == name


def test_gauges_show_load_while_it_lasts_and_the_card_is_busy(server: LiveServer) -> None:
    body = {"model": "tiny", "prompt": [1] * 64, "max_tokens": 900, "ignore_eos": True, "n": 20}
    asking = Thread(target=server.post, args=("/v1/completions", body))
    asking.start()
    while server.metric("vllm:num_requests_running") < 16:
        pass
    assert server.metric("vllm:num_requests_waiting") == 4
    assert server.metric('vllm:num_requests_waiting_by_reason{reason="capacity"}') == 4
    assert server.metric("vllm:kv_cache_usage_perc") > 0
    asking.join()
    assert server.metric("vllm:num_requests_running") == 0
    assert server.metric("vllm:request_max_num_generation_tokens_sum") >= 900
    while not server.metric("DCGM_FI_DEV_GPU_UTIL"):
        pass
