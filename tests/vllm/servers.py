"""Servers with vLLM's API as processes, and the requests that make every series of their pages appear."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import requests

from engine.local.launch import Command, Launch
from engine.local.ports import free_port
from engine.local.process import Process

MODEL = "tiny"
PROFILE = "tiny-cpu"
START_DEADLINE_S = 110
TIMEOUT_S = 30


@dataclass(frozen=True, slots=True)
class Server:
    """A running server with vLLM's API."""

    address: str
    process: Process

    def post(self, path: str, body: dict[str, object]) -> requests.Response:
        """One request and its whole answer, streamed or not."""
        return requests.post(self.address + path, json=body, timeout=TIMEOUT_S)

    def page(self) -> str:
        """Its metrics page."""
        answer = requests.get(f"{self.address}/metrics", timeout=TIMEOUT_S)
        answer.raise_for_status()
        return answer.text

    def settled_page(self) -> str:
        """Its metrics page once the gauges, which are written with a delay, say that nothing runs."""
        deadline = time.monotonic() + TIMEOUT_S
        while time.monotonic() < deadline:
            page = self.page()
            if 'vllm:num_requests_running{engine="0",model_name="tiny"} 0.0' in page:
                return page
            time.sleep(0.2)
        raise AssertionError(f"requests still run after {TIMEOUT_S} s:\n{page}")


@contextmanager
def served(command_for: Callable[[Launch], Command], log: Path) -> Iterator[Server]:
    """The server of a launcher, ready; ended with all its processes."""
    launch = Launch(log.stem, free_port(), "default/tiny", "v1", MODEL, initial=True)
    command = command_for(launch)
    process = Process(launch.name, command.argv, log, {**os.environ, **command.env})
    server = Server(f"http://127.0.0.1:{launch.port}", process)
    try:
        wait_until_healthy(server)
        yield server
    finally:
        process.end(grace_s=15)


def wait_until_healthy(server: Server) -> None:
    """Until /health answers 200. Raises AssertionError with the end of the log when it ends or never does."""
    deadline = time.monotonic() + START_DEADLINE_S
    while time.monotonic() < deadline:
        code = server.process.exit_code()
        assert code is None, f"the server ended with {code}: {server.process.last_words(10)}"
        try:
            if requests.get(f"{server.address}/health", timeout=2).status_code == 200:
                return
        except requests.ConnectionError:
            time.sleep(0.5)
    raise AssertionError(f"no server after {START_DEADLINE_S} s: {server.process.last_words(10)}")


def ask_everything(server: Server) -> None:
    """One of each kind of request, good and bad, so that series which appear with their first event are there."""
    prompt = {"model": MODEL, "prompt": "a b c d e f", "max_tokens": 8, "temperature": 0, "ignore_eos": True}
    chat = {"model": MODEL, "messages": [{"role": "user", "content": "hello"}], "max_tokens": 8, "ignore_eos": True}
    good = [
        server.post("/v1/completions", prompt),
        server.post("/v1/completions", {**prompt, "stream": True, "stream_options": {"include_usage": True}}),
        server.post("/v1/completions", {**prompt, "n": 2, "temperature": 1}),
        server.post("/v1/chat/completions", chat),
        server.post("/v1/chat/completions", {**chat, "stream": True}),
        requests.get(f"{server.address}/v1/models", timeout=TIMEOUT_S),
    ]
    assert [answer.status_code for answer in good] == [200] * len(good)
    bad = [
        server.post("/v1/completions", {**prompt, "model": "another"}),
        server.post("/v1/completions", {**prompt, "max_tokens": 100_000}),
        server.post("/v1/chat/completions", {**chat, "temperature": -1}),
        server.post("/v1/nowhere", {}),
        requests.get(f"{server.address}/v1/completions", timeout=TIMEOUT_S),
    ]
    assert [answer.status_code for answer in bad] == [404, 400, 400, 404, 405]
