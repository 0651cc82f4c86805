"""Answers as OpenAI clients expect them, whole or as server-sent events.

The events of a stream are prepared when it starts, one for each word that a token can be, so that a token costs one
write of bytes that exist already.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, cycle
from typing import Any

from engine.serve.asked import Asked
from engine.serve.token_text import WORDS, generated_text, word
from engine.sim.interface import Finished

Write = Callable[[bytes], None]
Frame = Callable[[bytes], bytes]
"""Wraps a server-sent event for the connection (HTTP/1.1 chunks)."""

DONE = b"data: [DONE]\n\n"

_OBJECTS = {"chat": ("chat.completion", "chat.completion.chunk"), "completion": ("text_completion", "text_completion")}
_PREFIXES = {"chat": "chatcmpl-", "completion": "cmpl-"}


@dataclass(frozen=True, slots=True)
class Envelope:
    """What all parts of one answer share."""

    asked: Asked
    id: str
    model: str
    created: int

    @staticmethod
    def of(asked: Asked, request_id: str, model: str) -> Envelope:
        """Head of an answer that begins now."""
        return Envelope(asked, _PREFIXES[asked.kind] + request_id, model, int(time.time()))

    def _head(self, *, chunk: bool) -> dict[str, Any]:
        name = _OBJECTS[self.asked.kind][chunk]
        return {"id": self.id, "object": name, "created": self.created, "model": self.model}

    def whole(self, ends: Sequence[Finished]) -> bytes:
        """The answer in one piece, one choice for each sequence."""
        choices = [self._whole_choice(index, end) for index, end in enumerate(ends)]
        return _json_bytes({**self._head(chunk=False), "choices": choices, "usage": self.usage(ends)})

    def usage(self, ends: Sequence[Finished]) -> dict[str, Any]:
        """Token counts of the whole answer."""
        prompt, output = self.asked.prompt_tokens, sum(end.output_tokens for end in ends)
        return {
            "prompt_tokens": prompt,
            "total_tokens": prompt + output,
            "completion_tokens": output,
            "prompt_tokens_details": None,
        }

    def events(self, index: int, frame: Frame) -> Iterator[bytes]:
        """Endless framed events of one choice, one a token; a chat's first one also names the role."""
        events = [self._event(index, text, None) for text in WORDS]
        framed = [frame(event) for event in events]
        return chain([frame(self._role(index) + events[0])], framed[1:], cycle(framed))

    def last_event(self, index: int, end: Finished) -> bytes:
        """The event of the last token, with the reason."""
        event = self._event(index, word(end.output_tokens - 1), end.reason)
        return self._role(index) + event if end.output_tokens == 1 else event

    def usage_event(self, ends: Sequence[Finished]) -> bytes:
        """The event after the last token where `include_usage` asked for it."""
        return self._sse([], self.usage(ends))

    def _role(self, index: int) -> bytes:
        if self.asked.kind != "chat":
            return b""
        return self._sse([{"index": index, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}])

    def _event(self, index: int, text: str, reason: str | None) -> bytes:
        choice: dict[str, Any] = {"index": index, "logprobs": None, "finish_reason": reason, "stop_reason": None}
        choice |= {"delta": {"content": text}} if self.asked.kind == "chat" else {"text": text}
        return self._sse([choice])

    def _sse(self, choices: list[dict[str, Any]], usage: dict[str, Any] | None = None) -> bytes:
        body = {**self._head(chunk=True), "choices": choices}
        if self.asked.include_usage:
            body["usage"] = usage
        return b"data: %s\n\n" % _json_bytes(body)

    def _whole_choice(self, index: int, end: Finished) -> dict[str, Any]:
        text = generated_text(end.output_tokens)
        tail = {"logprobs": None, "finish_reason": end.reason, "stop_reason": None}
        if self.asked.kind == "chat":
            message = {"role": "assistant", "content": text, "tool_calls": []}
            return {"index": index, "message": message, **tail}
        return {"index": index, "text": text, **tail, "prompt_logprobs": None}


class Answer:
    """Collects the ends of all sequences of one request."""

    def __init__(self, sequences: int) -> None:
        self._ends: dict[int, Finished] = {}
        self.sequences = sequences
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @property
    def ends(self) -> list[Finished]:
        """Ends by choice; complete when `done`."""
        return [self._ends[index] for index in sorted(self._ends)]

    def ended(self, index: int, end: Finished) -> None:
        """One sequence got its last token."""
        self._ends[index] = end
        if len(self._ends) == self.sequences and not self.done.done():
            self.done.set_result(None)


class Collected:
    """A sink for an answer in one piece: only the end matters."""

    def __init__(self, answer: Answer, index: int) -> None:
        self._answer = answer
        self._index = index

    def token(self) -> None:
        """See `Sink.token`."""

    def finish(self, end: Finished) -> None:
        """See `Sink.finish`."""
        self._answer.ended(self._index, end)


class Streamed:
    """A sink that writes one event a token."""

    def __init__(self, answer: Answer, index: int, envelope: Envelope, write: Write, frame: Frame) -> None:
        self._answer = answer
        self._index = index
        self._envelope = envelope
        self._write = write
        self._frame = frame
        self._events = envelope.events(index, frame)

    def token(self) -> None:
        """See `Sink.token`."""
        self._write(next(self._events))

    def finish(self, end: Finished) -> None:
        """See `Sink.finish`."""
        self._write(self._frame(self._envelope.last_event(self._index, end)))
        self._answer.ended(self._index, end)


def _json_bytes(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
