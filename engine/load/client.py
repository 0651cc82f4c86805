"""Streams completions over pooled connections, at a few microseconds a token. Knows nothing of schedules or judging."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from typing import cast
from urllib.parse import urlsplit

from controller.errors import UsageError
from engine.load.http1 import ProtocolError, ResponseReader
from engine.load.token_stream import TokenStream, error_message

CONNECT_TIMEOUT_S = 5.0
_KEPT_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Target:
    """Where requests go. `path` begins with a slash."""

    host: str
    port: int
    path: str

    @staticmethod
    def parse(url: str) -> Target:
        """The completions endpoint below a base address such as http://127.0.0.1:8000. Raises UsageError."""
        try:
            parts = urlsplit(url)
            port = parts.port or 80
        except ValueError as error:
            raise UsageError(f"target {url!r}: {error}; write http://HOST:PORT") from error
        if parts.scheme != "http" or not parts.hostname:
            raise UsageError(f"target {url!r}: not a plain HTTP address; write http://HOST:PORT")
        return Target(parts.hostname, port, parts.path.rstrip("/") + "/v1/completions")

    def max_model_len(self, model: str) -> int | None:
        """The context that the server says the model has at `/v1/models`, as vLLM does; None if it does not say.

        Blocks for at most 5 s a network operation.
        """
        connection = HTTPConnection(self.host, self.port, timeout=CONNECT_TIMEOUT_S)
        try:
            connection.request("GET", self.path.removesuffix("completions") + "models")
            models = json.loads(connection.getresponse().read(_KEPT_BYTES * 16))["data"]
            limit = next(entry["max_model_len"] for entry in models if entry["id"] == model)
        except (OSError, HTTPException, ValueError, LookupError, TypeError, StopIteration):
            return None
        finally:
            connection.close()
        return limit if isinstance(limit, int) and limit > 1 else None

    def request(self, body: bytes) -> bytes:
        """The whole POST as bytes."""
        head = (
            f"POST {self.path} HTTP/1.1\r\nHost: {self.host}:{self.port}\r\nContent-Type: application/json\r\n"
            f"Accept: text/event-stream\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body


class Exchange:
    """One request and its answer. `settled` is called once, when the answer is complete, broken or given up."""

    __slots__ = ("_body", "_connection", "_settled", "broken", "http_status", "payload", "retried", "stream")

    def __init__(self, payload: bytes, settled: Callable[[], None]) -> None:
        self.payload = payload
        self.stream = TokenStream()
        self.http_status = 0
        self.broken = ""
        """Why the answer did not come to its end; empty when it did."""
        self.retried = False
        self._body = b""
        self._connection: Connection | None = None
        self._settled: Callable[[], None] | None = settled

    @property
    def open(self) -> bool:
        """Not settled yet."""
        return self._settled is not None

    @property
    def refusal(self) -> str:
        """What the server said instead of a stream of completions; empty if it streamed."""
        if self.http_status == 0 or (self.http_status == 200 and not self._body):
            return ""
        return f"HTTP {self.http_status}: {error_message(self._body) or 'not a stream of completions'}"

    def carried_by(self, connection: Connection) -> None:
        """The request goes out on this connection."""
        self._connection = connection

    def answered(self, body: bytes, reader: ResponseReader) -> None:
        """Body bytes came: of the stream, or of what the server says instead."""
        self.http_status = reader.status
        if reader.event_stream and reader.status == 200:
            self.stream.feed(body, time.monotonic())
        else:
            self._body = (self._body + body)[:_KEPT_BYTES] or b" "

    def settle(self, broken: str = "") -> None:
        """The end, good or bad; later calls do nothing."""
        if self._settled is not None:
            settled, self._settled, self._connection, self.broken = self._settled, None, None, broken
            settled()

    def give_up(self, why: str) -> None:
        """Stop waiting; the connection is closed, so that the server can stop as well."""
        connection = self._connection
        self.settle(why)
        if connection is not None:
            connection.abort()

    def abandon(self) -> None:
        """As `give_up`, without telling anyone."""
        self._settled = None
        self.give_up("")


class Connection(asyncio.Protocol):
    """A keep-alive connection that carries one exchange at a time."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._transport: asyncio.Transport | None = None
        self._exchange: Exchange | None = None
        self._reader = ResponseReader()
        self._used = False
        self._answered = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Asyncio's callback."""
        # uvloop's transports do not inherit from asyncio's.
        self._transport = cast("asyncio.Transport", transport)

    def carry(self, exchange: Exchange) -> None:
        """Send the request; its answer goes to `exchange`."""
        self._exchange, self._reader, self._answered = exchange, ResponseReader(), False
        exchange.carried_by(self)
        if self._transport is None or self._transport.is_closing():
            self.connection_lost(None)
        else:
            self._transport.write(exchange.payload)

    def data_received(self, data: bytes) -> None:
        """Asyncio's callback: the hot path, once for each token."""
        exchange = self._exchange
        if exchange is None:
            self.abort()
            return
        reader = self._reader
        self._answered = True
        try:
            body = reader.feed(data)
        except ProtocolError as error:
            self._fail(str(error))
            return
        if body:
            exchange.answered(body, reader)
        if reader.done:
            self._complete(exchange)

    def connection_lost(self, exc: Exception | None) -> None:
        """Asyncio's callback. A pooled connection that the server closed meanwhile is no failure: sent again, once."""
        self._client.forget(self)
        exchange, self._exchange = self._exchange, None
        if exchange is None or not exchange.open:
            return
        if self._used and not self._answered and not exchange.retried:
            exchange.retried = True
            self._client.connect(exchange)
            return
        exchange.http_status = self._reader.status
        try:
            self._reader.closed()
            exchange.settle()
        except ProtocolError as error:
            exchange.settle(f"{error}" if exc is None else f"{error} ({exc})")

    def abort(self) -> None:
        """Close without a farewell."""
        if self._transport is not None:
            self._transport.abort()

    def _complete(self, exchange: Exchange) -> None:
        self._exchange, self._used = None, True
        exchange.http_status = self._reader.status
        if self._reader.reusable:
            self._client.release(self)
        else:
            self.abort()
        exchange.settle()

    def _fail(self, why: str) -> None:
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.http_status = self._reader.status
            exchange.settle(why)
        self.abort()


class Client:
    """Connections to one target: the one used last is used first, a new one is opened when none is idle."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._idle: list[Connection] = []
        self._connecting: set[asyncio.Task[None]] = set()

    def send(self, exchange: Exchange) -> None:
        """Send at once, or as soon as a connection stands. Failures settle the exchange; nothing raises."""
        if self._idle:
            self._idle.pop().carry(exchange)
        else:
            self.connect(exchange)

    def connect(self, exchange: Exchange) -> None:
        """Send over a new connection."""
        task = asyncio.get_running_loop().create_task(self._connect(exchange))
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)

    def release(self, connection: Connection) -> None:
        """The connection is idle again."""
        self._idle.append(connection)

    def forget(self, connection: Connection) -> None:
        """The connection is closed."""
        if connection in self._idle:
            self._idle.remove(connection)

    async def close(self) -> None:
        """Close every idle connection and stop connecting."""
        for task in list(self._connecting):
            task.cancel()
        await asyncio.gather(*self._connecting, return_exceptions=True)
        for connection in list(self._idle):
            connection.abort()

    async def _connect(self, exchange: Exchange) -> None:
        loop = asyncio.get_running_loop()
        opening = loop.create_connection(lambda: Connection(self), self._target.host, self._target.port)
        try:
            _, connection = await asyncio.wait_for(opening, CONNECT_TIMEOUT_S)
        except TimeoutError:
            exchange.settle(f"no connection within {CONNECT_TIMEOUT_S:g} s")
        except OSError as error:
            exchange.settle(f"no connection: {error}")
        else:
            if exchange.open:
                connection.carry(exchange)
            else:
                connection.abort()
