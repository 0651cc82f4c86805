"""Free TCP ports on the loopback interface.

A port is picked here and bound by another process some time later. It is therefore taken from below the range
that the kernel gives to outgoing connections: a busy proxy would else sooner or later sit on it.
"""

from __future__ import annotations

import random
import socket
from pathlib import Path

from controller.errors import UsageError

LOOPBACK = "127.0.0.1"
_LOWEST = 20_000
_USUAL_EPHEMERAL_START = 32_768
_ATTEMPTS = 500
_EPHEMERAL_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")

_given: set[int] = set()
_dice = random.Random()  # noqa: S311 - which port is no secret


def _ephemeral_start() -> int:
    try:
        start = int(_EPHEMERAL_RANGE.read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return _USUAL_EPHEMERAL_START
    return start if start > _LOWEST + 1_000 else _USUAL_EPHEMERAL_START


def is_free(port: int) -> bool:
    """Whether a server could listen on that port of the loopback interface now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
        return True


def free_port() -> int:
    """A port that is free now and was not given before by this process. Raises UsageError if none is found."""
    for _ in range(_ATTEMPTS):
        port = _dice.randrange(_LOWEST, _ephemeral_start())
        if port not in _given and is_free(port):
            _given.add(port)
            return port
    raise UsageError(f"no free port found on {LOOPBACK} between {_LOWEST} and {_ephemeral_start()}: end other servers")


def chosen_port(wanted: int, what: str) -> int:
    """`wanted` if it is free, any free port if it is 0. Raises UsageError naming `what` wanted it."""
    if wanted == 0:
        return free_port()
    if not is_free(wanted):
        raise UsageError(f"port {wanted} for {what} is in use by another program: choose another one, or 0 for any")
    return wanted
