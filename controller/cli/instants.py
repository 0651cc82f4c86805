"""Instants as options take them."""

from __future__ import annotations

import math
from datetime import UTC, datetime

from controller.errors import UsageError

_EARLIEST_S = 1e9
"""In 2001. A smaller number is a year or a day without its dashes."""


def parse_instant(option: str, text: str | None) -> float | None:
    """UTC seconds of "2026-01-31T12:00:05", with or without a zone (none: UTC), or of seconds since the epoch.

    Raises UsageError with the remedy.
    """
    if text is None:
        return None
    try:
        seconds = float(text)
    except ValueError:
        return _iso(option, text)
    if seconds < _EARLIEST_S:
        raise UsageError(
            f"{option} {text!r} would be seconds since 1970, and is long before any decision: "
            'write "2026-01-31T12:00:05" (UTC)'
        )
    if math.isfinite(seconds):
        return seconds
    raise _refused(option, text)


def _iso(option: str, text: str) -> float:
    try:
        moment = datetime.fromisoformat(text.removesuffix(" UTC"))
    except ValueError:
        raise _refused(option, text) from None
    return (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp()


def _refused(option: str, text: str) -> UsageError:
    return UsageError(f'{option} {text!r} is no instant: write "2026-01-31T12:00:05" (UTC) or seconds since 1970')
