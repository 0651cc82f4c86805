"""The daemon's log."""

from __future__ import annotations

import errno
import io
import json

import structlog

from controller.cli.logs import Unbreakable


class FullDisk(io.StringIO):
    """A stream on a disk that takes no more."""

    def write(self, text: str) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_log_that_cannot_be_written_stops_nobody() -> None:
    log = structlog.PrintLogger(Unbreakable(FullDisk()))  # type: ignore[arg-type]

    log.error("memory not saved")


def test_what_can_be_written_is_written() -> None:
    stream = io.StringIO()

    structlog.PrintLogger(Unbreakable(stream)).info(json.dumps({"event": "cycle"}))  # type: ignore[arg-type]

    assert json.loads(stream.getvalue()) == {"event": "cycle"}
