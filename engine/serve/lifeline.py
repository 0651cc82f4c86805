"""Ends the process when whoever holds the other end of its standard input is gone."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable

GRACE_S = 5.0


def watch_stdin(end: Callable[[], object]) -> None:
    """Call `end` (from another thread) when standard input closes; a process that then lives on is ended hard."""

    def wait() -> None:
        while os.read(sys.stdin.fileno(), 1024):
            pass
        end()
        threading.Event().wait(GRACE_S)
        os._exit(1)

    threading.Thread(target=wait, name="stdin-lifeline", daemon=True).start()
