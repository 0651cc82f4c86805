"""Small parts: a replica's load from its page, files replaced whole, the log of events, ports."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from controller.errors import UsageError
from engine.local.eventlog import EventLog
from engine.local.files import replace_json, replace_text
from engine.local.ports import chosen_port, free_port, is_free
from engine.local.pressure import load_of
from engine.local.process import last_words

RUNNING, WAITING = "vllm:num_requests_running", "vllm:num_requests_waiting"


@pytest.mark.parametrize(
    ("page", "load"),
    [
        pytest.param(f'{RUNNING}{{engine="0"}} 3.0\n{WAITING}{{engine="0"}} 2.0\n', 5.0, id="one engine"),
        pytest.param(f"{RUNNING} 3\n{WAITING} 2\n", 5.0, id="no labels"),
        pytest.param(
            f'{RUNNING}{{engine="0"}} 1\n{RUNNING}{{engine="1"}} 4\n{WAITING}{{engine="0"}} 0\n', 5.0, id="two engines"
        ),
        pytest.param(f'{RUNNING}{{model="a}} b"}} 1 1795448237\n{WAITING}{{}} 0\n', 1.0, id="braces and a timestamp"),
        pytest.param(
            f'{WAITING}_by_reason{{reason="capacity"}} 9\n{RUNNING}{{}} 0\n{WAITING}{{}} 0\n', 0.0, id="like names"
        ),
        pytest.param(f"# TYPE {RUNNING} gauge\n{RUNNING}{{}} 3\n", None, id="waiting missing"),
        pytest.param(f"{RUNNING}{{}} NaN\n{WAITING}{{}} 0\n", None, id="not a number"),
        pytest.param(f"{RUNNING}{{}} -1\n{WAITING}{{}} 0\n", None, id="negative"),
        pytest.param(f"{RUNNING}{{}}\n{WAITING}{{}} 0\n", None, id="cut"),
        pytest.param("", None, id="empty"),
    ],
)
def test_load_is_running_plus_waiting_and_unknown_when_either_is(page: str, load: float | None) -> None:
    assert load_of(page) == load


def test_load_is_read_from_vllms_own_page() -> None:
    page = (Path(__file__).parents[2] / "fixtures/vllm/load.prom").read_text()

    assert load_of(page) is not None


def test_a_file_is_replaced_only_when_it_changes(tmp_path: Path) -> None:
    file = tmp_path / "watched"

    assert replace_text(file, "one")
    before = file.stat().st_ino
    assert not replace_text(file, "one")
    assert file.stat().st_ino == before
    assert replace_json(file, {"two": 2})
    assert json.loads(file.read_text()) == {"two": 2}
    assert file.stat().st_ino != before
    assert list(tmp_path.iterdir()) == [file]


def test_events_are_lines_of_json_with_their_time(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "events.jsonl")

    log.write("started", replica="tiny-1")
    log.write("ended", code=0)

    first, second = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    assert (first["event"], first["replica"], second["code"]) == ("started", "tiny-1", 0)
    assert first["at"] <= second["at"]


def test_a_disk_that_refuses_events_is_said_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = EventLog(tmp_path / "missing" / "events.jsonl")

    log.write("one")
    log.write("two")

    assert capsys.readouterr().err.count("cannot be written") == 1


def test_free_ports_are_free_distinct_and_below_those_of_outgoing_connections() -> None:
    ports = [free_port() for _ in range(20)]

    assert len(set(ports)) == 20
    assert all(20_000 <= port < 49_152 for port in ports)


def test_a_wanted_port_is_taken_when_free_and_refused_when_not() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        taken = server.getsockname()[1]
        assert not is_free(taken)
        with pytest.raises(UsageError, match=f"port {taken} for the proxy is in use"):
            chosen_port(taken, "the proxy")
    assert chosen_port(0, "the proxy")


def test_last_words_are_the_last_lines_that_say_something(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("one\n\ntwo\n  three  \n\n")

    assert last_words(log, 2) == "two | three"
    assert last_words(tmp_path / "none") == ""
