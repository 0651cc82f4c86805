"""Bounded waits on conditions."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from controller.errors import TransientError

T = TypeVar("T")
_EVERY_S = 0.1


def wait_until(what: str, ask: Callable[[], T | None], timeout_s: float = 30.0, every_s: float = _EVERY_S) -> T:
    """The first answer of `ask` that is true; a TransientError is an answer that is not.

    Raises AssertionError with `what` was waited for and the last answer when the time is over.
    """
    ends_at = time.monotonic() + timeout_s
    while True:
        try:
            answer = ask()
            said = repr(answer)
        except TransientError as error:
            answer, said = None, str(error)
        if answer:
            return answer
        if time.monotonic() > ends_at:
            raise AssertionError(f"{what}: not within {timeout_s:g} s; last seen: {said}")
        time.sleep(every_s)
