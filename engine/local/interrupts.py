"""Signals that ask a foreground program to end, turned into an orderly end."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any

_ASKED = (signal.SIGTERM, signal.SIGHUP)


class Interrupts:
    """SIGTERM and SIGHUP raise KeyboardInterrupt, as Ctrl-C does, until `ending()`: then all three only mean haste.

    Does nothing outside the main thread, where Python handles no signals.
    """

    def __init__(self) -> None:
        self.hurried = False
        """Whether somebody asked again while the end was under way."""
        self._former: dict[int, Any] = {}

    def catch(self) -> None:
        """Raise KeyboardInterrupt from now on."""
        for number in _ASKED:
            self._set(number, _interrupt)

    def ending(self) -> None:
        """Take note only, from now on."""
        for number in (*_ASKED, signal.SIGINT):
            self._set(number, self._hurry)

    def restore(self) -> None:
        """Put back what was there before."""
        while self._former:
            number, handler = self._former.popitem()
            signal.signal(number, handler)

    def _set(self, number: int, handler: Any) -> None:
        if threading.current_thread() is threading.main_thread():
            former = signal.signal(number, handler)
            self._former.setdefault(number, former)

    def _hurry(self, _number: int, _frame: FrameType | None) -> None:
        self.hurried = True


def _interrupt(number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt(signal.Signals(number).name)
