"""Which replicas are scraped, how many at most, and what their proxy calls them."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from controller.errors import UsageError
from controller.model.snapshot import Freshness, Replica, ReplicaPhase, ScaleTarget
from controller.observe import scrape
from controller.observe.history import History
from controller.observe.proxy_clusters import proxy_clusters
from controller.observe.scrape import MOST_REPLICAS, ScrapeSignals, check_reach
from tests.contract.observe.builders import fleet, target
from tests.contract.observe.vllm_pages import PageServer, engine_server

FLEETS = [fleet("chat")]
KEY = ("llm/chat", "v1")


@pytest.fixture
def signals() -> Iterator[ScrapeSignals]:
    with ScrapeSignals(window_s=2.0, scrape_interval_s=0.1, stale_after_s=1.0, timeout_s=0.5) as scraping:
        yield scraping


@pytest.fixture
def server() -> Iterator[PageServer]:
    with engine_server("chat") as serving:
        yield serving


def until_running(signals: ScrapeSignals, there: ScaleTarget, value: float | None) -> bool:
    """Look until the variant's running requests read as `value`, 5 s at most."""
    ends_at = time.monotonic() + 5
    while time.monotonic() < ends_at:
        if signals.read(FLEETS, {KEY: there})["llm/chat"].variants["v1"].running.value == value:
            return True
        time.sleep(0.02)
    return False


def test_nothing_is_known_before_the_first_page_and_nobody_waits_for_it(signals: ScrapeSignals) -> None:
    seen = signals.read(FLEETS, {KEY: target("127.0.0.1:9")})["llm/chat"]
    assert seen.inflight.freshness is Freshness.ABSENT
    assert signals.pressure(FLEETS) == {}


@pytest.mark.parametrize("form", ["{}", "http://{}", "http://{}/"], ids=["host and port", "url", "with a slash"])
def test_an_address_may_be_host_and_port_or_a_url(signals: ScrapeSignals, server: PageServer, form: str) -> None:
    assert until_running(signals, target(form.format(server.address)), 6.0)


def test_a_replica_that_left_and_came_back_is_scraped_again(signals: ScrapeSignals, server: PageServer) -> None:
    there, nowhere = target(server.address), target()
    assert until_running(signals, there, 6.0)
    assert until_running(signals, nowhere, None)
    assert until_running(signals, there, 6.0)


def test_a_replica_that_left_is_forgotten_when_no_window_reaches_it(signals: ScrapeSignals, server: PageServer) -> None:
    assert until_running(signals, target(server.address), 6.0)
    signals.read(FLEETS, {})
    assert len(signals._ended) == 1
    ends_at = time.monotonic() + 8
    while signals._ended and time.monotonic() < ends_at:
        signals.read(FLEETS, {})
        time.sleep(0.1)
    assert signals._ended == {}


def test_replicas_that_come_and_go_under_the_light_look_do_not_break_it(
    signals: ScrapeSignals, monkeypatch: pytest.MonkeyPatch
) -> None:
    comings = iter([target("127.0.0.1:9"), target(), target("127.0.0.1:9", "127.0.0.1:7")])
    signals.read(FLEETS, {KEY: target("127.0.0.1:9", "127.0.0.1:7")})

    def meanwhile(_history: History, _now_s: float) -> float:
        signals.read(FLEETS, {KEY: next(comings)})
        return 1.0

    monkeypatch.setattr(scrape, "_load", meanwhile)
    assert signals.pressure(FLEETS) == {"llm/chat": 2.0}


def test_a_page_that_cannot_be_read_is_said_to_be_so(signals: ScrapeSignals) -> None:
    with PageServer(lambda _age_s: "<html>\n") as broken:
        there = target(broken.address)
        signals.read(FLEETS, {KEY: there})
        ends_at = time.monotonic() + 5
        warnings: tuple[str, ...] = ()
        while not warnings and time.monotonic() < ends_at:
            warnings = signals.read(FLEETS, {KEY: there})["llm/chat"].warnings
        assert warnings == ("replica pod-0 of v1: unreadable line '<html>'",)


def test_of_more_replicas_than_can_be_scraped_the_rest_is_missing_and_the_remedy_is_said(server: PageServer) -> None:
    many = target(*(server.address,) * (MOST_REPLICAS + 1))
    with ScrapeSignals(window_s=60.0, scrape_interval_s=10.0, stale_after_s=30.0, timeout_s=5.0) as signals:
        assert until_running(signals, many, 6.0 * MOST_REPLICAS)
        seen = signals.read(FLEETS, {KEY: many})["llm/chat"]
    assert seen.inflight.freshness is Freshness.STALE
    assert seen.inflight.detail == "50 of 51 ready replicas report"
    assert seen.warnings[0].startswith("51 replicas have pages")
    assert "prometheus_url" in seen.warnings[0]


def test_fleets_that_may_outgrow_scraping_are_refused_at_the_start_with_the_remedy() -> None:
    check_reach([fleet("chat", *(f"v{at}" for at in range(5)))])
    with pytest.raises(UsageError, match=r"may grow to 60 replicas.*at most 50.*prometheus_url"):
        check_reach([fleet("chat", *(f"v{at}" for at in range(6)))])


def test_replicas_without_address_or_without_a_process_are_not_scraped(signals: ScrapeSignals) -> None:
    replicas = (
        Replica("pending", ReplicaPhase.PENDING, 0.0, address="127.0.0.1:9"),
        Replica("failed", ReplicaPhase.FAILED, 0.0, address="127.0.0.1:9"),
        Replica("ready", ReplicaPhase.READY, 0.0),
    )
    signals.read(FLEETS, {KEY: ScaleTarget(3, "1", replicas)})
    assert signals._scrapers == {}


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("{namespace}/{fleet}/{subset}", {"llm/chat/v1", "llm/chat/v2"}),
        (
            "outbound|8000|{subset}|{host}.{namespace}.svc.cluster.local",
            {f"outbound|8000|{subset}|chat.llm.svc.cluster.local" for subset in ("v1", "v2")},
        ),
    ],
    ids=["local stack", "istio"],
)
def test_proxy_clusters_are_named_by_a_pattern(pattern: str, expected: set[str]) -> None:
    assert set(proxy_clusters(pattern)(fleet("chat", "v1", "v2"))) == expected


@pytest.mark.parametrize("pattern", ["{cluster}", "{0}", "{subset"])
def test_a_pattern_with_other_fields_is_refused(pattern: str) -> None:
    with pytest.raises(UsageError, match="use only the fields"):
        proxy_clusters(pattern)
