"""The parts of a test cluster: `python -m tests.cluster.plane.binaries` finds or builds them and says where they are.

A folder named by KUBEBUILDER_ASSETS that holds etcd, kube-apiserver and kubectl wins for those three. Everything else
is built once from pinned Go modules into `${XDG_CACHE_HOME:-~/.cache}/vllm-governor/cluster`, a folder for each part
and version; only the stripped binaries are kept there, so that it is what a CI caches. The first build takes about
20 minutes on two cores and is taken up where it was interrupted.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from controller.errors import GovernorError, TransientError, UsageError
from tests.cluster.plane.build import build, copy_definitions
from tests.cluster.plane.golang import find_go
from tests.cluster.plane.pins import DEFINITIONS, KUBEBUILDER, PROGRAMS, Definitions, Program
from tests.cluster.plane.progress import Steps

ASSETS = "KUBEBUILDER_ASSETS"
_LOCK_S = 2 * 3600
_COMMAND = "python -m tests.cluster.plane.binaries"


@dataclass(frozen=True, slots=True)
class Binaries:
    """Where every part lies."""

    programs: Mapping[str, Path]
    definitions: Mapping[str, Path]

    def program(self, wanted: Program) -> Path:
        """Path of a command."""
        return self.programs[wanted.name]

    def definition(self, name: str) -> Path:
        """Folder of YAML files with custom resource definitions: istio, prometheus-operator, gateway-api."""
        if name not in self.definitions:
            raise UsageError(f"no definitions are known by the name {name!r}: one of {', '.join(self.definitions)}")
        return self.definitions[name]


def cache_folder() -> Path:
    """Where built parts are kept."""
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "vllm-governor" / "cluster"


def located(cache: Path) -> Binaries:
    """Where every part lies or would lie."""
    programs = {program.name: cache / program.folder / program.name for program in PROGRAMS}
    return Binaries(programs | _assets(), {wanted.name: cache / wanted.folder for wanted in DEFINITIONS})


def installed() -> Binaries:
    """Every part, there already. Raises UsageError naming what is missing and how to get it."""
    cache = cache_folder()
    found = located(cache)
    missing = [program.name for program in _unbuilt(found)] + [wanted.name for wanted in _uncopied(found)]
    if missing:
        raise UsageError(f"the test cluster lacks {', '.join(missing)} in {cache}: run `{_COMMAND}`")
    return found


def install(steps: Steps | None = None) -> Binaries:
    """Every part, built where it is missing. Raises GovernorError saying what cannot be had, and the remedy."""
    cache, steps = cache_folder(), steps or Steps()
    if _is_complete(cache):
        return located(cache)
    cache.mkdir(parents=True, exist_ok=True)
    with steps.shown(), _locked(cache / "lock", steps):
        # Another builder may have finished it meanwhile.
        found = located(cache)
        programs, definitions = _unbuilt(found), _uncopied(found)
        if programs or definitions:
            _make(programs, definitions, cache, steps)
    return installed()


def _make(programs: list[Program], definitions: list[Definitions], cache: Path, steps: Steps) -> None:
    for left_by_a_killed_builder in cache.glob(".*"):
        shutil.rmtree(left_by_a_killed_builder, ignore_errors=True)
    with steps.step("Go toolchain"):
        go = find_go(cache)
    for wanted in definitions:
        with steps.step(f"{wanted.name} definitions {wanted.version}"):
            copy_definitions(wanted, go, cache)
    for program in programs:
        with steps.step(f"{program.name} {program.version}"):
            build(program, go, cache)


def _assets() -> dict[str, Path]:
    """What KUBEBUILDER_ASSETS offers: all of its three, or nothing."""
    folder = os.environ.get(ASSETS)
    if not folder:
        return {}
    files = {program.name: Path(folder).expanduser() / program.name for program in KUBEBUILDER}
    return files if all(_is_command(file) for file in files.values()) else {}


def _is_command(file: Path) -> bool:
    return file.is_file() and os.access(file, os.X_OK)


def _unbuilt(found: Binaries) -> list[Program]:
    return [program for program in PROGRAMS if not _is_command(found.program(program))]


def _uncopied(found: Binaries) -> list[Definitions]:
    return [wanted for wanted in DEFINITIONS if not found.definition(wanted.name).is_dir()]


def _is_complete(cache: Path) -> bool:
    found = located(cache)
    return not _unbuilt(found) and not _uncopied(found)


@contextmanager
def _locked(file: Path, steps: Steps) -> Iterator[None]:
    """Held by one builder at a time; given back by the kernel however the builder ends."""
    with file.open("w") as lock:
        ends_at, told = time.monotonic() + _LOCK_S, False
        while not _try_lock(lock.fileno()):
            if not told:
                steps.say(f"another build is under way ({file} is locked): waiting for it")
                told = True
            if time.monotonic() > ends_at:
                raise TransientError(f"another build has held {file} for {_LOCK_S} s: end it, or remove the file")
            time.sleep(1)
        yield


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def main() -> int:
    """The command: paths on standard output, 1 when something cannot be had."""
    try:
        found = install()
    except GovernorError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("interrupted: what was built is kept, the next run goes on from there\n")
        return 130
    for name, path in (*found.programs.items(), *found.definitions.items()):
        sys.stdout.write(f"{name:<24}{path}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
