"""What a client asks for: OpenAI request bodies read as vLLM reads them.

Not simulated, and ignored where given: log probabilities, tools, `echo`, `stop` strings (the synthetic text has no
meaning to stop at), sampling parameters beyond their ranges.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from engine.serve.errors import ApiError, answer_too_long, prompt_too_long
from engine.serve.token_text import ANSWER_START_TOKENS, MESSAGE_TOKENS, text_tokens

Kind = Literal["chat", "completion"]

TokenIds = list[int]
Positive = Annotated[int, Field(ge=1, le=1_000_000_000)]


class _StreamOptions(BaseModel):
    include_usage: bool = False


class _Body(BaseModel):
    model_config = ConfigDict(extra="ignore")

    model: str | None = None
    n: Annotated[int, Field(ge=1, le=128)] = 1
    min_tokens: Annotated[int, Field(ge=0)] = 0
    ignore_eos: bool = False
    stream: bool | None = False
    stream_options: _StreamOptions | None = None
    temperature: float | None = None
    top_p: float | None = None


class _Completion(_Body):
    prompt: str | list[str] | TokenIds | list[TokenIds]
    max_tokens: Positive | None = 16


class _Chat(_Body):
    messages: Annotated[list[dict[str, Any]], Field(min_length=1)]
    max_tokens: Positive | None = None
    max_completion_tokens: Positive | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """A valid request for answers."""

    kind: Kind
    model: str | None
    """None: whatever is served."""
    prompts: tuple[int, ...]
    """Tokens of each prompt."""
    n: int
    max_tokens: int | None
    """None: as much as the context has room for."""
    min_tokens: int
    ignore_eos: bool
    stream: bool
    include_usage: bool

    @property
    def prompt_tokens(self) -> int:
        """Tokens of all prompts, each counted once as in `usage`."""
        return sum(self.prompts)

    def allowed_tokens(self, prompt_tokens: int, max_model_len: int) -> int:
        """Answer tokens that one prompt may have."""
        room = max_model_len - prompt_tokens
        return room if self.max_tokens is None else self.max_tokens


def read_asked(kind: Kind, body: bytes, max_model_len: int) -> Asked:
    """Parse and check a body. Raises ApiError (400)."""
    parsed = _parse(kind, body)
    _check_ranges(parsed)
    asked = Asked(
        kind=kind,
        model=parsed.model,
        prompts=_prompt_tokens(parsed),
        n=parsed.n,
        max_tokens=_max_tokens(parsed),
        min_tokens=parsed.min_tokens,
        ignore_eos=parsed.ignore_eos,
        stream=bool(parsed.stream),
        include_usage=bool(parsed.stream and parsed.stream_options and parsed.stream_options.include_usage),
    )
    _check_lengths(asked, max_model_len)
    return asked


def _parse(kind: Kind, body: bytes) -> _Completion | _Chat:
    shape = _Chat if kind == "chat" else _Completion
    try:
        return shape.model_validate_json(body)
    except ValidationError as error:
        problems = [{"type": e["type"], "loc": ["body", *e["loc"]], "msg": e["msg"]} for e in error.errors()]
        first = error.errors()[0]["loc"]
        raise ApiError(400, str(problems), param=str(first[0]) if first else None) from None


def _check_ranges(parsed: _Body) -> None:
    if parsed.temperature is not None and parsed.temperature < 0:
        raise ApiError(400, f"temperature must be non-negative, got {parsed.temperature}.", param="temperature")
    if parsed.top_p is not None and not 0 < parsed.top_p <= 1:
        raise ApiError(400, f"top_p must be in (0, 1], got {parsed.top_p}.", param="top_p")
    if parsed.stream_options is not None and not parsed.stream:
        raise ApiError(400, "Stream options can only be defined when `stream=True`.", param="stream_options")


def _check_lengths(asked: Asked, max_model_len: int) -> None:
    for tokens in asked.prompts or (0,):
        if tokens < 1:
            raise ApiError(400, "The decoder prompt cannot be empty", param="prompt")
        if tokens >= max_model_len:
            raise prompt_too_long(tokens, max_model_len)
        if asked.max_tokens is not None and asked.max_tokens > max_model_len - tokens:
            raise answer_too_long(asked.max_tokens, tokens, max_model_len)
    if asked.max_tokens is not None and asked.min_tokens > asked.max_tokens:
        raise ApiError(
            400,
            f"min_tokens must be less than or equal to max_tokens={asked.max_tokens}, got {asked.min_tokens}.",
            param="min_tokens",
        )


def _max_tokens(parsed: _Completion | _Chat) -> int | None:
    if isinstance(parsed, _Chat) and parsed.max_completion_tokens is not None:
        return parsed.max_completion_tokens
    return parsed.max_tokens


def _prompt_tokens(parsed: _Completion | _Chat) -> tuple[int, ...]:
    if isinstance(parsed, _Chat):
        return (sum(map(_message_tokens, parsed.messages)) + ANSWER_START_TOKENS,)
    prompt = parsed.prompt
    if isinstance(prompt, str):
        return (text_tokens(prompt),)
    ids = [part for part in prompt if isinstance(part, int)]
    if ids:
        return (len(ids),)
    return tuple(
        text_tokens(part) if isinstance(part, str) else len(part) for part in prompt if not isinstance(part, int)
    )


def _message_tokens(message: dict[str, Any]) -> int:
    content = message.get("content")
    parts = content if isinstance(content, list) else [{"text": content}]
    texts = (part.get("text") for part in parts if isinstance(part, dict))
    return MESSAGE_TOKENS + sum(text_tokens(text) for text in texts if isinstance(text, str))
