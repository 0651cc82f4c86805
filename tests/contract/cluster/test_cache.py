"""A cache over HTTP: what it does when the server breaks, refuses, forgets, falls silent or comes back."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from controller.cluster.cache import ListWatch, Pace
from controller.cluster.client import Json
from controller.cluster.names import FLEETS, PODS
from tests.contract.cluster.api_server import ApiServer
from tests.contract.cluster.conditions import FAST, PATIENCE_S, eventually
from tests.contract.cluster.objects import a_pod


@pytest.fixture
def server() -> Iterator[ApiServer]:
    with ApiServer() as started:
        yield started


def version(raw: Json) -> str:
    return str(raw["metadata"]["resourceVersion"])


@contextmanager
def cached(server: ApiServer, pace: Pace = FAST, **more: Any) -> Iterator[ListWatch[str]]:
    cache = ListWatch(server.client(), PODS, version, pace=pace, **more).start()
    try:
        yield cache
    finally:
        cache.close()


def put(server: ApiServer, *names: str, namespace: str = "llm") -> None:
    for name in names:
        server.store.put(PODS, a_pod(name, namespace=namespace))


def names(cache: ListWatch[str]) -> set[str]:
    return set(cache.objects())


def test_a_list_of_several_pages_is_kept_and_then_followed(server: ApiServer) -> None:
    put(server, *(f"p{n}" for n in range(8)))
    with cached(server) as cache:
        assert cache.wait_synced(PATIENCE_S)
        assert names(cache) == {f"llm/p{n}" for n in range(8)}
        server.store.remove(PODS, "llm", "p0")
        put(server, "p8")
        eventually(lambda: names(cache) == {f"llm/p{n}" for n in range(1, 9)})
        assert server.asked("limit=3") == 3


def test_before_the_first_list_nothing_is_claimed(server: ApiServer) -> None:
    server.refuse("pods", 500, "InternalError")
    with cached(server) as cache:
        eventually(lambda: cache.error)
        assert (cache.synced, cache.quiet_s) == (False, float("inf"))
        assert cache.error == "pods: the API server refused (500): pods are refused by the test"
        assert not cache.wait_synced(0.0)
        server.refuse("pods", 500, "InternalError", times=0)
        assert cache.wait_synced(PATIENCE_S)
        eventually(lambda: not cache.error)


def test_a_broken_stream_is_taken_up_where_it_broke(server: ApiServer) -> None:
    put(server, "a")
    with cached(server) as cache:
        eventually(lambda: names(cache) == {"llm/a"})
        for n in range(5):
            server.break_watches()
            put(server, f"b{n}")
            eventually(lambda n=n: f"llm/b{n}" in names(cache))
        assert server.asked("limit=") == 1


def test_an_event_that_is_cut_in_the_middle_is_asked_for_again(server: ApiServer) -> None:
    with cached(server) as cache:
        assert cache.wait_synced(PATIENCE_S)
        eventually(lambda: server.watching)
        server.garbled = True
        put(server, "a")
        eventually(lambda: names(cache) == {"llm/a"})
        assert server.asked("limit=") == 1


def test_what_was_deleted_while_the_history_was_forgotten_does_not_come_back(server: ApiServer) -> None:
    put(server, "a", "b")
    with cached(server) as cache:
        eventually(lambda: len(names(cache)) == 2)
        with server.store.changed:
            server.store.remove(PODS, "llm", "a")
            put(server, "c")
            server.store.compact()
        eventually(lambda: names(cache) == {"llm/b", "llm/c"})
        assert server.asked("limit=") >= 2


def test_a_bookmark_spares_a_list_after_the_history_was_forgotten(server: ApiServer) -> None:
    with cached(server) as cache:
        assert cache.wait_synced(PATIENCE_S)
        eventually(lambda: server.watching)
        server.store.put(FLEETS, a_pod("elsewhere"))
        server.bookmark()
        eventually(lambda: cache._version == str(server.store.version))
        server.store.compact()
        server.end_watches()
        put(server, "a")
        eventually(lambda: names(cache) == {"llm/a"})
        assert server.asked("limit=") == 1


def test_an_ended_watch_is_opened_again_and_counts_as_heard(server: ApiServer) -> None:
    with cached(server, Pace(watch_s=1.0, retry_s=0.02)) as cache:
        assert cache.wait_synced(PATIENCE_S)
        eventually(lambda: server.asked("watch=true") >= 2)
        assert cache.quiet_s < 1.0
        assert not cache.error


def test_a_silent_server_shows_in_how_long_nothing_was_heard(server: ApiServer) -> None:
    server.silent = True
    with cached(server) as cache:
        assert cache.wait_synced(PATIENCE_S)
        put(server, "a")
        server.bookmark()
        eventually(lambda: cache.quiet_s > 0.1)
        assert (cache.synced, names(cache)) == (True, set())


def test_a_server_that_comes_back_is_found_and_what_it_told_before_stays_meanwhile(server: ApiServer) -> None:
    put(server, "a")
    with cached(server) as cache:
        eventually(lambda: names(cache) == {"llm/a"})
        server.stop()
        eventually(lambda: "does not answer" in cache.error)
        assert (cache.synced, names(cache)) == (True, {"llm/a"})
        server.store.remove(PODS, "llm", "a")
        put(server, "b")
        server.start()
        eventually(lambda: names(cache) == {"llm/b"})
        assert not cache.error


def test_a_kind_that_does_not_exist_is_absent_until_it_does(server: ApiServer) -> None:
    server.absent.add("pods")
    with cached(server) as cache:
        assert cache.wait_settled(PATIENCE_S)
        assert (cache.absent, cache.synced) == (True, False)
        put(server, "a")
        server.absent.clear()
        eventually(lambda: names(cache) == {"llm/a"})
        assert (cache.absent, cache.synced) == (False, True)
        server.absent.add("pods")
        server.end_watches()
        eventually(lambda: cache.absent)
        assert not cache.objects()


def test_a_kind_that_may_not_be_read_is_denied(server: ApiServer) -> None:
    server.refuse("pods", 403, "Forbidden")
    with cached(server) as cache:
        assert cache.wait_settled(PATIENCE_S)
        assert (cache.denied, cache.synced) == (True, False)
        server.refuse("pods", 403, "Forbidden", times=0)
        assert cache.wait_synced(PATIENCE_S)
        assert not cache.denied


def test_a_busy_server_is_asked_less_and_less_often(server: ApiServer) -> None:
    server.refuse("pods", 429, "TooManyRequests")
    with cached(server, Pace(retry_s=0.01, retry_most_s=60.0)):
        eventually(lambda: server.asked("pods") >= 3)
        before = server.asked("pods")
        time.sleep(0.1)
        assert server.asked("pods") - before <= 4


def test_one_namespace_and_a_selector_bound_what_is_kept(server: ApiServer) -> None:
    put(server, "a")
    put(server, "b", namespace="other")
    with cached(server, namespace="llm", selector="app=vllm") as cache:
        eventually(lambda: names(cache) == {"llm/a"})
        put(server, "c", namespace="other")
        put(server, "d")
        eventually(lambda: names(cache) == {"llm/a", "llm/d"})
        server.store.change(PODS, "llm", "d", lambda pod: pod["metadata"]["labels"].clear())
        eventually(lambda: names(cache) == {"llm/a"})


def test_closing_does_not_wait_for_the_next_event(server: ApiServer) -> None:
    with cached(server) as cache:
        assert cache.wait_synced(PATIENCE_S)
        eventually(lambda: server.watching)
        cache.close()
        assert not cache._thread.is_alive()
        assert not cache.error
