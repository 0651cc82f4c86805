"""The supervisor with real processes: drains, crashes, its own end."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests

from controller.model.decision import OutcomeStatus, ScaleWrite
from controller.model.snapshot import ReplicaPhase
from engine.local.config import FleetConfig, LauncherConfig, SupervisorConfig, Times
from tests.contract.local.rigs import (
    QUICK,
    LocalRig,
    alive,
    names,
    replica_pid,
    supervisor,
    target_of,
    tiny_config,
    tiny_fleet,
    until,
)

Shared = tuple[str, Path, Iterator[str]]


def one_fleet(replicas: int, *arguments: str, drain_budget: str = "10s", times: Times = QUICK) -> SupervisorConfig:
    fleet = FleetConfig.of(tiny_fleet(drain_budget=drain_budget), replicas={"v1": replicas})
    return tiny_config(fleet, arguments=arguments, times=times)


def scale(rig: LocalRig, replicas: int, *victims: str) -> None:
    target = target_of(rig)
    write = ScaleWrite(rig.fleet.key, "v1", target.desired, replicas, target.resource_version, victims)
    assert rig.writer.scale(write).status is OutcomeStatus.APPLIED


def begin_stream(url: str, tokens: int, pause_s: float) -> tuple[threading.Thread, list[str]]:
    """Read a stream in the background; the lines that came."""
    lines: list[str] = []
    answer = requests.get(f"{url}/stream?tokens={tokens}&pause={pause_s}", stream=True, timeout=10)

    def read() -> None:
        with answer:
            lines.extend(line.decode() for line in answer.iter_lines())

    thread = threading.Thread(target=read)
    thread.start()
    return thread, lines


def events(run_dir: Path, kind: str) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in (run_dir / "events.jsonl").read_text().splitlines()]
    return [event for event in found if event["event"] == kind]


def test_a_replica_with_running_requests_leaves_only_after_the_last_of_them(tmp_path: Path) -> None:
    with supervisor(one_fleet(1), tmp_path) as (url, _):
        rig = LocalRig(tiny_fleet(), url, tmp_path)
        until(lambda: target_of(rig).ready == 1)
        stream, lines = begin_stream(f"http://{target_of(rig).replicas[0].address}", tokens=40, pause_s=0.05)

        scale(rig, 0)

        assert [replica.phase for replica in target_of(rig).replicas] == [ReplicaPhase.DRAINING]
        until(lambda: not target_of(rig).replicas)
        stream.join()
        assert len(lines) == 40
        assert not events(tmp_path, "drain_budget_spent")


def test_a_replica_that_does_not_get_rid_of_its_requests_is_ended_when_the_drain_budget_is_spent(
    tmp_path: Path,
) -> None:
    with supervisor(one_fleet(1, drain_budget="500ms"), tmp_path) as (url, _):
        rig = LocalRig(tiny_fleet(), url, tmp_path)
        until(lambda: target_of(rig).ready == 1)
        rig.busy(target_of(rig).replicas[0].name)

        scale(rig, 0)

        until(lambda: not target_of(rig).replicas)
        rig.close()
        assert events(tmp_path, "drain_budget_spent")


def test_a_replica_that_dies_before_it_is_ready_is_retried_and_says_why(tmp_path: Path) -> None:
    with supervisor(one_fleet(1, "--die-after", "0"), tmp_path) as (url, _):
        rig = LocalRig(tiny_fleet(), url, tmp_path)
        until(lambda: len(events(tmp_path, "started")) >= 3)

        until(lambda: bool(names(rig, ReplicaPhase.FAILED)))
        replica = target_of(rig).replicas[0]

    assert "no GPU in this machine" in replica.detail
    assert "failed start" in replica.detail
    assert replica.ready_at is None
    assert {event["replica"] for event in events(tmp_path, "started")} == {replica.name}


def test_a_command_that_does_not_exist_is_a_failed_replica_not_a_failed_supervisor(tmp_path: Path) -> None:
    fleet = FleetConfig.of(tiny_fleet(), replicas={"v1": 1})
    launcher = LauncherConfig(factory="engine.local.launch:CommandLauncher", options={"argv": ["no-such-engine"]})
    with supervisor(SupervisorConfig(fleets=(fleet,), launcher=launcher, times=QUICK), tmp_path) as (url, _):
        rig = LocalRig(tiny_fleet(), url, tmp_path)

        until(lambda: any("cannot start no-such-engine" in replica.detail for replica in target_of(rig).replicas))


def test_a_ready_replica_whose_health_turns_bad_is_replaced(tmp_path: Path) -> None:
    with supervisor(one_fleet(1), tmp_path) as (url, _):
        rig = LocalRig(tiny_fleet(), url, tmp_path)
        until(lambda: target_of(rig).ready == 1)
        ill = target_of(rig).replicas[0]

        requests.get(f"http://{ill.address}/health?set=500", timeout=5)

        until(lambda: target_of(rig).ready == 1 and ill.name not in names(rig, *ReplicaPhase))


def command_of(run_dir: Path, name: str) -> int:
    """Process id of the replica itself, behind its tether."""
    (command,) = psutil.Process(replica_pid(run_dir, name)).children()
    return command.pid


def test_a_ready_replica_that_answers_nothing_for_long_is_replaced_and_the_reason_is_told(tmp_path: Path) -> None:
    times = QUICK.model_copy(update={"request_timeout_s": 0.2, "silence_s": 1.0, "grace_s": 0.3})
    with supervisor(one_fleet(1, times=times), tmp_path) as (url, _):
        rig = LocalRig(tiny_fleet(), url, tmp_path)
        until(lambda: target_of(rig).ready == 1)
        hung = target_of(rig).replicas[0].name
        pid = command_of(tmp_path, hung)

        os.kill(pid, signal.SIGSTOP)

        until(lambda: target_of(rig).ready == 1 and hung not in names(rig, *ReplicaPhase))
        assert not alive(pid)

    (failed,) = [event for event in events(tmp_path, "phase") if event["phase"] == "Failed"]
    assert (failed["replica"], failed["detail"]) == (hung, "it runs, but has not answered for 1 s")


def test_a_replica_that_answers_again_in_time_stays(tmp_path: Path) -> None:
    times = QUICK.model_copy(update={"request_timeout_s": 0.2})
    with supervisor(one_fleet(1, times=times), tmp_path) as (url, _):
        rig = LocalRig(tiny_fleet(), url, tmp_path)
        until(lambda: target_of(rig).replicas[:1] != () and target_of(rig).replicas[0].load == 0)
        slow = target_of(rig).replicas[0].name
        pid = command_of(tmp_path, slow)

        os.kill(pid, signal.SIGSTOP)
        until(lambda: target_of(rig).replicas[0].load is None)
        os.kill(pid, signal.SIGCONT)

        until(lambda: target_of(rig).replicas[0].load == 0)
        assert target_of(rig).replicas[0].name == slow
        assert not [event for event in events(tmp_path, "phase") if event["phase"] == "Failed"]


def test_the_timeline_tells_counts_and_orders(tmp_path: Path) -> None:
    with supervisor(one_fleet(1), tmp_path) as (url, _):
        rig = LocalRig(tiny_fleet(), url, tmp_path)
        until(lambda: target_of(rig).ready == 1)
        scale(rig, 2)
        until(lambda: target_of(rig).ready == 2)

    lines = [json.loads(line) for line in (tmp_path / "replicas.jsonl").read_text().splitlines()]
    ordered = [(line["before"], line["after"]) for line in lines if line["event"] == "scaled"]
    ready = [line["ready"] for line in lines if line["event"] == "counts" and line["variant"] == "v1"]
    assert ordered == [(1, 2)]
    assert ready[0] == 0
    assert 1 in ready
    assert ready[-1] == 2


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["asked", "kill -9"])
def test_the_end_of_the_supervisor_ends_its_replicas(tmp_path: Path, number: signal.Signals) -> None:
    with supervisor(one_fleet(2), tmp_path) as (url, process):
        rig = LocalRig(tiny_fleet(), url, tmp_path)
        until(lambda: target_of(rig).ready == 2)
        tethers = [replica_pid(tmp_path, name) for name in names(rig, ReplicaPhase.READY)]
        replicas = [child.pid for tether in tethers for child in psutil.Process(tether).children()]
        (own,) = psutil.Process(process.pid).children()

        os.kill(own.pid, number)

        until(lambda: process.exit_code() is not None)
        assert len(replicas) == 2
        until(lambda: not any(alive(pid) for pid in tethers + replicas))


@pytest.mark.parametrize("victim", ["tether", "command"])
def test_kill_9_of_either_half_of_a_tethered_process_ends_the_other(tmp_path: Path, victim: str) -> None:
    with supervisor(one_fleet(1), tmp_path) as (url, _):
        rig = LocalRig(tiny_fleet(), url, tmp_path)
        until(lambda: target_of(rig).ready == 1)
        tether = replica_pid(tmp_path, target_of(rig).replicas[0].name)
        (command,) = psutil.Process(tether).children()

        os.kill(tether if victim == "tether" else command.pid, signal.SIGKILL)

        until(lambda: not alive(tether) and not alive(command.pid))
        until(lambda: target_of(rig).ready == 1)


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "said"),
    [
        pytest.param("PUT", "targets/{fleet}/v1/scale", "{", 400, "JSON", id="no JSON"),
        pytest.param("PUT", "targets/{fleet}/v1/scale", '{"replicas": 2}', 400, "resourceVersion", id="no version"),
        pytest.param(
            "PUT",
            "targets/{fleet}/v1/scale",
            '{"replicas": 1.5, "resourceVersion": "1"}',
            400,
            "replicas",
            id="half a replica",
        ),
        pytest.param(
            "PUT",
            "targets/{fleet}/v1/scale",
            '{"replicas": 1000000, "resourceVersion": "1"}',
            422,
            "from 0 to 100",
            id="a million replicas",
        ),
        pytest.param(
            "PUT",
            "targets/{fleet}/v9/scale",
            '{"replicas": 1, "resourceVersion": "1"}',
            404,
            "v1, v2",
            id="unknown variant",
        ),
        pytest.param("GET", "weights/llm/none", "", 404, "llm/fleet-1", id="unknown fleet"),
    ],
)
def test_nonsense_is_refused_with_a_sentence(
    shared_supervisor: Shared, method: str, path: str, body: str, status: int, said: str
) -> None:
    url, _, unused = shared_supervisor

    answer = requests.request(method, f"{url}/v1/{path.format(fleet=f'llm/{next(unused)}')}", data=body, timeout=5)

    assert answer.status_code == status
    assert said in answer.json()["error"]


def test_a_port_in_use_is_one_sentence_with_the_remedy(tmp_path: Path) -> None:
    with (
        supervisor(one_fleet(0), tmp_path / "first") as (url, _),
        pytest.raises(AssertionError, match="the supervisor's API is in use"),
        supervisor(one_fleet(0), tmp_path / "second", "--port", url.rpartition(":")[2]),
    ):
        raise RuntimeError("both listen")
