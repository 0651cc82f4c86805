"""Tokens without a tokeniser: how many a text counts for, and what generated ones look like.

A text counts one token for every four UTF-8 bytes, rounded up (the usual rule of thumb for English). A chat message
costs four more for its role and markers, the start of the answer three. A list of token ids counts exactly.
"""

from __future__ import annotations

from itertools import cycle, islice

BYTES_PER_TOKEN = 4
MESSAGE_TOKENS = 4
ANSWER_START_TOKENS = 3

WORDS = (" the", " river", " carries", " water", " from", " hill", " to", " sea")
"""Every generated token is the next of these."""


def text_tokens(text: str) -> int:
    """Tokens of a text."""
    return -(-len(text.encode()) // BYTES_PER_TOKEN)


def generated_text(tokens: int) -> str:
    """The text of an answer of so many tokens."""
    return "".join(islice(cycle(WORDS), tokens))


def word(index: int) -> str:
    """The text of the token at `index` of an answer."""
    return WORDS[index % len(WORDS)]
