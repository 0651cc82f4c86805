"""What is being built, on the terminal: one living line each with the time it takes, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn


class Steps:
    """Lines on standard error, so that standard output keeps what was asked for."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True, highlight=False)
        columns = (SpinnerColumn(finished_text="✓"), TextColumn("{task.description}"), TimeElapsedColumn())
        self._lines = Progress(*columns, console=self._console)

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Draw from here on."""
        if not self._console.is_terminal:
            yield
            return
        with self._lines:
            yield

    @contextmanager
    def step(self, what: str) -> Iterator[None]:
        """One step that takes as long as the block."""
        begun = time.monotonic()
        line = self._begin(what)
        yield
        if line is not None:
            self._lines.update(line, completed=1)
        else:
            self.say(f"{what}: {time.monotonic() - begun:.0f} s")

    def say(self, text: str) -> None:
        """One line that stays."""
        self._console.print(text, soft_wrap=True, markup=False)

    def _begin(self, what: str) -> TaskID | None:
        if self._console.is_terminal:
            return self._lines.add_task(what, total=1)
        self.say(f"{what} …")
        return None
