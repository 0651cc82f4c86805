"""The load generator against real servers on real sockets: open loop, honest clocks, everything counted once."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from engine.load.arrivals import Arrival
from engine.load.client import Target
from engine.load.generator import Generator, LoadSettings
from engine.load.live import Stats
from engine.load.records import RequestRecord, RunEnd, RunStart, Status, read_results, to_line
from engine.serve.token_text import text_tokens

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def event(finish_reason: str | None = None) -> bytes:
    return b"data: " + json.dumps({"choices": [{"text": " x", "finish_reason": finish_reason}]}).encode() + b"\n\n"


async def opened(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    return response


async def whole(request: web.Request) -> web.StreamResponse:
    """As vLLM: a token an event, then usage, then [DONE]."""
    tokens = (await request.json())["max_tokens"]
    response = await opened(request)
    for number in range(tokens):
        await response.write(event("length" if number == tokens - 1 else None))
        await asyncio.sleep(0.002)
    await response.write(
        b"data: " + json.dumps({"choices": [], "usage": {"completion_tokens": tokens}}).encode() + b"\n\n"
    )
    await response.write(b"data: [DONE]\n\n")
    return response


async def silent(request: web.Request) -> web.StreamResponse:
    await asyncio.sleep(60)
    return web.Response()


async def cut(request: web.Request) -> web.StreamResponse:
    """Ends politely after two tokens, without a finish."""
    response = await opened(request)
    await response.write(event() + event())
    return response


async def broken(request: web.Request) -> web.StreamResponse:
    """The connection breaks after a token."""
    response = await opened(request)
    await response.write(event())
    await asyncio.sleep(0.02)
    assert request.transport is not None
    request.transport.abort()
    return response


async def refusing(request: web.Request) -> web.StreamResponse:
    return web.json_response({"error": {"message": "no healthy upstream"}}, status=503)


async def plain(request: web.Request) -> web.StreamResponse:
    return web.json_response({"choices": [{"text": "all at once", "finish_reason": "stop"}]})


@asynccontextmanager
async def served(handler: Handler, method: str = "POST", path: str = "/v1/completions") -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_route(method, path, handler)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


class Run:
    """A generator with everything that it said."""

    def __init__(self, url: str, **settings: object) -> None:
        self.records: list[RequestRecord] = []
        self.stats: list[Stats] = []
        self.end: RunEnd | None = None
        target = Target.parse(url)
        self.generator = Generator(LoadSettings(target, "m", **settings), self.record, self.stats.append)  # type: ignore[arg-type]

    def record(self, value: RunStart | RequestRecord | RunEnd) -> None:
        if isinstance(value, RequestRecord):
            self.records.append(value)
        elif isinstance(value, RunEnd):
            self.end = value


def loaded(handler: Handler, arrivals: list[Arrival], **settings: object) -> Run:
    async def go() -> Run:
        async with served(handler) as url:
            run = Run(url, **settings)
            await run.generator.run(arrivals)
            return run

    return asyncio.run(go())


EVENLY = [Arrival(k * 0.02, 20, 6) for k in range(30)]


def test_whole_answers_are_counted_token_by_token() -> None:
    run = loaded(whole, EVENLY)
    assert [r.status for r in run.records] == [Status.OK] * 30
    assert {r.tokens_out for r in run.records} == {6}
    for r in run.records:
        assert r.first_token_s is not None
        assert r.last_token_s is not None
        assert 0 < r.started_s < r.first_token_s < r.last_token_s <= r.ended_s
        assert r.tpot_s == pytest.approx((r.last_token_s - r.first_token_s) / 5)
    assert run.end is not None
    assert (run.end.requests, run.end.tokens_out, run.end.reason) == (30, 180, "finished")


def test_a_server_that_never_answers_does_not_slow_the_arrivals() -> None:
    run = loaded(silent, EVENLY, answer_timeout_s=0.3)
    assert [r.status for r in run.records] == [Status.UNANSWERED] * 30
    scheduled = sorted(r.scheduled_at for r in run.records)
    assert scheduled[-1] - scheduled[0] == pytest.approx(29 * 0.02, abs=1e-4)
    assert run.end is not None
    assert run.end.requests == 30


def test_ttft_counts_from_the_scheduled_arrival_not_from_the_sending() -> None:
    async def go() -> list[RequestRecord]:
        async with served(whole) as url:
            run = Run(url)
            asyncio.get_running_loop().call_later(0.05, blocked)
            await run.generator.run([Arrival(0.1, 5, 2)])
            return run.records

    def blocked() -> None:
        """The generator's own loop stalls over the arrival."""
        time.sleep(0.4)

    (record,) = asyncio.run(go())
    assert record.started_s > 0.3
    assert record.first_token_s is not None
    assert record.first_token_s > record.started_s


@pytest.mark.parametrize(
    ("handler", "status", "http_status", "tokens", "error"),
    [
        pytest.param(cut, Status.TRUNCATED, 200, 2, "", id="a stream without a finish"),
        pytest.param(broken, Status.TRUNCATED, 200, 1, "connection closed before the end", id="a broken stream"),
        pytest.param(refusing, Status.FAILED, 503, 0, "HTTP 503: no healthy upstream", id="a refusal"),
        pytest.param(plain, Status.FAILED, 200, 0, "HTTP 200: not a stream of completions", id="no stream"),
    ],
)
def test_what_goes_wrong_is_told_apart(
    handler: Handler, status: Status, http_status: int, tokens: int, error: str
) -> None:
    for record in loaded(handler, EVENLY[:3]).records:
        assert (record.status, record.http_status, record.tokens_out) == (status, http_status, tokens)
        assert record.error.startswith(error)


def test_a_closed_port_is_a_failure_at_once() -> None:
    async def go() -> Run:
        async with served(whole) as url:
            pass
        run = Run(url)
        await run.generator.run(EVENLY[:3])
        return run

    run = asyncio.run(go())
    assert [r.status for r in run.records] == [Status.FAILED] * 3
    assert run.records[0].error.startswith("no connection")


def test_a_request_is_given_up_after_its_time_out() -> None:
    (record,) = loaded(silent, EVENLY[:1], request_timeout_s=0.2).records
    assert (record.status, record.error) == (Status.FAILED, "no complete answer within 0.2 s")
    assert 0.2 <= record.ended_s < 5


def test_connections_are_used_again_and_a_stale_one_is_replaced_without_a_failure() -> None:
    peers: list[object] = []

    async def closing(request: web.Request) -> web.StreamResponse:
        """Closes the idle connection shortly after the first answer."""
        assert request.transport is not None
        peers.append(request.transport.get_extra_info("peername"))
        response = await whole(request)
        if len(peers) == 2:
            asyncio.get_running_loop().call_later(0.05, request.transport.close)
        return response

    run = loaded(closing, [Arrival(at_s, 5, 2) for at_s in (0, 0.2, 0.4, 0.6)])
    assert [r.status for r in run.records] == [Status.OK] * 4
    assert peers[0] == peers[1] != peers[2] == peers[3]


def test_stopping_writes_what_was_under_way_as_interrupted() -> None:
    async def go() -> Run:
        async with served(silent) as url:
            run = Run(url)
            asyncio.get_running_loop().call_later(0.3, run.generator.stop, "SIGTERM")
            await run.generator.run([Arrival(k * 0.1, 5, 2) for k in range(100)])
            return run

    run = asyncio.run(go())
    assert {r.status for r in run.records} == {Status.INTERRUPTED}
    assert 2 <= len(run.records) <= 5
    assert run.end is not None
    assert run.end.reason == "SIGTERM"


def test_requests_that_do_not_fit_the_context_are_shortened_and_counted() -> None:
    run = loaded(whole, [Arrival(0, 900, 6), Arrival(0, 10, 6), Arrival(0, 10, 900)], max_model_len=100)
    asked = sorted((r.prompt_tokens, r.asked_tokens) for r in run.records)
    assert asked == [(10, 6), (10, 50), (94, 6)]
    assert run.end is not None
    assert run.end.clipped == 2


@pytest.mark.parametrize(
    ("answer", "limit"),
    [
        pytest.param(
            {"data": [{"id": "other", "max_model_len": 1}, {"id": "m", "max_model_len": 4096}]}, 4096, id="said"
        ),
        pytest.param({"data": [{"id": "m"}]}, None, id="not said"),
        pytest.param(["nonsense"], None, id="nonsense"),
    ],
)
def test_the_context_is_asked_of_the_server(answer: object, limit: int | None) -> None:
    async def go() -> int | None:
        async def models(request: web.Request) -> web.StreamResponse:
            return web.json_response(answer)

        async with served(models, "GET", "/v1/models") as url:
            return await asyncio.to_thread(Target.parse(url).max_model_len, "m")

    assert asyncio.run(go()) == limit


def test_a_server_that_is_not_there_has_no_context_to_say() -> None:
    assert Target("127.0.0.1", 1, "/v1/completions").max_model_len("m") is None


@pytest.mark.parametrize("form", ["words", "ids"])
def test_prompts_are_as_long_as_said_and_share_no_beginning(form: str) -> None:
    prompts: list[object] = []

    async def listening(request: web.Request) -> web.StreamResponse:
        body = await request.json()
        prompts.append(body["prompt"])
        assert (body["stream"], body["ignore_eos"], body["max_tokens"], body["model"]) == (True, True, 1, "m")
        return await whole(request)

    loaded(listening, [Arrival(0, tokens, 1) for tokens in (1, 7, 8, 9, 4096)] * 2, prompt_form=form)
    words = [tuple(p.split()) if isinstance(p, str) else tuple(p) for p in prompts if isinstance(p, str | list)]
    assert sorted(len(w) for w in words) == sorted([1, 7, 8, 9, 4096] * 2)
    assert len({w[:8] for w in words}) == 10
    assert sorted(text_tokens(p) for p in prompts if isinstance(p, str)) == sorted(map(len, words)) * (form == "words")


def process(folder: Path, *arguments: str, **options: object) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "engine.load", "--results", str(folder / "r.jsonl"), *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)  # type: ignore[call-overload,no-any-return]


def test_the_process_replays_a_trace_and_ends_by_itself(tmp_path: Path) -> None:
    trace = tmp_path / "t.csv"
    rows = "".join(f"2024-01-01 00:00:0{k / 10:.1f},30,4\n" for k in range(20))
    trace.write_text("TIMESTAMP,ContextTokens,GeneratedTokens\n" + rows)

    async def go() -> tuple[int, bytes]:
        async with served(whole) as url:
            child = process(tmp_path, "--target", url, "--trace", str(trace), "--model", "m", "--rate", "30",
                            "--duration", "1.5")  # fmt: skip
            out, _ = await asyncio.to_thread(child.communicate, timeout=60)
            return child.returncode, out

    status, out = asyncio.run(go())
    results = read_results(tmp_path / "r.jsonl")
    assert status == 0
    assert [json.loads(line)["type"] for line in out.splitlines()][:2] == ["run", "stats"]
    assert json.loads(out.splitlines()[-1])["type"] == "end"
    assert results.end is not None
    assert results.end.requests == len(results.requests) > 20
    assert {r.status for r in results.requests} == {Status.OK}


@pytest.mark.parametrize("how", ["SIGTERM", "SIGINT", "standard input closed"])
def test_the_process_ends_on_a_signal_or_when_its_parent_is_gone(tmp_path: Path, how: str) -> None:
    async def go() -> int:
        async with served(silent) as url:
            child = process(tmp_path, "--target", url, "--scenario", "calm", "--stdin-lifeline", stdin=subprocess.PIPE)
            assert child.stdout is not None
            assert child.stdin is not None
            for _ in range(4):
                await asyncio.to_thread(child.stdout.readline)
            if how.startswith("SIG"):
                os.kill(child.pid, getattr(signal, how))
            else:
                child.stdin.close()
            status = await asyncio.to_thread(child.wait, 30)
            for pipe in (child.stdin, child.stdout, child.stderr):
                assert pipe is not None
                pipe.close()
            return status

    assert asyncio.run(go()) == 0
    results = read_results(tmp_path / "r.jsonl")
    assert results.end is not None
    assert results.end.reason == how
    assert {r.status for r in results.requests} == {Status.INTERRUPTED}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        pytest.param(["--target", "http://127.0.0.1:1"], "nothing to send: give --scenario", id="nothing"),
        pytest.param(["--target", "https://x", "--scenario", "calm"], "not a plain HTTP address", id="https"),
        pytest.param(["--target", "http://x:1", "--scenario", "nope"], "neither a shipped one", id="scenario"),
        pytest.param(["--target", "http://x:1", "--trace", "no.csv", "--model", "m"], "cannot read the", id="trace"),
        pytest.param(["--target", "http://x:1", "--trace", "no.csv"], "give --model NAME", id="model"),
        pytest.param(["--target", "http://x:1", "--scenario", "calm", "--rate", "3"], "--rate belongs to", id="rate"),
        pytest.param(["--target", "http://x:1", "--scenario", "calm", "--duration", "-1"], "must be above", id="time"),
    ],
)  # fmt: skip
def test_a_mistake_gets_one_sentence_and_status_2(tmp_path: Path, arguments: list[str], said: str) -> None:
    child = process(tmp_path, *arguments)
    _, error = child.communicate(timeout=60)
    assert child.returncode == 2
    assert said in error.decode()
    assert "Traceback" not in error.decode()


def test_results_survive_a_kill_in_the_middle_of_a_line(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    (record,) = loaded(whole, EVENLY[:1]).records
    start = RunStart(1.0, "s", 1, "http://x")
    path.write_text(to_line(start) + to_line(record) + to_line(record)[:40])
    assert read_results(path).requests == (record,)
    assert read_results(path).end is None
