"""What an installation of real vLLM takes: pinned files, sizes, what the machine must offer. Changes nothing."""

from __future__ import annotations

import hashlib
import platform
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from controller.errors import TransientError, UsageError
from engine.real.environment import script

PYTHON_VERSION = (3, 11)
"""The locked wheels are CPython 3.11's."""
TORCH_CPU = "2.13.0+cpu"
_TORCH = "torch"
_LEAST_GLIBC = (2, 34)
"""What the most demanding locked wheel (cryptography) needs."""
_ASK_TIMEOUT_S = 120
_GB = 1e9

LOCK = script("requirements.lock")
GPU_LOCK = script("torch-gpu.lock")


@dataclass(frozen=True, slots=True)
class Recipe:
    """One way to install. Bytes are decimal; disk is the peak, downloads included."""

    torch: str
    """What kind of torch."""
    download_bytes: float
    disk_bytes: float
    steps: tuple[tuple[str, tuple[str, ...]], ...]
    """What is being installed, and pip's arguments for it, in order."""

    @property
    def digest(self) -> str:
        """Changes with any pinned file."""
        pins = "".join(path.read_text(encoding="utf-8") for path in (LOCK, GPU_LOCK))
        return hashlib.sha256((self.torch + pins).encode()).hexdigest()


_REST = ("vLLM and 145 libraries", ("--no-deps", "--require-hashes", "--requirement", str(LOCK)))

CPU = Recipe(
    torch="CPU build",
    download_bytes=0.6 * _GB,
    disk_bytes=3.5 * _GB,
    steps=((f"torch {TORCH_CPU}", ("--no-deps", f"{_TORCH}=={TORCH_CPU}")), _REST),
)
"""Where pip is configured with an index or a folder that has torch's CPU build."""

GPU = Recipe(
    torch="CUDA build, used on the CPU",
    download_bytes=3.2 * _GB,
    disk_bytes=9.5 * _GB,
    steps=(
        ("torch and the libraries it loads", ("--no-deps", "--require-hashes", "--requirement", str(GPU_LOCK))),
        _REST,
    ),
)
"""Everywhere else: the ordinary build with its CUDA libraries, which cannot be left out."""


def recipe_for(torch_versions: str) -> Recipe:
    """The recipe, by the versions of torch that pip can find."""
    return CPU if TORCH_CPU in torch_versions.replace(",", " ").split() else GPU


def require_platform(system: str, machine: str, libc: tuple[str, str]) -> None:
    """Raise UsageError where the wheels cannot run. Arguments as `platform` gives them."""
    if (system, machine) != ("Linux", "x86_64"):
        raise UsageError(
            f"real vLLM on the CPU is locked for Linux on x86_64, this is {system} on {machine}: "
            "use the simulated engine here (`governor local` without --engine)"
        )
    name, version = libc
    if name != "glibc" or _numbers(version) < _LEAST_GLIBC:
        raise UsageError(
            f"the locked wheels need glibc 2.34 or newer, this system has {name or 'another libc'} {version}: "
            "use a newer distribution, or the simulated engine"
        )


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit())


def this_platform() -> tuple[str, str, tuple[str, str]]:
    """System, machine and C library of this machine."""
    return platform.system(), platform.machine(), platform.libc_ver()


def find_python(explicit: str | None = None) -> Path:
    """A CPython 3.11: the one named, else this one, else `python3.11` on the PATH. Raises UsageError."""
    if explicit is None and sys.version_info[:2] == PYTHON_VERSION:
        return Path(sys.executable)
    found = shutil.which(explicit or "python3.11")
    if found is None:
        what = f"{explicit} was not found" if explicit else "no python3.11 was found"
        raise UsageError(f"vLLM's locked wheels need CPython 3.11 and {what}: install it, or name it with --python")
    answer = _ask(found, "-c", "import sys; print(sys.implementation.name, *sys.version_info[:2])")
    if answer.stdout.split() != ["cpython", "3", "11"]:
        raise UsageError(f"vLLM's locked wheels need CPython 3.11, {found} is another Python: name one with --python")
    return Path(found)


def require_disk(root: Path, needed_bytes: float) -> None:
    """Raise UsageError when the file system of `root` has too little room."""
    folder = next(parent for parent in (root, *root.parents) if parent.exists())
    free = shutil.disk_usage(folder).free
    if free < needed_bytes:
        raise UsageError(
            f"installing vLLM takes {needed_bytes / _GB:.1f} GB of disk, {folder} has {free / _GB:.1f} GB free: "
            "make room, or choose another folder with --into"
        )


def torch_versions(python: Path) -> str:
    """The versions of torch that pip, as it is configured here, can find. Raises TransientError if none."""
    answer = _ask(str(python), "-m", "pip", "index", "versions", "--disable-pip-version-check", _TORCH)
    for line in answer.stdout.splitlines():
        label, _, versions = line.partition(":")
        if label.strip().lower() == "available versions":
            return versions
    complaint = next((line for line in reversed(answer.stderr.splitlines()) if line.strip()), "pip gave no reason")
    raise TransientError(
        f"pip finds no torch ({complaint.removeprefix('ERROR: ')}): check the network, or pip's index configuration "
        "(`pip config list`), and try again"
    )


def _ask(*argv: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(argv, capture_output=True, text=True, timeout=_ASK_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise TransientError(f"`{' '.join(argv)}` gave no answer in {_ASK_TIMEOUT_S} s: check the network") from error
    except OSError as error:
        raise UsageError(f"{argv[0]} cannot be run: {error.strerror}") from error
