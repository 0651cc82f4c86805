"""A small HTTP/1.1 response reader for streams: bytes in, body pieces out, no network.

Written out because a streamed token costs a general client's machinery some 50 µs, and a load generator that eats the
machine measures itself. It reads what HTTP/1.1 servers answer to a POST: content length, chunks, or until close.
"""

from __future__ import annotations

from enum import Enum, auto

MOST_HEAD_BYTES = 65_536


class ProtocolError(Exception):
    """The peer does not speak HTTP/1.1 as agreed."""


class _Expect(Enum):
    HEAD = auto()
    LENGTH = auto()
    CHUNK_SIZE = auto()
    CHUNK_BODY = auto()
    TRAILER = auto()
    CLOSE = auto()
    NOTHING = auto()


class ResponseReader:
    """Feed it what the socket gave; it answers with the body bytes that became readable.

    `status` is 0 until the head is complete. `done` says that the response is complete; `reusable`, that the
    connection may carry another request.
    """

    __slots__ = ("_buffer", "_expect", "_left", "done", "event_stream", "reusable", "status")

    def __init__(self) -> None:
        self.status = 0
        self.done = False
        self.reusable = True
        self.event_stream = False
        self._buffer = b""
        self._expect = _Expect.HEAD
        self._left = 0

    def feed(self, received: bytes) -> bytes:
        """Body bytes in `received` and what was held back before. Raises ProtocolError."""
        self._buffer = self._buffer + received if self._buffer else received
        pieces: list[bytes] = []
        while self._advance(pieces):
            pass
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def closed(self) -> None:
        """The peer closed: the end of a response without a length. Raises ProtocolError if it came too early."""
        if self._expect is _Expect.CLOSE:
            self._finish()
        elif not self.done:
            raise ProtocolError("connection closed before the end of the answer")

    def _advance(self, pieces: list[bytes]) -> bool:
        """Take one element off the buffer; False when more bytes are needed."""
        if self._expect is _Expect.CHUNK_SIZE:
            return self._chunk_size()
        if self._expect is _Expect.CHUNK_BODY:
            return self._chunk_body(pieces)
        if self._expect is _Expect.HEAD:
            return self._head()
        if self._expect is _Expect.LENGTH:
            return self._plain(pieces)
        if self._expect is _Expect.TRAILER:
            return self._trailer()
        if self._expect is _Expect.CLOSE and self._buffer:
            pieces.append(self._take(len(self._buffer)))
        elif self._expect is _Expect.NOTHING and self._buffer:
            raise ProtocolError("bytes after the end of the answer")
        return False

    def _take(self, count: int) -> bytes:
        taken, self._buffer = self._buffer[:count], self._buffer[count:]
        return taken

    def _line(self) -> bytes | None:
        end = self._buffer.find(b"\r\n")
        if end < 0:
            if len(self._buffer) > MOST_HEAD_BYTES:
                raise ProtocolError("a line without end")
            return None
        return self._take(end + 2)[:-2]

    def _chunk_size(self) -> bool:
        line = self._line()
        if line is None:
            return False
        try:
            self._left = int(line.partition(b";")[0], 16)
        except ValueError:
            raise ProtocolError(f"bad chunk size {line[:40]!r}") from None
        if self._left < 0:
            raise ProtocolError(f"bad chunk size {line[:40]!r}")
        self._expect = _Expect.CHUNK_BODY if self._left else _Expect.TRAILER
        return True

    def _chunk_body(self, pieces: list[bytes]) -> bool:
        """The rest of a chunk and the line end behind it; what is there of an unfinished chunk is given on."""
        if len(self._buffer) >= self._left + 2:
            body = self._take(self._left + 2)
            if body[-2:] != b"\r\n":
                raise ProtocolError("a chunk longer than it said")
            pieces.append(body[:-2])
            self._expect = _Expect.CHUNK_SIZE
            return True
        ready = min(self._left, len(self._buffer))
        if ready:
            pieces.append(self._take(ready))
            self._left -= ready
        return False

    def _trailer(self) -> bool:
        line = self._line()
        if line is None:
            return False
        if not line:
            self._finish()
        return not self.done

    def _plain(self, pieces: list[bytes]) -> bool:
        if self._buffer and self._left:
            body = self._take(self._left)
            self._left -= len(body)
            pieces.append(body)
        if self._left == 0:
            self._finish()
        return False

    def _finish(self) -> None:
        self._expect, self.done = _Expect.NOTHING, True
        # The answer is whole; whatever follows it unasked is not to be taken for the next one's beginning.
        self.reusable = self.reusable and not self._buffer

    def _head(self) -> bool:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            if len(self._buffer) > MOST_HEAD_BYTES:
                raise ProtocolError("a head without end")
            return False
        head = self._take(end + 4)[:-4].decode("latin-1")
        first, *lines = head.split("\r\n")
        version, status = _status_line(first)
        if 100 <= status < 200:
            return True
        headers = _headers(lines)
        self.status = status
        self.reusable = version == "HTTP/1.1" and headers.get("connection", "").lower() != "close"
        self.event_stream = headers.get("content-type", "").startswith("text/event-stream")
        self._expect_body(headers)
        return not self.done

    def _expect_body(self, headers: dict[str, str]) -> None:
        if "chunked" in headers.get("transfer-encoding", "").lower():
            self._expect = _Expect.CHUNK_SIZE
        elif "content-length" in headers:
            length = headers["content-length"]
            if not length.isdecimal():
                raise ProtocolError(f"bad content length {length[:40]!r}")
            self._left = int(length)
            self._expect = _Expect.LENGTH
        else:
            self._expect, self.reusable = _Expect.CLOSE, False
        if self.status in (204, 304) or (self._expect is _Expect.LENGTH and not self._left):
            self._finish()


def _status_line(line: str) -> tuple[str, int]:
    version, _, rest = line.partition(" ")
    code = rest[:3]
    if version not in ("HTTP/1.1", "HTTP/1.0") or not code.isdecimal():
        raise ProtocolError(f"not an HTTP/1.1 answer: {line[:40]!r}")
    return version, int(code)


def _headers(lines: list[str]) -> dict[str, str]:
    pairs = (line.partition(":") for line in lines)
    return {name.strip().lower(): value.strip() for name, _, value in pairs}
