"""A server as a process: cold start, readiness, ends, mistakes on the command line."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from pathlib import Path
from threading import Thread

import pytest
import requests

from engine.profile_files import load_profile
from engine.serve.options import parse
from engine.sim.card import card_for
from tests.unit.engine_serve.servers import launch, start


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "engine.serve", *arguments], capture_output=True, text=True, timeout=30, check=False
    )


def test_nothing_listens_before_the_cold_start_is_over() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with launch("--port", str(port), "--cold-start", "300") as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("boot: ")
        with pytest.raises(requests.ConnectionError):
            requests.get(f"http://127.0.0.1:{port}/health", timeout=5)
        process.kill()


def test_an_address_in_use_is_said_before_the_cold_start() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        ended = run("--port", str(taken.getsockname()[1]))
    assert ended.returncode == 2
    assert "in use): choose another --port, or 0 for a free one" in ended.stderr


def test_a_server_that_never_gets_ready_stays_silent_and_still_ends_on_a_signal() -> None:
    with launch("--cold-start", "0", "--never-ready") as process:
        assert process.stdout is not None
        stages = [process.stdout.readline().split(":")[0] for _ in range(5)]
        assert stages == ["boot", "weights", "compile", "profile", "graphs"]
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0


@pytest.mark.parametrize("cold_start", ["0", "300"], ids=["serving", "starting"])
def test_the_process_ends_when_its_standard_input_closes(cold_start: str) -> None:
    with launch("--cold-start", cold_start) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.readline()
        process.stdin.close()
        assert process.wait(10) == 0


def test_sigterm_aborts_what_runs(profile: Path) -> None:
    broken: list[bool] = []

    def ask(url: str) -> None:
        body = {"prompt": "x", "max_tokens": 1000, "ignore_eos": True, "stream": True}
        try:
            with requests.post(f"{url}/v1/completions", json=body, stream=True, timeout=30) as answer:
                broken.append(b"[DONE]" not in b"".join(answer.iter_content(None)))
        except requests.RequestException:
            broken.append(True)

    with start("--profile", "l40s-8b", "--cold-start", "0") as server:
        asking = Thread(target=ask, args=(server.url,))
        asking.start()
        while not server.metric("vllm:generation_tokens_total"):
            pass
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(10) == 0
        asking.join()
    assert broken == [True]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--profile", "l41s"], "no profile named 'l41s'"),
        (["--profile", "./none.yaml"], "cannot be read"),
        (["--port", "70000"], "--port 70000 is no port"),
        (["--host", "203.0.113.1", "--port", "0"], "Cannot listen on 203.0.113.1:0"),
        (["--cold-start", "-1"], "--cold-start -1 must be between"),
        (["--prefix-hit-ratio", "2"], "--prefix-hit-ratio 2 must be between"),
        (["--max-num-seqs", "0"], "--max-num-seqs 0 must be at least 1"),
    ],
    ids=[
        "unknown profile",
        "missing file",
        "bad port",
        "foreign address",
        "negative cold start",
        "bad ratio",
        "no seat",
    ],
)
def test_a_mistake_is_one_sentence_and_exit_code_2(arguments: list[str], words: str) -> None:
    ended = run(*arguments)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert words in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


def test_help_teaches_by_example(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parse(["--help"])
    text = capsys.readouterr().out
    assert ended.value.code == 0
    assert all(words in text for words in ("examples:", "--stdin-lifeline", "curl -s", "drain before"))


@pytest.mark.parametrize(("arguments", "queues"), [((), False), (("--max-num-seqs", "2"), True)], ids=["many", "two"])
def test_a_request_that_finds_no_seat_waits_for_one(*, arguments: tuple[str, ...], queues: bool) -> None:
    with start("--cold-start", "0", *arguments) as server:
        server.post("/v1/completions", {"prompt": [[1] * 8] * 3, "max_tokens": 20, "ignore_eos": True})
        waited_s = server.metric("vllm:request_queue_time_seconds_sum")
    assert (waited_s > 0.25) is queues


def test_the_clock_of_the_engine_keeps_up_with_the_machines() -> None:
    """Sixty tokens of an L40S take over a second; the client must see the time that the engine says it took."""
    card = card_for(load_profile("l40s-8b"))
    expected_s = card.api_overhead_s + card.law.step_s(500, 500 * 250, 0, 0) + 59 * card.law.step_s(0, 0, 1, 530)
    with start("--profile", "l40s-8b", "--cold-start", "0") as server:
        body = {"prompt": [1] * 500, "max_tokens": 60, "ignore_eos": True}
        seen_s = server.post("/v1/completions", body).elapsed.total_seconds()
        said_s = server.metric("vllm:e2e_request_latency_seconds_sum")
    assert said_s == pytest.approx(expected_s, rel=0.05)
    assert 0 <= seen_s - said_s < 1.0
