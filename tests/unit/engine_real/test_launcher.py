"""The command line of a real replica, and where the installation is looked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from controller.errors import UsageError
from engine.local.config import LauncherConfig
from engine.local.launch import Launch, load_launcher
from engine.real.environment import HOME_VARIABLE, VllmHome, vllm_home
from engine.real.install import install, is_current, main
from engine.real.launcher import RealLauncher, server_options
from engine.real.requirements import GPU

LAUNCH = Launch(
    name="tiny-1", port=20123, fleet="default/tiny", variant="v1", model="org/tiny", initial=True
)  # fmt: skip


@pytest.fixture
def home(tmp_path: Path) -> VllmHome:
    """A folder that looks like a completed installation."""
    home = VllmHome(tmp_path / "vllm")
    home.python.parent.mkdir(parents=True)
    home.python.touch()
    home.model.mkdir(parents=True)
    (home.model / "config.json").write_text("{}")
    home.mark_installed({"digest": GPU.digest})
    return home


def _value(argv: tuple[str, ...], option: str) -> str:
    return argv[argv.index(option) + 1]


def test_a_replica_serves_on_its_own_port_of_the_loopback_interface_only(home: VllmHome) -> None:
    argv = RealLauncher(str(home.root)).command(LAUNCH).argv
    assert argv[0] == str(home.python)
    assert (_value(argv, "--host"), _value(argv, "--port")) == ("127.0.0.1", "20123")
    assert _value(argv, "--served-model-name") == "org/tiny"
    assert _value(argv, "serve") == str(home.model)


def test_nothing_is_fetched_or_reported_while_it_runs(home: VllmHome) -> None:
    env = RealLauncher(str(home.root)).command(LAUNCH).env
    assert env["HF_HUB_OFFLINE"] == env["TRANSFORMERS_OFFLINE"] == env["VLLM_NO_USAGE_STATS"] == "1"
    assert env["VLLM_CACHE_ROOT"].startswith(str(home.root))


def test_the_supervisor_finds_the_launcher_by_name_and_passes_options_on(home: VllmHome) -> None:
    options = {"home": str(home.root), "max_num_seqs": 7, "extra": ["--block-size", "32"]}
    launcher = load_launcher(LauncherConfig(factory="engine.real.launcher:RealLauncher", options=options))
    argv = launcher.command(LAUNCH).argv
    assert _value(argv, "--max-num-seqs") == "7"
    assert argv[-2:] == ("--block-size", "32")


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"maxNumSeqs": 0}, "vLLM option maxNumSeqs: "),
        ({"swapSpace": 4}, "vLLM option swapSpace: "),
        ({"maxModelLen": "long"}, "vLLM option maxModelLen: "),
    ],
    ids=["no seat", "unknown", "no number"],
)
def test_an_impossible_option_is_refused_before_anything_starts(values: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        server_options(values)


def test_compilation_can_be_switched_on() -> None:
    assert "--enforce-eager" in server_options({}).argv()
    assert "--enforce-eager" not in server_options({"enforceEager": False}).argv()


def test_without_an_installation_the_launcher_says_which_command_makes_one(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"not installed in .*: run `python -m engine.real.install`"):
        RealLauncher(str(tmp_path))


def test_a_folder_with_a_torn_marker_is_no_installation(home: VllmHome) -> None:
    (home.root / "governor-vllm.json").write_text('{"digest": ')
    assert home.installed() == {}


def test_other_pinned_files_than_the_installed_ones_are_noticed(home: VllmHome) -> None:
    assert is_current(home)
    home.mark_installed({"digest": "of an older lock file"})
    assert not is_current(home)


def test_a_second_installation_returns_at_once(home: VllmHome, capsys: pytest.CaptureFixture[str]) -> None:
    install(home)
    assert capsys.readouterr().out.startswith("vLLM 0.32.0 is installed in ")


def test_a_users_mistake_ends_the_command_with_one_sentence_and_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--into", str(tmp_path / "there"), "--python", "no-such-python"]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "Traceback" not in said


@pytest.mark.parametrize("content", ["notes.txt", "pyvenv.cfg"], ids=["files", "another environment"])
def test_a_folder_with_something_else_in_it_is_left_alone(
    content: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / content).touch()
    assert main(["--into", str(tmp_path)]) == 2
    assert "is not empty and no environment of vLLM's" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == [content]


def test_the_folder_is_the_option_then_the_variable_then_a_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path / "variable"))
    assert vllm_home(tmp_path / "option").root == tmp_path / "option"
    assert vllm_home().root == tmp_path / "variable"
    monkeypatch.delenv(HOME_VARIABLE)
    assert vllm_home().root.name in {".venv-vllm", "venv-vllm"}
