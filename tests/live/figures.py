"""What the live tests measured, printed at the end of the run beside the bound that each figure must keep."""

from __future__ import annotations

_SAID: list[str] = []


def say(figure: str) -> None:
    """Keep one line for the end of the run."""
    _SAID.append(figure)


def said() -> tuple[str, ...]:
    """Every line so far, in order."""
    return tuple(_SAID)
