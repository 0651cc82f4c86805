"""Which version of the program this is."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version


def program_version() -> str:
    """The installed version, or "unknown" in a bare checkout."""
    try:
        return version("vllm-governor")
    except PackageNotFoundError:
        return "unknown"
