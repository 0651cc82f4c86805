"""Builds one command, or copies one set of definitions, from its Go module into the cache: whole, or not at all."""

from __future__ import annotations

import re
import shutil
import tempfile
from pathlib import Path

from controller.errors import PermanentError
from engine.local.process import Process, describe_exit
from tests.cluster.plane.golang import download, go_environment
from tests.cluster.plane.pins import Definitions, Program

_BUILD_S = 3600
_GO_LINE = re.compile(r"^go (\S+)$", re.MULTILINE)
_STAGING = re.compile(r"^\s*(?:require )?(k8s\.io/\S+) v0\.0\.0(?:\s*//.*)?$", re.MULTILINE)


def build(program: Program, go: Path, cache: Path) -> None:
    """Build a command into its folder of the cache. Raises PermanentError with the compiler's last words."""
    module = download(go, program.module, program.version)
    with tempfile.TemporaryDirectory(dir=cache, prefix=f".{program.name}-") as temporary:
        place = Path(temporary)
        (place / "go.mod").write_text(go_mod(program, Path(module["GoMod"]).read_text()))
        made = place / "made" / program.name
        made.parent.mkdir()
        argv = [str(go), "-C", str(place), "build", "-mod=mod", "-trimpath", "-buildvcs=false"]
        argv += ["-ldflags", program.linker_flags, "-o", str(made), program.package]
        _run(program, argv, place / "build.log")
        _put(made.parent, cache / program.folder)


def copy_definitions(wanted: Definitions, go: Path, cache: Path) -> None:
    """Copy definitions into their folder of the cache. Raises PermanentError."""
    source = Path(download(go, wanted.module, wanted.version)["Dir"])
    files = [file for pattern in wanted.patterns for file in sorted(source.glob(pattern))]
    if not files:
        raise PermanentError(f"{wanted.module}@{wanted.version} has no file {' or '.join(wanted.patterns)}")
    with tempfile.TemporaryDirectory(dir=cache, prefix=".crds-") as temporary:
        made = Path(temporary) / "made"
        made.mkdir()
        for file in files:
            (made / file.name).write_bytes(file.read_bytes())
        _put(made, cache / wanted.folder)


def go_mod(program: Program, modules_own: str) -> str:
    """A module around the command's own, which cannot be installed by name: its go.mod replaces modules by folders.

    `modules_own` is the text of that go.mod. Kubernetes' staging modules, which it requires as v0.0.0, are released
    as v0.X.Y for each Kubernetes v1.X.Y.
    """
    version = _GO_LINE.search(modules_own)
    lines = [f"module governor.dev/test-cluster/{program.name}", f"go {version[1]}"] if version else []
    lines.append(f"require {program.module} {program.version}")
    released = re.sub(r"^v1\.", "v0.", program.version)
    lines += [f"replace {name} => {name} {released}" for name in sorted(set(_STAGING.findall(modules_own)))]
    return "\n".join(lines) + "\n"


def _run(program: Program, argv: list[str], log: Path) -> None:
    compiler = Process(f"go build {program.name}", argv, log, go_environment())
    try:
        if not compiler.wait(_BUILD_S):
            raise PermanentError(f"{program.name} was not built in {_BUILD_S} s: {compiler.last_words(5)}")
    finally:
        compiler.kill()
    code = compiler.exit_code()
    if code:
        raise PermanentError(
            f"{program.name} {program.version} could not be built, go {describe_exit(code)}: {compiler.last_words(5)}"
        )


def _put(made: Path, folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    made.rename(folder)
