"""Requests that a real Envoy refuses are seen by the scraper, for the right fleet."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import requests

from controller.model.snapshot import Freshness, Reading
from controller.observe.scrape import ScrapeSignals
from engine.local.config import FleetConfig
from engine.local.envoy import EnvoyFiles, envoy_command
from engine.local.ports import free_port
from engine.local.process import Process
from tests.contract.observe.builders import fleet

FLEETS = [fleet("chat.one", namespace="llm"), fleet("other", namespace="llm")]


@pytest.fixture
def envoy(tmp_path: Path) -> Iterator[tuple[str, str]]:
    """URLs of a proxy without any replica, and of its administration."""
    port, admin = free_port(), free_port()
    EnvoyFiles(tmp_path).prepare([FleetConfig.of(one) for one in FLEETS], port, admin)
    process = Process("envoy", envoy_command(tmp_path), tmp_path / "envoy.log")
    try:
        yield f"http://127.0.0.1:{port}", f"http://127.0.0.1:{admin}"
    finally:
        process.end(3.0)


def refuse_one(url: str) -> bool:
    """Ask the first fleet once; whether the proxy answered that nobody can."""
    with suppress(requests.RequestException):
        return requests.get(url, timeout=1).status_code == requests.codes.service_unavailable
    return False


def until_refused(signals: ScrapeSignals, url: str) -> Reading:
    ends_at = time.monotonic() + 15
    while time.monotonic() < ends_at:
        refuse_one(url)
        seen = signals.read(FLEETS, {})
        if (seen["llm/chat.one"].refused_rps.fresh or 0) > 0:
            assert seen["llm/other"].refused_rps.fresh == 0.0
            return seen["llm/chat.one"].refused_rps
        time.sleep(0.05)
    raise AssertionError("no refused request was seen")


def test_what_a_proxy_without_replicas_refuses_is_demand(envoy: tuple[str, str]) -> None:
    proxy, admin = envoy
    with ScrapeSignals(
        window_s=2.0, scrape_interval_s=0.2, stale_after_s=1.0, timeout_s=0.5, envoy_address=admin
    ) as signals:
        assert until_refused(signals, proxy).freshness is Freshness.FRESH
