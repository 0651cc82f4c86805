"""Append-only JSON lines: what happened to processes, and how many replicas there were when."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path


class EventLog:
    """One JSON object a line, each with `at` in UTC seconds. Reaches the file at once."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._failing = False

    def write(self, event: str, **fields: object) -> None:
        """Append one event. A disk that refuses is said once on standard error; the cluster goes on."""
        line = json.dumps({"at": round(time.time(), 3), "event": event, **fields}, ensure_ascii=False)
        try:
            with self._path.open("a") as file:
                file.write(line + "\n")
        except OSError as error:
            if not self._failing:
                sys.stderr.write(f"{self._path} cannot be written: {error.strerror}; events are lost until it can\n")
            self._failing = True
        else:
            self._failing = False
