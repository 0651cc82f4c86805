"""Errors as vLLM's API server words them: `{"error": {"message", "type", "param", "code"}}`."""

from __future__ import annotations

from aiohttp import web


class ApiError(Exception):
    """A request that is answered with an error."""

    def __init__(self, status: int, message: str, kind: str = "BadRequestError", param: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.kind = kind
        self.param = param

    def response(self) -> web.Response:
        """The JSON answer."""
        return error_response(self.status, self.message, self.kind, self.param)


def error_response(status: int, message: str, kind: str, param: str | None = None) -> web.Response:
    """Any error in vLLM's form."""
    error = {"message": message, "type": kind, "param": param, "code": status}
    return web.json_response({"error": error}, status=status)


def unknown_model(name: str) -> ApiError:
    """404 of a model that is not served here."""
    return ApiError(404, f"The model `{name}` does not exist.", "NotFoundError", "model")


def prompt_too_long(tokens: int, limit: int) -> ApiError:
    """400 of a prompt that leaves no room for an answer."""
    return ApiError(
        400,
        f"This model's maximum context length is {limit} tokens. However, your request has {tokens} input tokens. "
        "Please reduce the length of the input messages.",
        param="input_tokens",
    )


def answer_too_long(asked: int, tokens: int, limit: int) -> ApiError:
    """400 of more answer tokens than the context has room for."""
    return ApiError(
        400,
        f"'max_tokens' or 'max_completion_tokens' is too large: {asked}. This model's maximum context length is "
        f"{limit} tokens and your request has {tokens} input tokens ({asked} > {limit} - {tokens}).",
        param="max_tokens",
    )
