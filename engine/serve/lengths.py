"""How long an answer is when the client does not say so: drawn from real conversations."""

from __future__ import annotations

import random

from engine.load.token_lengths import shipped_pairs
from engine.serve.asked import Asked


class AnswerLengths:
    """Draws output tokens, seeded."""

    def __init__(self, seed: int | str) -> None:
        self._rng = random.Random(f"answers:{seed}")  # noqa: S311 - lengths of synthetic answers, no secret
        self._outputs = [output for _, output in shipped_pairs("azure-conv")]

    def draw(self, asked: Asked, allowed_tokens: int) -> int:
        """All that is allowed with `ignore_eos`; else a drawn length between `min_tokens` and what is allowed."""
        if asked.ignore_eos:
            return allowed_tokens
        drawn = self._rng.choice(self._outputs)
        return min(max(drawn, asked.min_tokens, 1), allowed_tokens)
