"""One child process on a tether: logged to a file, ended with its parent however that ends."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from controller.errors import PermanentError

_TETHER = Path(__file__).with_name("tether.py")
_TAIL_BYTES = 4096


class Process:
    """Starts `argv` at once. Its output is appended to `log`; `env` replaces the environment where given.

    Raises PermanentError when the log cannot be opened or no process can be made. A command that does not exist
    is a process that ends with code 127 and says so in its log.
    """

    def __init__(self, name: str, argv: Sequence[str], log: Path, env: Mapping[str, str] | None = None) -> None:
        self.name = name
        self.argv = tuple(argv)
        self.log = log
        try:
            with log.open("ab") as output:
                self._child = subprocess.Popen(
                    [sys.executable, "-I", "-S", str(_TETHER), *argv],
                    stdin=subprocess.PIPE,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    env=env,
                    start_new_session=True,
                )
        except OSError as error:
            raise PermanentError(f"{name} could not be started: {error}") from error

    @property
    def pid(self) -> int:
        """Process id of the tether: a signal to it reaches the command, kill -9 included."""
        return self._child.pid

    def exit_code(self) -> int | None:
        """The exit code, 128 + N after signal N; None while it runs."""
        code = self._child.poll()
        if code is None:
            return None
        self._cut_lifeline()
        if code < 0:
            _end_session(self.pid)
        return code if code >= 0 else 128 - code

    def terminate(self) -> None:
        """Ask it to end (SIGTERM)."""
        self._child.terminate()

    def kill(self) -> None:
        """End it and all it started, now (SIGKILL)."""
        self._cut_lifeline()

    def wait(self, timeout_s: float) -> bool:
        """Whether it ended within the time."""
        try:
            self._child.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return False
        self._cut_lifeline()
        return True

    def end(self, grace_s: float) -> None:
        """Ask it to end, and kill it when the grace is over."""
        if self.exit_code() is not None:
            return
        self.terminate()
        if not self.wait(grace_s):
            self.kill()
            self._child.wait()

    def last_words(self, lines: int = 3) -> str:
        """The last non-empty lines of its log, in one line."""
        return last_words(self.log, lines)

    def _cut_lifeline(self) -> None:
        if self._child.stdin is not None:
            self._child.stdin.close()


def _end_session(session: int) -> None:
    """Kill what a killed tether could not: processes that its command had started, still in the tether's session."""
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if os.getsid(int(entry.name)) == session:
                os.kill(int(entry.name), signal.SIGKILL)


def last_words(log: Path, lines: int = 3) -> str:
    """The last non-empty lines of a log file, joined by " | "; empty if there is none."""
    try:
        with log.open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - _TAIL_BYTES))
            text = file.read().decode(errors="replace")
    except OSError:
        return ""
    kept = [line.strip() for line in text.splitlines() if line.strip()]
    return " | ".join(kept[-lines:])


def describe_exit(code: int) -> str:
    """An exit code in words: "ended with code 1", "was killed by signal 9"."""
    return f"was ended by signal {code - 128}" if code > 128 else f"ended with code {code}"
