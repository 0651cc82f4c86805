"""Runs one command, and ends it with everything it started once the process that asked for it is gone.

Usage: `python -I -S tether.py COMMAND ARGUMENT...`, with standard input as the lifeline: a pipe of which only the
caller holds the other end and into which nothing is ever written. Its end of file says that the caller is gone,
however it went, kill -9 included, on every system. On Linux the kernel says the same once more through
PR_SET_PDEATHSIG, and takes the command along should this process itself be killed.

The command gets a lifeline of its own as standard input, a process group of its own and, forwarded, the signals
that ask this process to end. The exit code is the command's, or 128 + N if signal N ended it.

Nothing but the standard library's quickest modules is imported: one tether runs beside each process.
"""

from __future__ import annotations

import os
import select
import signal
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_PR_SET_PDEATHSIG = 1
_NOT_STARTED = 127
_FORWARDED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_PARENT_DIED = signal.SIGUSR1


def _signal_when_parent_dies(number: signal.Signals) -> None:
    """Ask the Linux kernel for `number` when the parent dies (prctl(2)); elsewhere the lifeline alone serves."""
    if sys.platform == "linux":
        import ctypes  # noqa: PLC0415 - only where there is such a call

        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(number), 0, 0, 0)


def _become(argv: list[str], tether_pid: int, lifeline: int) -> None:
    """In the child: turn into the command. Never returns."""
    os.setpgid(0, 0)
    _signal_when_parent_dies(signal.SIGKILL)
    if os.getppid() != tether_pid:
        os._exit(_NOT_STARTED)
    os.dup2(lifeline, 0)
    # Python ignores these for itself; a command expects the usual.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    try:
        os.execvp(argv[0], argv)  # noqa: S606 - an argument list, no shell
    except OSError as error:
        os.write(2, f"cannot start {argv[0]}: {error.strerror}\n".encode())
        os._exit(_NOT_STARTED)


def _kill(call: Callable[[int, int], None], pid: int) -> None:
    try:
        call(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return


def _end_all(pid: int) -> None:
    """Kill what is left of the command: its process group, and where Linux lists it the rest of the session."""
    _kill(os.killpg, pid)
    own_pid = os.getpid()
    if sys.platform != "linux" or os.getsid(0) != own_pid:
        return
    for entry in os.listdir("/proc"):  # noqa: PTH208 - pathlib would double the time to start
        if entry.isdigit() and int(entry) != own_pid and _session(int(entry)) == own_pid:
            _kill(os.kill, int(entry))


def _session(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except (ProcessLookupError, PermissionError):
        return None


def _exit_code(pid: int) -> int | None:
    """The command's exit code, or None while it runs."""
    ended, status = os.waitpid(pid, os.WNOHANG)
    if not ended:
        return None
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def _watch(pid: int, parent: int, wake: int) -> int:
    """Wait until the command ends or the caller is gone; returns the exit code."""
    while True:
        readable, _, _ = select.select([0, wake], [], [])
        numbers = os.read(wake, 64) if wake in readable else b""
        orphaned = (0 in readable and not os.read(0, 64)) or os.getppid() != parent
        if orphaned:
            _end_all(pid)
            return 128 + signal.SIGKILL
        code = _exit_code(pid)
        if code is not None:
            _end_all(pid)
            return code
        for number in numbers:
            if number in _FORWARDED:
                os.kill(pid, number)


def main(argv: list[str]) -> int:
    """Run `argv` until it ends or the caller is gone; returns the exit code."""
    if not argv:
        sys.stderr.write("usage: tether.py COMMAND ARGUMENT...\n")
        return 2
    parent = os.getppid()
    wake, woken = os.pipe()
    os.set_blocking(woken, False)
    signal.set_wakeup_fd(woken, warn_on_full_buffer=False)
    for number in (*_FORWARDED, _PARENT_DIED, signal.SIGCHLD):
        signal.signal(number, lambda *_: None)
    _signal_when_parent_dies(_PARENT_DIED)
    lifeline, _held_open = os.pipe()
    own_pid = os.getpid()
    pid = os.fork()
    if pid == 0:
        _become(argv, own_pid, lifeline)
    os.close(lifeline)
    return _watch(pid, parent, wake)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
