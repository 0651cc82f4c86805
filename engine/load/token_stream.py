"""What a stream of completion events says, read cheaply: events are counted on bytes, only the last ones are parsed.

The stream is that of `/v1/completions` with `stream` and `stream_options.include_usage`: one event per token (or, when
a client reads slowly, several tokens in one), the last with a `finish_reason`, then one with `usage` and no choices,
then `[DONE]`.
"""

from __future__ import annotations

import json
from collections import deque
from dataclasses import dataclass
from typing import Any

_END = b"\n\n"
_KEPT_BYTES = 4096
_ABORTED = ("abort", "error")


@dataclass(frozen=True, slots=True)
class StreamEnd:
    """`tokens` by the server's own usage where it said it, else the events counted; `last_token_at` None before any."""

    tokens: int
    finish_reason: str
    error: str
    last_token_at: float | None

    @property
    def complete(self) -> bool:
        """The server itself said that the answer is whole."""
        return bool(self.finish_reason) and self.finish_reason not in _ABORTED and not self.error


class TokenStream:
    """Feed it body bytes with the time they came at; ask `end` once the response is over."""

    __slots__ = ("_arrivals", "_events", "_tail", "body_bytes", "first_at")

    def __init__(self) -> None:
        self.body_bytes = 0
        self.first_at: float | None = None
        """When the first event was complete."""
        self._events = 0
        self._tail = b""
        self._arrivals: deque[tuple[int, float]] = deque(maxlen=8)

    @property
    def events(self) -> int:
        """Events received so far."""
        return self._events

    def feed(self, body: bytes, now: float) -> None:
        """Count the events that `body` completes."""
        self.body_bytes += len(body)
        # An event's end may be cut in two: the last byte before counts with what is new.
        fresh = body.count(_END) if self._tail[-1:] != b"\n" else (b"\n" + body).count(_END)
        self._tail = (self._tail + body)[-_KEPT_BYTES:]
        if fresh:
            self._events += fresh
            self._arrivals.append((self._events, now))
            if self.first_at is None:
                self.first_at = now

    def end(self) -> StreamEnd:
        """What the events said. Nothing raises: garbage is an `error` in the result."""
        events = _last_events(self._tail)
        trailing, finish_reason, usage_tokens, error = 0, "", None, ""
        for event in reversed(events):
            choice = _choice(event)
            if choice is not None:
                finish_reason = str(choice.get("finish_reason") or "")
                break
            trailing += 1
            usage_tokens = _usage(event) if usage_tokens is None else usage_tokens
            error = error or _error(event)
        counted = max(0, self._events - trailing)
        tokens = counted if usage_tokens is None else usage_tokens
        return StreamEnd(tokens, finish_reason, error, self._arrived(counted) if counted else None)

    def _arrived(self, event: int) -> float | None:
        """When that event was complete; the earliest time still known if it is long ago."""
        return next((at for count, at in self._arrivals if count >= event), None)


def _last_events(tail: bytes) -> list[dict[str, Any] | None]:
    """The complete events in the kept bytes, oldest first; `[DONE]` and what cannot be read are None."""
    *blocks, _ = tail.split(_END)
    return [_event(block) for block in blocks[-4:]]


def error_message(body: bytes) -> str:
    """What a JSON error body says; empty if it says nothing."""
    return _error(_event(body))


def _event(block: bytes) -> dict[str, Any] | None:
    payload = block.strip().removeprefix(b"data:").strip()
    try:
        value = json.loads(payload)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _choice(event: dict[str, Any] | None) -> dict[str, Any] | None:
    choices = event.get("choices") if event else None
    return choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else None


def _usage(event: dict[str, Any] | None) -> int | None:
    usage = event.get("usage") if event else None
    tokens = usage.get("completion_tokens") if isinstance(usage, dict) else None
    return tokens if isinstance(tokens, int) else None


def _error(event: dict[str, Any] | None) -> str:
    """The message of `{"error": {"message": …}}` or of `{"message": …}`, as vLLM's versions write it."""
    error = event.get("error", event) if event else None
    message = error.get("message") if isinstance(error, dict) else error
    return str(message)[:200] if message else ""
