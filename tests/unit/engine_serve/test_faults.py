"""A server started with --faults misbehaves on order, and only then."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.unit.engine_serve.servers import LiveServer, start

RUNNING = "vllm:num_requests_running"


@pytest.fixture(autouse=True)
def healed(server: LiveServer) -> Iterator[None]:
    """Every test leaves the server well."""
    yield
    server.post("/faults", {"metrics": "ok", "health": "ok"})


def test_a_hanging_page_gives_no_answer_until_it_is_healed(server: LiveServer) -> None:
    server.post("/faults", {"metrics": "hang"})
    with pytest.raises(requests.Timeout):
        requests.get(f"{server.url}/metrics", timeout=0.5)
    server.post("/faults", {"metrics": "ok"})
    assert server.get("/metrics").status_code == 200


def test_garbage_is_no_exposition(server: LiveServer) -> None:
    server.post("/faults", {"metrics": "garbage"})
    assert "502 Bad Gateway" in server.get("/metrics").text


def test_nan_replaces_every_number_of_vllm(server: LiveServer) -> None:
    server.post("/faults", {"metrics": "nan"})
    assert math.isnan(server.metric(RUNNING))
    assert server.metric("process_max_fds") > 0


def test_a_duplicate_series_stands_twice_on_the_page(server: LiveServer) -> None:
    server.post("/faults", {"metrics": "duplicate"})
    lines = server.get("/metrics").text.splitlines()
    assert sum(line.startswith(RUNNING + "{") for line in lines) == 2


def test_a_reset_starts_all_counters_from_zero_and_they_go_on(server: LiveServer) -> None:
    body = {"model": "tiny", "prompt": [1] * 10, "max_tokens": 5, "ignore_eos": True}
    server.post("/v1/completions", body)
    assert server.metric("vllm:generation_tokens_total") >= 5
    server.post("/faults", {"metrics": "reset"})
    assert server.metric("vllm:generation_tokens_total") == 0
    server.post("/v1/completions", body)
    assert server.metric("vllm:generation_tokens_total") == 5
    assert server.metric("vllm:time_to_first_token_seconds_count") == 1


def test_a_dead_engine_fails_its_health_probe(server: LiveServer) -> None:
    assert server.post("/faults", {"health": "dead"}).json() == {"metrics": "ok", "health": "dead"}
    assert server.get("/health").status_code == 503
    assert server.get("/faults").json()["health"] == "dead"


def test_an_unknown_fault_is_refused(server: LiveServer) -> None:
    assert server.post("/faults", {"metrics": "melt"}).status_code == 400
    assert server.post("/faults", {"colour": "red"}).status_code == 400


def test_without_the_option_there_is_no_such_path(profile: Path) -> None:
    with start("--profile", str(profile), "--cold-start", "0") as server:
        assert server.post("/faults", {"metrics": "nan"}).status_code == 404
