"""HTTP reading with an end: bounded in time as a whole (not only between two bytes) and in size."""

from __future__ import annotations

import io
import json
import threading
import time
from typing import Any

import requests
from urllib3.exceptions import HTTPError

_CHUNK_BYTES = 1 << 16


class TooLargeError(requests.RequestException):
    """The answer is longer than anybody asked for."""


class Answer(requests.Response):
    """A response that was read completely. Its JSON is parsed once, however often it is asked for."""

    document: Any = None

    def json(self, **kwargs: Any) -> Any:
        """The parsed body. Raises ValueError if it is no JSON."""
        if self.document is None:
            self.document = json.loads(self.content, **kwargs)
        return self.document


class BoundedSession(requests.Session):
    """A session whose requests end within their timeout and whose answers are kept for a second look.

    Client libraries drop what they do not know (`warnings` of Thanos and Mimir): `take_answer` has the raw
    answer. Neither proxies nor passwords are taken from the environment.
    """

    def __init__(self, max_bytes: int) -> None:
        super().__init__()
        self.trust_env = False
        self._max_bytes = max_bytes
        self._answers = threading.local()

    def take_answer(self) -> Answer | None:
        """The calling thread's newest answer, once; None after a request that got none."""
        answer: Answer | None = getattr(self._answers, "newest", None)
        self._answers.newest = None
        return answer

    def request(self, method: str | bytes, url: str | bytes, *args: Any, **kwargs: Any) -> Answer:
        """Send and read to the end. Raises requests.RequestException, `Timeout` among them, and `TooLargeError`."""
        self._answers.newest = None
        timeout_s = kwargs.get("timeout")
        ends_at = time.monotonic() + timeout_s if timeout_s else None
        with super().request(method, url, *args, **{**kwargs, "stream": True}) as response:
            body = self._body(response, ends_at)
        answer = Answer()
        answer.__dict__.update(response.__dict__)
        answer.raw = io.BytesIO(body)
        self._answers.newest = answer
        return answer

    def _body(self, response: requests.Response, ends_at: float | None) -> bytes:
        body = bytearray()
        while chunk := _chunk(response):
            body += chunk
            if len(body) > self._max_bytes:
                raise TooLargeError(f"the answer is longer than {self._max_bytes} bytes")
            if ends_at is not None and time.monotonic() > ends_at:
                raise requests.ReadTimeout("the answer did not end in time")
        return bytes(body)


def _chunk(response: requests.Response) -> bytes:
    """What has arrived, waiting for at most the socket's timeout; empty at the end."""
    try:
        return bytes(response.raw.read1(_CHUNK_BYTES, decode_content=True) or b"")
    except (OSError, ValueError, HTTPError) as error:
        raise requests.ConnectionError(f"the answer broke off: {error}") from error
