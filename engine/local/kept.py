"""A process that is kept running: started again, after growing pauses, when it dies."""

from __future__ import annotations

import time
from collections.abc import Container, Mapping, Sequence
from pathlib import Path

from controller.errors import GovernorError, PermanentError
from engine.local.process import Process, describe_exit

_STEADY_S = 10.0
"""A process that ran so long has proved that it can; the next pause is short again."""
_PAUSE_S = 0.5
_PAUSE_MAX_S = 10.0

NEVER = range(0)
ALWAYS = range(256)
MISTAKE = (2,)
"""The exit code of a program that was given what makes no sense."""


class Kept:
    """Starts at once. `look()` has to be called now and then; nothing happens between.

    `final` says which exit codes make a death final: those after which another start would end the same.
    Raises PermanentError when it cannot be started at all.
    """

    def __init__(
        self,
        name: str,
        argv: Sequence[str],
        log: Path,
        env: Mapping[str, str] | None = None,
        final: Container[int] = NEVER,
    ) -> None:
        self.name = name
        self.restarts = 0
        self.failure: str | None = None
        """Why it will not run any more; None while there is hope."""
        self._final = final
        self._argv, self._log, self._env = tuple(argv), log, env
        self._suspended = False
        self._pause_s = _PAUSE_S
        self._next_start_at: float | None = None
        self.process = self._make()
        self._started_at = time.monotonic()

    def look(self) -> None:
        """Notice a death, and start again when the pause is over."""
        code = self.process.exit_code()
        if code is None or self._suspended or self.failure:
            return
        if code in self._final:
            self.failure = self.obituary(code)
        elif self._next_start_at is None:
            steady = time.monotonic() - self._started_at > _STEADY_S
            self._pause_s = _PAUSE_S if steady else min(2 * self._pause_s, _PAUSE_MAX_S)
            self._next_start_at = time.monotonic() + self._pause_s
        elif time.monotonic() >= self._next_start_at:
            self._start()

    def suspend(self) -> None:
        """Kill it (SIGKILL), and leave it dead until `resume()`."""
        self._suspended = True
        self.process.kill()
        self.process.wait(5.0)

    def resume(self) -> None:
        """Start it again, at once, after `suspend()`."""
        if self._suspended:
            self._suspended = False
            self._start()

    def obituary(self, code: int) -> str:
        """How it ended, with the last lines of its log."""
        words = self.process.last_words()
        said = f": {words}" if words else ""
        return f"{self.name} {describe_exit(code)}{said} (log: {self.process.log})"

    def expect_running(self) -> None:
        """Raises PermanentError with its last words when it has ended."""
        code = self.process.exit_code()
        if code is not None:
            raise PermanentError(self.obituary(code))

    def _make(self) -> Process:
        return Process(self.name, self._argv, self._log, self._env)

    def _start(self) -> None:
        self._next_start_at = None
        try:
            self.process = self._make()
        except GovernorError as error:
            self.failure = str(error)
            return
        self.restarts += 1
        self._started_at = time.monotonic()
