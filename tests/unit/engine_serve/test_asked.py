"""Request bodies are read as vLLM reads them, and tokens are counted by a simple rule."""

from __future__ import annotations

import json
from typing import Any

import pytest

from engine.serve.asked import Asked, Kind, read_asked
from engine.serve.errors import ApiError
from engine.serve.lengths import AnswerLengths
from engine.serve.token_text import generated_text, text_tokens


def read(kind: Kind, **body: Any) -> Asked:
    return read_asked(kind, json.dumps(body).encode(), max_model_len=1024)


@pytest.mark.parametrize(
    ("prompt", "tokens"),
    [
        ("abcd", (1,)),
        ("abcde", (2,)),
        ("füße", (2,)),
        (["abcd", "abcdefgh"], (1, 2)),
        ([5, 6, 7], (3,)),
        ([[5], [6, 7]], (1, 2)),
    ],
    ids=["four bytes", "five bytes", "six bytes of UTF-8", "two texts", "token ids", "two lists of ids"],
)
def test_prompts_of_every_shape_are_counted(prompt: object, tokens: tuple[int, ...]) -> None:
    assert read("completion", prompt=prompt).prompts == tokens


def test_a_message_may_come_in_parts_of_which_texts_count() -> None:
    parts = [{"type": "text", "text": "abcdefgh"}, {"type": "image_url", "image_url": {"url": "x"}}]
    assert read("chat", messages=[{"role": "user", "content": parts}]).prompts == (4 + 2 + 3,)
    assert read("chat", messages=[{"role": "assistant", "content": None}]).prompts == (4 + 3,)


def test_the_newer_name_of_the_limit_wins_and_its_absence_means_all_the_room() -> None:
    messages = [{"role": "user", "content": "abcd"}]
    assert read("chat", messages=messages, max_tokens=5, max_completion_tokens=7).max_tokens == 7
    free = read("chat", messages=messages)
    assert (free.max_tokens, free.allowed_tokens(8, 1024)) == (None, 1016)
    assert read("completion", prompt="abcd").max_tokens == 16


@pytest.mark.parametrize("prompt", [[], [[]], [""], [1, "a"], {"text": "a"}, None], ids=repr)
def test_what_is_no_prompt_is_refused(prompt: object) -> None:
    with pytest.raises(ApiError) as refused:
        read("completion", prompt=prompt)
    assert refused.value.status == 400


def test_answers_have_the_length_asked_for_or_one_of_real_conversations() -> None:
    lengths = AnswerLengths(seed=1)
    exact = read("completion", prompt="abcd", max_tokens=700, ignore_eos=True)
    assert lengths.draw(exact, 700) == 700
    free = read("completion", prompt="abcd", max_tokens=700, min_tokens=50)
    drawn = [lengths.draw(free, 700) for _ in range(500)]
    assert (min(drawn), max(drawn) <= 700) == (50, True)
    assert 150 < sum(drawn) / len(drawn) < 280


def test_generated_text_has_one_word_a_token() -> None:
    assert generated_text(10) == " the river carries water from hill to sea the river"
    assert text_tokens("") == 0
