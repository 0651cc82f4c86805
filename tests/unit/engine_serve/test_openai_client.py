"""The official OpenAI client works against the simulated server."""

from __future__ import annotations

from typing import Any

import openai
import pytest
from openai import OpenAI

from tests.unit.engine_serve.servers import LiveServer

IDS = list(range(100))
EXACT: dict[str, Any] = {"ignore_eos": True}
MESSAGES: Any = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "How do rivers flow?"}]


def test_the_served_model_is_listed(client: OpenAI) -> None:
    (model,) = client.models.list().data
    assert (model.id, model.owned_by) == ("tiny", "vllm")


def test_a_completion_has_exactly_the_tokens_asked_for(client: OpenAI) -> None:
    answer = client.completions.create(model="tiny", prompt=IDS, max_tokens=12, extra_body=EXACT)
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens, answer.usage.total_tokens) == (100, 12, 112)
    assert answer.choices[0].finish_reason == "length"
    assert len(answer.choices[0].text.split()) == 12


def test_a_completion_without_max_tokens_has_at_most_sixteen(client: OpenAI) -> None:
    answer = client.completions.create(model="tiny", prompt="A river")
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens <= 16) == (2, True)


def test_a_streamed_completion_brings_one_event_a_token_and_then_usage(client: OpenAI) -> None:
    with client.completions.create(
        model="tiny", prompt=IDS, max_tokens=30, stream=True, stream_options={"include_usage": True}, extra_body=EXACT
    ) as stream:
        *tokens, last = list(stream)
    assert len(tokens) == 30
    assert [token.choices[0].finish_reason for token in tokens] == [None] * 29 + ["length"]
    assert last.usage is not None
    assert (last.choices, last.usage.completion_tokens) == ([], 30)
    whole = client.completions.create(model="tiny", prompt=IDS, max_tokens=30, extra_body=EXACT)
    assert "".join(token.choices[0].text for token in tokens) == whole.choices[0].text


def test_a_chat_counts_its_messages_and_may_stop_by_itself(client: OpenAI) -> None:
    answer = client.chat.completions.create(model="tiny", messages=MESSAGES)
    assert answer.usage is not None
    assert answer.usage.prompt_tokens == (4 + 3) + (4 + 5) + 3
    assert answer.choices[0].finish_reason == "stop"
    assert answer.choices[0].message.role == "assistant"
    assert len((answer.choices[0].message.content or "").split()) == answer.usage.completion_tokens


def test_a_streamed_chat_names_the_role_first(client: OpenAI) -> None:
    with client.chat.completions.create(
        model="tiny", messages=MESSAGES, max_completion_tokens=5, stream=True, extra_body=EXACT
    ) as stream:
        events = list(stream)
    assert (events[0].choices[0].delta.role, events[0].choices[0].delta.content) == ("assistant", "")
    assert [event.choices[0].delta.content for event in events[1:]] == [
        " the",
        " river",
        " carries",
        " water",
        " from",
    ]
    assert events[-1].choices[0].finish_reason == "length"


def test_a_streamed_chat_of_one_token_is_complete(client: OpenAI) -> None:
    with client.chat.completions.create(
        model="tiny", messages=MESSAGES, max_tokens=1, stream=True, extra_body=EXACT
    ) as stream:
        events = [event.choices[0] for event in stream]
    assert [event.delta.content for event in events] == ["", " the"]
    assert events[-1].finish_reason == "length"


def test_n_answers_come_from_one_call_and_count_as_n_sequences(client: OpenAI, server: LiveServer) -> None:
    before = server.metric('vllm:request_success_total{finished_reason="length"}')
    calls = server.metric("vllm:request_params_n_count")
    answer = client.completions.create(model="tiny", prompt=[IDS, IDS], max_tokens=4, n=3, extra_body=EXACT)
    assert [choice.index for choice in answer.choices] == list(range(6))
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (200, 24)
    assert server.metric('vllm:request_success_total{finished_reason="length"}') == before + 6
    assert server.metric("vllm:request_params_n_count") == calls + 2


def test_streamed_choices_are_told_apart_by_index(client: OpenAI) -> None:
    with client.completions.create(
        model="tiny", prompt=IDS, max_tokens=4, n=2, stream=True, extra_body=EXACT
    ) as stream:
        indices = [event.choices[0].index for event in stream]
    assert sorted(indices) == [0] * 4 + [1] * 4


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"model": "other"}, openai.NotFoundError, "The model `other` does not exist."),
        ({"prompt": list(range(1024))}, openai.BadRequestError, "maximum context length is 1024 tokens"),
        ({"max_tokens": 1000}, openai.BadRequestError, r"too large: 1000.*\(1000 > 1024 - 100\)"),
        ({"max_tokens": 0}, openai.BadRequestError, "max_tokens"),
        ({"temperature": -1}, openai.BadRequestError, r"temperature must be non-negative, got -1\.0"),
        ({"top_p": 2}, openai.BadRequestError, r"top_p must be in \(0, 1\], got 2\.0"),
        ({"prompt": ""}, openai.BadRequestError, "cannot be empty"),
        ({"n": 0}, openai.BadRequestError, "greater than or equal to 1"),
        ({"extra_body": {"min_tokens": 30}}, openai.BadRequestError, "min_tokens must be less than or equal to"),
        ({"stream_options": {"include_usage": True}}, openai.BadRequestError, "only be defined when `stream=True`"),
    ],
    ids=[
        "unknown model",
        "prompt too long",
        "answer too long",
        "no answer",
        "bad temperature",
        "bad top_p",
        "empty prompt",
        "no choices",
        "more at least than at most",
        "stream options without a stream",
    ],
)
def test_errors_reach_the_client_as_vllms(
    client: OpenAI, server: LiveServer, arguments: dict[str, Any], error: type[openai.APIStatusError], words: str
) -> None:
    refused = {"model": "tiny", "prompt": IDS, "max_tokens": 20, **arguments}
    before = server.metric("vllm:prompt_tokens_total")
    with pytest.raises(error, match=words) as raised:
        client.completions.create(**refused)
    assert raised.value.body is not None
    assert raised.value.body["code"] == raised.value.status_code  # type: ignore[index]
    assert server.metric("vllm:prompt_tokens_total") == before


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/v1/completions", b"{", 400),
        ("POST", "/v1/chat/completions", b'{"model": "tiny"}', 400),
        ("POST", "/v1/chat/completions", b'{"model": "tiny", "messages": []}', 400),
        ("GET", "/v1/completions", b"", 405),
        ("GET", "/v2/models", b"", 404),
        ("POST", "/tokenize", b"[]", 400),
    ],
    ids=["bad JSON", "no messages", "empty messages", "wrong method", "unknown path", "nothing to tokenise"],
)
def test_broken_calls_get_an_error_in_vllms_form(
    server: LiveServer, method: str, path: str, body: bytes, status: int
) -> None:
    answer = server.post(path, raw=body) if method == "POST" else server.get(path)
    assert answer.status_code == answer.json()["error"]["code"] == status


def test_a_client_that_goes_away_frees_its_seat_and_is_counted_nowhere(client: OpenAI, server: LiveServer) -> None:
    finished = sum(server.metric(f'vllm:request_success_total{{finished_reason="{r}"}}') for r in ("stop", "length"))
    first = server.metric("vllm:time_to_first_token_seconds_count")
    with client.completions.create(model="tiny", prompt=IDS, max_tokens=900, stream=True, extra_body=EXACT) as stream:
        next(iter(stream))
    while server.metric("vllm:num_requests_running"):
        pass
    assert server.metric("vllm:time_to_first_token_seconds_count") == first + 1
    after = sum(server.metric(f'vllm:request_success_total{{finished_reason="{r}"}}') for r in ("stop", "length"))
    assert after == finished
    assert server.metric('vllm:request_success_total{finished_reason="abort"}') == 0


def test_probes_and_facts_answer(server: LiveServer) -> None:
    assert [server.get(path).status_code for path in ("/health", "/ping", "/metrics")] == [200, 200, 200]
    assert server.get("/version").json() == {"version": "0.32.0"}
    assert server.get("/load").json() == {"server_load": 0}
    assert server.post("/tokenize", {"prompt": "eight ch"}).json()["count"] == 2
