"""The running parts of a plane: each a process on a tether with its log, and the wait until it serves."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import requests

from controller.errors import PermanentError
from engine.local.process import Process, describe_exit

_LAST_LINES = 8
_END_S = 15.0
_PROBE_S = 2.0
_EVERY_S = 0.05
_NOT_INHERITED = ("KUBECONFIG", "KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT")


class Parts:
    """Processes by name. Each ends with the process that holds them, kill -9 included."""

    def __init__(self, log_of: Callable[[str], Path]) -> None:
        self._log_of = log_of
        self._running: dict[str, Process] = {}

    def start(self, name: str, argv: Sequence[str], env: Mapping[str, str] | None = None) -> None:
        """Start a part. Raises PermanentError when no process can be made."""
        inherited = {key: value for key, value in os.environ.items() if key not in _NOT_INHERITED}
        self._running[name] = Process(name, argv, self._log_of(name), {**inherited, **(env or {})})

    def wait_for(self, name: str, is_ready: Callable[[], bool], timeout_s: float) -> None:
        """Until it is ready. Raises PermanentError with the end of its log when it ends, or the time does."""
        ends_at = time.monotonic() + timeout_s
        while not is_ready():
            self.check(name)
            if time.monotonic() > ends_at:
                raise PermanentError(f"{name} is not ready after {timeout_s:g} s: {self._last_words(name)}")
            time.sleep(_EVERY_S)

    def check(self, *names: str) -> None:
        """Raise PermanentError with the end of its log if one of them, or by default any, has ended."""
        for name in names or tuple(self._running):
            code = self._running[name].exit_code()
            if code is not None:
                raise PermanentError(f"{name} {describe_exit(code)}: {self._last_words(name)}")

    def end(self, *names: str) -> None:
        """Kill these, or all, and wait until they are gone: nothing that they hold is kept."""
        ended = [self._running.pop(name) for name in names or tuple(self._running)]
        for process in ended:
            process.kill()
        for process in ended:
            process.wait(_END_S)

    def is_running(self, name: str) -> bool:
        """Whether it was started and not ended by us."""
        return name in self._running

    def _last_words(self, name: str) -> str:
        return f"{self._running[name].last_words(_LAST_LINES)} (all of it: {self._log_of(name)})"


def answers(url: str, verify: Path | None = None) -> bool:
    """Whether a GET of the address is answered with 200."""
    try:
        answer = requests.get(url, timeout=_PROBE_S, verify=str(verify) if verify else None)
    except requests.RequestException:
        return False
    return bool(answer.status_code == requests.codes.ok)
