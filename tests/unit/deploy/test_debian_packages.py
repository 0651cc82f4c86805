"""The script that provides Debian packages, with an apt-get that does as the test says."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[3] / "deploy/local/debian-packages.sh"
REFUSING = 'echo "E: Unable to locate package $5" >&2; exit 100'


@pytest.fixture
def bin_dir(tmp_path: Path) -> Path:
    """The first folder of the path, in which the user is root."""
    place(tmp_path / "id", "echo 0")
    return tmp_path


def place(path: Path, script: str) -> None:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def run(bin_dir: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PATH": f"{bin_dir}:/usr/bin:/bin", "failed": "yes", "TMPDIR": str(bin_dir)}
    return subprocess.run(
        ["sh", str(SCRIPT), *arguments], env=env, capture_output=True, text=True, timeout=30, check=False
    )


@pytest.mark.parametrize(("option", "code"), [((), 0), (("--required",), 1)], ids=["wished for", "required"])
def test_a_refused_installation_shows_why_and_how_to_do_it(bin_dir: Path, option: tuple[str, ...], code: int) -> None:
    place(bin_dir / "apt-get", REFUSING)
    ended = run(bin_dir, *option, "sh", "frobnicator")
    assert ended.returncode == code
    assert "  E: Unable to locate package frobnicator\n" in ended.stderr
    assert "missing: frobnicator. To install: sudo apt-get install frobnicator\n" in ended.stderr
    assert sorted(path.name for path in bin_dir.iterdir()) == ["apt-get", "id"], "the temporary file is removed"


def test_an_installation_that_works_is_all_right_whatever_the_environment_holds(bin_dir: Path) -> None:
    place(bin_dir / "apt-get", f"printf '#!/bin/sh\\n' > {bin_dir}/frobnicator; chmod +x {bin_dir}/frobnicator")
    ended = run(bin_dir, "--required", "frobnicator")
    assert (ended.returncode, ended.stderr) == (0, "")


def test_nothing_is_done_where_all_is_there(bin_dir: Path) -> None:
    place(bin_dir / "apt-get", "echo called >&2")
    ended = run(bin_dir, "--required", "sh", "cat")
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
