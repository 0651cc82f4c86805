"""Request bodies with prompts of a known length that cost nearly nothing to make, send and read.

`words`: common words of three letters. A space and such a word are one token in the vocabularies of Llama, Qwen and
GPT, and one to whoever counts words, or a token for every four bytes; a begin-of-text token may come on top.
`ids`: the token ids themselves, exact everywhere, at the price of a number list to parse.

The first tokens spell the request's number, so that no two prompts share a block of a prefix cache.
"""

from __future__ import annotations

import json
from typing import Literal

PromptForm = Literal["words", "ids"]
_WORDS = (
    "the",
    "and",
    "for",
    "are",
    "but",
    "not",
    "you",
    "all",
    "can",
    "had",
    "her",
    "was",
    "one",
    "our",
    "out",
    "day",
    "get",
    "has",
    "him",
    "his",
    "how",
    "man",
    "new",
    "now",
    "old",
    "see",
)
_DIGITS = 8
_FIRST_ID = 10


def _spelt(number: int, length: int) -> list[int]:
    """`number` in base 26, lowest digit first, in at most 8 digits, then zeros up to `length`."""
    digits = [number // 26**place % 26 for place in range(min(_DIGITS, length))]
    return digits + [0] * (length - len(digits))


def prompt_json(number: int, tokens: int, form: PromptForm) -> str:
    """The prompt of the `number`-th request as JSON text, `tokens` (>= 1) long."""
    head = _spelt(number, min(tokens, _DIGITS))
    rest = tokens - len(head)
    if form == "ids":
        return "[" + ",".join(str(_FIRST_ID + digit) for digit in head) + f",{_FIRST_ID}" * rest + "]"
    return '"' + " ".join(_WORDS[digit] for digit in head) + f" {_WORDS[0]}" * rest + '"'


def completion_body(model: str, prompt: str, output_tokens: int) -> bytes:
    """A streaming `/v1/completions` request for exactly `output_tokens` tokens; `prompt` is JSON text."""
    return (
        f'{{"model":{json.dumps(model)},"max_tokens":{output_tokens},"temperature":0,"ignore_eos":true,'
        f'"stream":true,"stream_options":{{"include_usage":true}},"prompt":{prompt}}}'
    ).encode()
