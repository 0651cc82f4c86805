"""The HTTP server: health that means something, an API that says what the board knows, and nothing else."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from controller.clock import SystemClock
from controller.errors import UsageError
from controller.model.codec import to_plain
from controller.record.board import StatusBoard
from controller.record.facts import DaemonFacts
from controller.record.server import StatusServer
from tests.unit.record.cycles import T0, a_condition, a_cycle, a_decision, a_fleet
from tests.unit.record.test_board import HandClock

FLEET = "/api/v1/fleets/llm/llama-8b"


class Daemon:
    """A board, a clock and what the daemon says of itself, behind a real server."""

    def __init__(self, client_stats: Path) -> None:
        self.clock = HandClock()
        self.board = StatusBoard(self.clock)
        self.facts = DaemonFacts("0.1.0")
        self.server = StatusServer(self.board, lambda: self.facts, client_stats=client_stats)
        self.server.start()

    def get(self, path: str) -> requests.Response:
        return requests.get(self.server.url + path, timeout=5)


@pytest.fixture
def client_stats(tmp_path: Path) -> Path:
    return tmp_path / "client.jsonl"


@pytest.fixture
def daemon(client_stats: Path) -> Iterator[Daemon]:
    daemon = Daemon(client_stats)
    yield daemon
    daemon.server.stop()


def test_alive_from_the_start_but_ready_only_after_the_first_cycle(daemon: Daemon) -> None:
    assert daemon.get("/healthz").status_code == 200
    assert daemon.get("/readyz").status_code == 503
    assert "first cycle" in daemon.get("/readyz").text
    daemon.board.publish([a_cycle()], [], 0.2)
    assert daemon.get("/readyz").status_code == 200


def test_a_daemon_that_never_ends_a_cycle_is_not_alive(daemon: Daemon) -> None:
    daemon.clock.seconds = 61
    assert daemon.get("/healthz").status_code == 503


def test_a_daemon_that_stopped_ticking_is_not_alive(daemon: Daemon) -> None:
    daemon.board.publish([a_cycle()], [], 0.2)
    daemon.clock.seconds = 31
    assert (daemon.get("/healthz").status_code, daemon.get("/healthz").text) == (503, "the last cycle ended 31 s ago\n")


@pytest.mark.parametrize("store", ["journal_error", "memory_error"])
def test_a_disk_that_refuses_makes_the_daemon_unready_but_not_dead(daemon: Daemon, store: str) -> None:
    daemon.board.publish([a_cycle()], [], 0.2)
    daemon.facts = DaemonFacts("0.1.0", **{store: "the disk is full"})
    assert (daemon.get("/readyz").status_code, daemon.get("/healthz").status_code) == (503, 200)
    assert "the disk is full" in daemon.get("/readyz").text
    assert daemon.get("/api/v1/fleets").json()["errors"] == ["the disk is full"]


def test_the_overview_has_a_row_for_each_fleet(daemon: Daemon) -> None:
    decision = a_decision(a_fleet(), conditions=[a_condition(), a_condition("Ready", "False")])
    daemon.board.publish([a_cycle(decision=decision), a_cycle(a_fleet("other"))], [], 0.25)
    overview = daemon.get("/api/v1/fleets").json()
    assert (overview["version"], overview["dry_run"], overview["tick_s"]) == ("0.1.0", False, 0.25)
    assert [row["fleet"] for row in overview["fleets"]] == ["llm/llama-8b", "llm/other"]
    row = overview["fleets"][0]
    assert row["figures"]["ready"] == 3
    assert row["objectives"]["tpot"] == {"threshold_s": 0.05, "target_ratio": 0.95}
    assert [condition["type"] for condition in row["amiss"]] == ["Ready"]


def test_a_fleet_is_told_with_its_decision_snapshot_and_specification(daemon: Daemon) -> None:
    record = a_cycle(before=3, after=5)
    daemon.board.publish([record], [], 0.2)
    detail = daemon.get(FLEET).json()
    assert detail["decision"] == to_plain(record.plan.decision)
    assert detail["snapshot"] == to_plain(record.snapshot)
    assert detail["spec"]["objectives"]["tpot"]["threshold"] == "50ms"
    assert detail["writes"][0]["replicas"] == 5


def test_decisions_and_history_are_bounded_by_what_is_asked(daemon: Daemon) -> None:
    for n in range(6):
        daemon.board.publish([a_cycle(at=T0 + 5 * n, before=3 + n)], [], 0.2)
    runs = daemon.get(f"{FLEET}/decisions?limit=2").json()["decisions"]
    assert [run["decision"]["at"] for run in runs] == [T0 + 25, T0 + 20]
    points = daemon.get(f"{FLEET}/history?since={T0 + 10}").json()["points"]
    assert [point["at"] for point in points] == [T0 + 15, T0 + 20, T0 + 25]


@pytest.mark.parametrize(
    ("path", "status", "complaint"),
    [
        ("/api/v1/fleets/no/such", 404, "no fleet no/such"),
        (f"{FLEET}/secrets", 404, "nothing at"),
        ("/api/v2/fleets", 404, "nothing at"),
        ("/nothing.html", 404, "nothing at"),
        ("/server.py", 404, "nothing at"),
        ("/..%2Fserver.py", 404, "nothing at"),
        ("/..%2F..%2Fpage%2Findex.html", 404, "nothing at"),
        (f"{FLEET}/decisions?limit=many", 400, "limit must be a number"),
        (f"{FLEET}/decisions?limit=0", 400, "limit must be a number"),
        (f"{FLEET}/history?since=nan", 400, "since must be a number"),
    ],
)
def test_what_is_not_there_is_said_in_one_sentence(daemon: Daemon, path: str, status: int, complaint: str) -> None:
    daemon.board.publish([a_cycle()], [], 0.2)
    answer = daemon.get(path)
    assert answer.status_code == status
    assert complaint in answer.json()["error"]


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_nothing_can_be_written(daemon: Daemon, method: str) -> None:
    answer = requests.request(method, daemon.server.url + "/api/v1/fleets", timeout=5)
    assert (answer.status_code, answer.headers["Allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize("path", ["/", "/metrics", "/healthz", "/api/v1/fleets", "/page.js", "/no"])
def test_every_answer_forbids_framing_sniffing_caching_and_inline_script(daemon: Daemon, path: str) -> None:
    headers = daemon.get(path).headers
    assert "script-src 'self'" in headers["Content-Security-Policy"]
    assert "unsafe" not in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Cache-Control"] == "no-store"


def test_head_answers_without_a_body(daemon: Daemon) -> None:
    answer = requests.head(daemon.server.url + "/", timeout=5)
    assert (answer.status_code, answer.content) == (200, b"")
    assert int(answer.headers["Content-Length"]) > 100


def test_metrics_are_in_the_text_format_of_prometheus(daemon: Daemon) -> None:
    daemon.board.publish([a_cycle()], [], 0.2)
    answer = daemon.get("/metrics")
    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    assert 'governor_replicas_ready{fleet="llm/llama-8b",variant="v1"} 3.0' in answer.text


@pytest.mark.parametrize(
    ("content", "client"),
    [
        pytest.param(None, None, id="no file yet"),
        pytest.param("", None, id="an empty file"),
        pytest.param('{"rps": 1}\n{"rps": 2}\n', {"rps": 2}, id="the last line"),
        pytest.param('{"rps": 1}\n{"rps"', {"rps": 1}, id="the last whole line"),
        pytest.param('{"rps": 1}\nnonsense\n7\n', {"rps": 1}, id="the last that is an object"),
    ],
)
def test_client_side_figures_are_the_last_line_of_their_file(
    daemon: Daemon, client_stats: Path, content: str | None, client: object
) -> None:
    if content is not None:
        client_stats.write_text(content)
    assert daemon.get("/api/v1/client").json() == {"client": client}


def test_what_is_wrong_with_fleets_is_told_and_makes_nobody_unready(daemon: Daemon) -> None:
    daemon.board.publish([a_cycle()], [], 0.2)
    daemon.facts = DaemonFacts("0.1.0", journal_error="full", fleet_errors=("f.yaml:3: is no YAML",))
    assert daemon.get("/api/v1/fleets").json()["errors"] == ["full", "f.yaml:3: is no YAML"]
    daemon.facts = DaemonFacts("0.1.0", fleet_errors=("f.yaml:3: is no YAML",))
    assert daemon.get("/readyz").status_code == 200


def test_a_port_in_use_is_refused_with_the_remedy(daemon: Daemon) -> None:
    port = int(daemon.server.url.rsplit(":", 1)[1])
    with pytest.raises(UsageError, match=f"port {port} on 127.0.0.1 is in use: stop what listens there, or choose"):
        StatusServer(daemon.board, lambda: daemon.facts, port=port)


def test_an_address_of_another_machine_is_refused_in_one_sentence(daemon: Daemon) -> None:
    with pytest.raises(UsageError, match=r"cannot listen on 192\.0\.2\.1:0"):
        StatusServer(daemon.board, lambda: daemon.facts, host="192.0.2.1")


def test_it_listens_on_loopback_alone_and_frees_its_port(tmp_path: Path) -> None:
    server = StatusServer(StatusBoard(SystemClock()), lambda: DaemonFacts("0.1.0"))
    host, port = server.url.removeprefix("http://").split(":")
    server.start()
    server.stop()
    assert host == "127.0.0.1"
    with socket.socket() as probe:
        assert probe.connect_ex((host, int(port))) != 0


def test_a_client_that_says_nothing_does_not_keep_others_from_being_served(daemon: Daemon) -> None:
    host, port = daemon.server.url.removeprefix("http://").split(":")
    silent = [socket.create_connection((host, int(port))) for _ in range(8)]
    try:
        assert daemon.get("/healthz").status_code == 200
    finally:
        for connection in silent:
            connection.close()


def test_a_value_that_json_cannot_hold_is_null(daemon: Daemon) -> None:
    daemon.board.publish([a_cycle(decision=a_decision(a_fleet(), estimates={"arrival_rps": float("nan")}))], [], 0.2)
    assert json.loads(daemon.get(FLEET).text)["figures"]["arrival_rps"] is None
