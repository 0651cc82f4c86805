"""How long prompts and answers are: drawn from a table of real pairs, or fixed."""

from __future__ import annotations

import csv
import io
import random
from collections.abc import Iterator
from functools import cache
from importlib import resources

Pair = tuple[int, int]
"""(prompt tokens, output tokens) of one request: drawn together, since they belong together."""


@cache
def shipped_pairs(name: str) -> tuple[Pair, ...]:
    """The pairs of `engine/load/lengths/<name>.csv`. Raises FileNotFoundError for an unknown name."""
    text = resources.files("engine.load").joinpath("lengths", f"{name}.csv").read_text(encoding="utf-8")
    rows = csv.DictReader(io.StringIO(text))
    return tuple((int(row["prompt_tokens"]), int(row["output_tokens"])) for row in rows)


def sample_pairs(pairs: tuple[Pair, ...], rng: random.Random) -> Iterator[Pair]:
    """Endless independent draws, with replacement, from the table."""
    while True:
        yield rng.choice(pairs)


def mean_output_tokens(pairs: tuple[Pair, ...]) -> float:
    """Mean output tokens of one draw."""
    return sum(output for _, output in pairs) / len(pairs)
