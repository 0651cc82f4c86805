"""Envoy, configured by the supervisor's files: streams survive every change, weights hold, zero is counted."""

from __future__ import annotations

import itertools
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from engine.local.config import FleetConfig
from engine.local.envoy import EnvoyFiles, cluster_name, envoy_command
from engine.local.ports import free_port
from engine.local.process import Process
from engine.local.state import FleetState
from tests.contract.local.rigs import TINY_REPLICA, tiny_fleet, until

DOTTED = "tiny-3.1"


class Endpoints(FleetState):
    """A fleet whose endpoints are set by hand."""

    def __init__(self, config: FleetConfig, addresses: dict[str, tuple[str, ...]]) -> None:
        super().__init__(config)
        self.addresses = addresses

    def endpoints(self, subset: str) -> tuple[str, ...]:
        return self.addresses.get(subset, ())


class Proxy:
    """A running Envoy, and the hand on its files."""

    def __init__(self, files: EnvoyFiles, config: FleetConfig, url: str, admin: str) -> None:
        self.url, self.admin = url, admin
        self._files, self._config = files, config

    def set(self, weights: dict[str, int], **addresses: str) -> None:
        """Weights by subset; addresses of each subset, separated by spaces."""
        state = Endpoints(self._config, {subset: tuple(text.split()) for subset, text in addresses.items()})
        state.weights = weights
        self._files.publish([state])

    def ask(self, count: int = 1) -> Counter[str]:
        """Who answers so many requests: process id, or status where it is no 200."""
        with requests.Session() as session:
            answers = [session.get(self.url, timeout=5) for _ in range(count)]
        return Counter(answer.text if answer.ok else str(answer.status_code) for answer in answers)

    def statistic(self, name: str, subset: str) -> float:
        """A number from Envoy's page for Prometheus."""
        page = requests.get(f"{self.admin}/stats/prometheus", timeout=5).text
        line = f'envoy_cluster_{name}{{envoy_cluster_name="{cluster_name(self._config, subset)}"}}'
        return next(float(text.removeprefix(line)) for text in page.splitlines() if text.startswith(line))


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    folder = tmp_path_factory.mktemp("envoy")
    config = FleetConfig.of(tiny_fleet(DOTTED))
    port, admin = free_port(), free_port()
    files = EnvoyFiles(folder)
    files.prepare([config], port, admin)
    process = Process("envoy", envoy_command(folder), folder / "envoy.log")
    try:
        running = Proxy(files, config, f"http://127.0.0.1:{port}", f"http://127.0.0.1:{admin}")
        until(lambda: process.exit_code() is not None or answers(f"{running.admin}/ready"))
        assert process.exit_code() is None, process.last_words()
        yield running
    finally:
        process.end(3.0)


@contextmanager
def backend(folder: Path) -> Iterator[tuple[str, str]]:
    """A tiny replica: its address and what it answers with."""
    port = free_port()
    process = Process("backend", ["python3", "-S", str(TINY_REPLICA), "--port", str(port)], folder / f"{port}.log")
    try:
        until(lambda: answers(f"http://127.0.0.1:{port}/health"))
        yield f"127.0.0.1:{port}", requests.get(f"http://127.0.0.1:{port}/", timeout=5).text
    finally:
        process.end(1.0)


def answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=1).ok
    except requests.RequestException:
        return False


def test_without_a_replica_a_request_gets_503_at_once_and_the_counter_of_refused_requests_rises(proxy: Proxy) -> None:
    proxy.set({"v1": 100, "v2": 0}, v1="", v2="")
    until(lambda: proxy.statistic("membership_healthy", "v1") == 0)
    before = proxy.statistic("upstream_cx_none_healthy", "v1")

    assert proxy.ask(3) == {"503": 3}
    assert proxy.statistic("upstream_cx_none_healthy", "v1") == before + 3


def test_requests_are_split_over_versions_by_weight(proxy: Proxy, tmp_path: Path) -> None:
    with backend(tmp_path) as (stable, stable_pid), backend(tmp_path) as (canary, canary_pid):
        proxy.set({"v1": 70, "v2": 30}, v1=stable, v2=canary)
        until(lambda: set(proxy.ask(10)) == {stable_pid, canary_pid})

        share = proxy.ask(400)[canary_pid] / 400

        assert 0.2 < share < 0.4
        proxy.set({"v1": 100, "v2": 0}, v1=stable, v2=canary)
        until(lambda: set(proxy.ask(10)) == {stable_pid})


def test_of_several_replicas_the_one_with_the_fewest_requests_is_taken_every_time(proxy: Proxy, tmp_path: Path) -> None:
    with backend(tmp_path) as (one, one_pid), backend(tmp_path) as (other, other_pid):
        proxy.set({"v1": 100, "v2": 0}, v1=one)
        until(lambda: proxy.ask() == {one_pid: 1})
        with requests.get(f"{proxy.url}/stream?tokens=100&pause=0.05", stream=True, timeout=5):
            proxy.set({"v1": 100, "v2": 0}, v1=f"{one} {other}")
            until(lambda: other_pid in proxy.ask(5))

            assert proxy.ask(20) == {other_pid: 20}


def test_streams_survive_changes_of_weights_and_the_removal_of_their_own_replica(proxy: Proxy, tmp_path: Path) -> None:
    with backend(tmp_path) as (old, old_pid), backend(tmp_path) as (new, new_pid):
        proxy.set({"v1": 100, "v2": 0}, v1=old)
        until(lambda: proxy.ask() == {old_pid: 1})
        lines: list[str] = []
        with requests.get(f"{proxy.url}/stream?tokens=60&pause=0.03", stream=True, timeout=5) as answer:
            reader = threading.Thread(target=lambda: lines.extend(line.decode() for line in answer.iter_lines()))
            reader.start()
            for number, weight in enumerate(itertools.islice(itertools.cycle([100, 0, 50]), 12)):
                proxy.set({"v1": weight, "v2": 100 - weight}, v1=old if number % 2 else f"{old} {new}", v2=new)
                proxy.ask()
            proxy.set({"v1": 0, "v2": 100}, v1="", v2=new)
            until(lambda: proxy.statistic("membership_healthy", "v1") == 0)
            assert proxy.ask(5) == {new_pid: 5}
            reader.join()

    assert lines == [str(number) for number in range(60)]


def test_no_request_fails_while_endpoints_and_weights_change(proxy: Proxy, tmp_path: Path) -> None:
    with backend(tmp_path) as (one, one_pid), backend(tmp_path) as (other, _):
        proxy.set({"v1": 100, "v2": 0}, v1=one)
        until(lambda: proxy.ask() == {one_pid: 1})
        done = threading.Event()
        seen: Counter[str] = Counter()

        def knock() -> None:
            while not done.is_set():
                seen.update(proxy.ask(5))

        knocker = threading.Thread(target=knock)
        knocker.start()
        for number in range(40):
            weight = (0, 50, 100)[number % 3]
            proxy.set({"v1": weight, "v2": 100 - weight}, v1=one if number % 2 else f"{one} {other}", v2=other)
            done.wait(0.02)
        done.set()
        knocker.join()

    assert sum(seen.values()) > 20
    assert not [answer for answer in seen if answer in {"502", "503", "504"}]


def test_a_replica_that_just_died_costs_no_request_although_it_is_the_least_loaded(
    proxy: Proxy, tmp_path: Path
) -> None:
    with backend(tmp_path) as (living, living_pid):
        proxy.set({"v1": 100, "v2": 0}, v1=living)
        until(lambda: proxy.ask() == {living_pid: 1})
        with requests.get(f"{proxy.url}/stream?tokens=100&pause=0.05", stream=True, timeout=5):
            proxy.set({"v1": 100, "v2": 0}, v1=f"{living} 127.0.0.1:{free_port()}")
            until(lambda: proxy.statistic("membership_total", "v1") == 2)
            removal = threading.Timer(0.3, lambda: proxy.set({"v1": 100, "v2": 0}, v1=living))
            removal.start()

            assert proxy.ask(20) == {living_pid: 20}
            removal.join()
