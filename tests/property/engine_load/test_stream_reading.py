"""A stream means the same however the network cuts it."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.load.http1 import ProtocolError, ResponseReader
from engine.load.token_stream import TokenStream, error_message

BODY = b'data: {"choices":[{"text":"a\\n\\n","finish_reason":null}]}\n\n'


def event(finish_reason: str | None = None) -> bytes:
    return b"data: " + json.dumps({"choices": [{"text": " x", "finish_reason": finish_reason}]}).encode() + b"\n\n"


def usage(tokens: int) -> bytes:
    return b"data: " + json.dumps({"choices": [], "usage": {"completion_tokens": tokens}}).encode() + b"\n\n"


DONE = b"data: [DONE]\n\n"


def chunked(*bodies: bytes) -> bytes:
    return b"".join(b"%x\r\n%s\r\n" % (len(body), body) for body in bodies) + b"0\r\n\r\n"


def head(*headers: str, status: str = "200 OK") -> bytes:
    return "\r\n".join([f"HTTP/1.1 {status}", *headers, "", ""]).encode()


STREAM = head("Transfer-Encoding: chunked", "Content-Type: text/event-stream; charset=utf-8")


def cut(message: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(message) + 1) for place in places), len(message)]
    return [message[a:b] for a, b in pairwise(edges) if a < b]


@given(tokens=st.integers(1, 30), places=st.lists(st.integers(0, 10_000), max_size=40), with_usage=st.booleans())
def test_tokens_ends_and_times_do_not_depend_on_the_cuts(*, tokens: int, places: list[int], with_usage: bool) -> None:
    events = [event() for _ in range(tokens - 1)] + [event("length")]
    tail = [usage(tokens), DONE] if with_usage else [DONE]
    body_end = len(b"".join(events))
    message = STREAM + chunked(*events, *tail)
    reader, stream, seen = ResponseReader(), TokenStream(), 0
    last_at = None
    for number, piece in enumerate(cut(message, places)):
        body = reader.feed(piece)
        stream.feed(body, float(number))
        seen += len(body)
        last_at = float(number) if last_at is None and seen >= body_end else last_at
    end = stream.end()
    assert reader.done
    assert reader.reusable
    assert (end.tokens, end.finish_reason, end.error, end.complete) == (tokens, "length", "", True)
    assert end.last_token_at == last_at
    assert stream.first_at is not None
    assert stream.first_at <= end.last_token_at


def test_several_tokens_in_one_event_are_counted_by_the_servers_usage() -> None:
    stream = TokenStream()
    stream.feed(event() + event("stop") + usage(17) + DONE, 1.0)
    assert stream.end().tokens == 17


@pytest.mark.parametrize(
    ("body", "complete", "error", "tokens"),
    [
        pytest.param(event() + event(), False, "", 2, id="no finish"),
        pytest.param(event() + event("abort") + DONE, False, "", 2, id="aborted"),
        pytest.param(
            event() + b'data: {"error": {"message": "boom"}}\n\n' + DONE, False, "boom", 1, id="an error event"
        ),
        pytest.param(event() + b'data: {"error": "boom"}\n\n', False, "boom", 1, id="a bare error"),
        pytest.param(b"\n\n\x00garbage\n\n", False, "", 0, id="garbage"),
        pytest.param(b"", False, "", 0, id="nothing"),
        pytest.param(event("stop")[:-1], False, "", 0, id="an event that never ends"),
        pytest.param(b'data: {"choices": [7]}\n\n', False, "", 0, id="choices that are none"),
        pytest.param(event("stop"), True, "", 1, id="an early stop is whole"),
    ],
)
def test_only_the_servers_word_makes_an_answer_whole(*, body: bytes, complete: bool, error: str, tokens: int) -> None:
    stream = TokenStream()
    stream.feed(body, 1.0)
    end = stream.end()
    assert (end.complete, end.error, end.tokens) == (complete, error, tokens)


@given(places=st.lists(st.integers(0, 10_000), max_size=20))
def test_bodies_with_a_length_or_until_close_are_read_too(places: list[int]) -> None:
    sized, until_close = ResponseReader(), ResponseReader()
    message = head(f"content-length: {len(BODY)}", status="503 Service Unavailable") + BODY
    assert b"".join(sized.feed(piece) for piece in cut(message, places)) == BODY
    assert (sized.status, sized.done, sized.reusable, sized.event_stream) == (503, True, True, False)
    assert b"".join(until_close.feed(piece) for piece in cut(head() + BODY, places)) == BODY
    assert not until_close.done
    until_close.closed()
    assert until_close.done
    assert not until_close.reusable


def test_an_interim_answer_is_passed_over_and_close_is_heeded() -> None:
    reader = ResponseReader()
    reader.feed(b"HTTP/1.1 100 Continue\r\n\r\n" + head("Content-Length: 0", "Connection: close"))
    assert (reader.status, reader.done, reader.reusable) == (200, True, False)


@pytest.mark.parametrize(
    "message",
    [
        pytest.param(b"SSH-2.0-x\r\n\r\n", id="another protocol"),
        pytest.param(head("Content-Length: many"), id="no length"),
        pytest.param(head("Transfer-Encoding: chunked") + b"zz\r\n", id="no chunk size"),
        pytest.param(head("Transfer-Encoding: chunked") + b"-5\r\n", id="a negative chunk"),
        pytest.param(head("Transfer-Encoding: chunked") + b"1\r\nab\r\n", id="a chunk too long"),
        pytest.param(b"HTTP/1.1 200 OK\r\n" + b"a" * 70_000, id="a head without end"),
    ],
)
def test_what_is_no_http_is_said_and_not_waited_for(message: bytes) -> None:
    reader = ResponseReader()
    with pytest.raises(ProtocolError):
        reader.feed(message)


def test_a_connection_with_bytes_after_the_end_is_not_used_again() -> None:
    reader = ResponseReader()
    assert reader.feed(head("Content-Length: 1") + b"ab") == b"a"
    assert reader.done
    assert not reader.reusable
    with pytest.raises(ProtocolError, match="after the end"):
        reader.feed(b"c")


def test_an_early_close_is_no_end() -> None:
    reader = ResponseReader()
    reader.feed(STREAM + b"5\r\nab")
    with pytest.raises(ProtocolError, match="before the end"):
        reader.closed()


@given(st.binary(max_size=300))
def test_no_bytes_whatever_raise_anything_else(garbage: bytes) -> None:
    stream, reader = TokenStream(), ResponseReader()
    stream.feed(garbage, 1.0)
    stream.end()
    error_message(garbage)
    try:
        reader.feed(STREAM + garbage)
        reader.closed()
    except ProtocolError:
        pass
