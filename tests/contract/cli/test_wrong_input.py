"""What a user can get wrong on the command line: one clear sentence with the remedy, exit code 2, never a traceback."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from controller.cli.main import main
from engine.load.scenario_file import load_scenario

SUPERVISOR = ("--supervisor", "http://127.0.0.1:9")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with a good Fleet file and things that are not what they should be."""
    monkeypatch.chdir(tmp_path)
    fleet = load_scenario("calm").fleet_document()
    Path("fleet.yaml").write_text(yaml.safe_dump(fleet))
    fleet["spec"]["variants"][0]["profile"] = "nowhere.yaml"
    Path("no-profile.yaml").write_text(yaml.safe_dump(fleet))
    Path("not-yaml.yaml").write_text("a: [")
    Path("typo.yaml").write_text("name: x\nphasez: []\n")
    Path("file").write_text("")
    Path("latin.yaml").write_bytes("name: Größe".encode("latin-1"))
    fleet["spec"]["variants"][0]["profile"] = "latin.yaml"
    Path("latin-profile.yaml").write_text(yaml.safe_dump(fleet))
    return tmp_path


@pytest.fixture
def busy_port() -> Iterator[str]:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield str(other.getsockname()[1])


@pytest.fixture
def refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Runs `governor` with arguments that it has to refuse; what it said."""

    def run(*arguments: str) -> str:
        monkeypatch.setattr("sys.argv", ["governor", *arguments])
        monkeypatch.setenv("COLUMNS", "200")
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr().err
        assert ended.value.code == 2
        assert "Traceback" not in said
        return said

    return run


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        pytest.param(("--scenario", "nope"), "neither a shipped one nor a file; give one of calm,", id="scenario"),
        pytest.param(("--scenario", "typo.yaml"), "phasez: is no known field; did you mean `phases`?", id="field"),
        pytest.param(("--scenario", "not-yaml.yaml"), "not valid YAML", id="scenario that is no YAML"),
        pytest.param(("--fleet", "nowhere.yaml"), "does not exist; name a file or folder that does", id="fleet"),
        pytest.param(("--fleet", "not-yaml.yaml"), "not-yaml.yaml:1:5: is no YAML", id="fleet that is no YAML"),
        pytest.param(("--fleet", "no-profile.yaml"), "variant v1: Profile nowhere.yaml cannot be read", id="profile"),
        pytest.param(("--scenario", "latin.yaml"), "latin.yaml: is not UTF-8; save it in", id="encoding of a scenario"),
        pytest.param(("--fleet", "latin.yaml"), "latin.yaml:1: is not UTF-8; save it in", id="encoding of a fleet"),
        pytest.param(("--fleet", "latin-profile.yaml"), "latin.yaml is not UTF-8 text: save it", id="of a profile"),
        pytest.param(("--trace", "latin.yaml"), "latin.yaml: is not UTF-8; save it in", id="encoding of a trace"),
        pytest.param(("--rate", "2"), "--rate belongs to --trace", id="rate without a trace"),
        pytest.param(("--trace", "typo.yaml"), "neither the header of an Azure CSV", id="a trace of another format"),
        pytest.param(("--trace", "nowhere.csv"), "give an Azure CSV or a Mooncake JSONL file", id="trace"),
        pytest.param(("--run-dir", "file"), "file cannot be made: Not a directory; choose another", id="run folder"),
        pytest.param(("--json", "nowhere/r.json"), "nowhere is no folder", id="folder of the report"),
        pytest.param(("--json", "."), "give --json a file that this user may write", id="report"),
        pytest.param(("--duration", "0"), "'0' is not between 1 s and 365d", id="duration"),
        pytest.param(("--duration", "2y"), "'2y' is no duration; write a number with its unit", id="unit"),
    ],
)
def test_local_refuses_before_it_starts_anything(
    folder: Path, refused: Callable[..., str], arguments: tuple[str, ...], said: str
) -> None:
    assert said in refused("local", "--exit", *arguments)
    assert not (folder / ".governor").exists()


@pytest.mark.parametrize("option", ["--port", "--proxy-port"])
def test_local_names_a_port_in_use(folder: Path, busy_port: str, refused: Callable[..., str], option: str) -> None:
    assert f"port {busy_port} for the " in refused("local", "--exit", option, busy_port)


def test_local_names_file_and_line_of_a_malformed_trace(folder: Path, refused: Callable[..., str]) -> None:
    trace = folder / "trace.csv"
    trace.write_text("TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46.68,374,44\nnonsense,1,2\n")

    said = refused("local", "--exit", "--trace", str(trace), "--port", "0")

    assert said.startswith(f"governor: {trace}, line 3: not a request")
    assert not (folder / ".governor").exists()
    assert "mend or delete the line" in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        pytest.param((), "give --supervisor URL of a local stack, or start the whole system", id="no supervisor"),
        pytest.param(("--supervisor", "nonsense"), 'write it as "http://host:port"', id="no address"),
        pytest.param((*SUPERVISOR, "--interval", "1"), "must be shorter than --interval (1 s)", id="intervals"),
        pytest.param((*SUPERVISOR, "--interval", "0"), "--interval: 0.0 is below 0.1; write at least 0.1", id="bound"),
        pytest.param((*SUPERVISOR, "--state-dir", "file"), "a part of the path is a file, not a folder", id="state"),
        pytest.param((*SUPERVISOR, "--state-dir", "/proc/no"), "cannot write the journal /proc/no", id="no place"),
    ],
)
def test_run_refuses_what_does_not_fit(
    folder: Path, refused: Callable[..., str], arguments: tuple[str, ...], said: str
) -> None:
    found = refused("run", "--fleet", "fleet.yaml", *arguments)

    assert said in found
    assert len(found.splitlines()) == 1
    assert "next cycle" not in found, "there is none: nothing was started"


def test_run_names_a_port_in_use(folder: Path, busy_port: str, refused: Callable[..., str]) -> None:
    found = refused("run", "--fleet", "fleet.yaml", *SUPERVISOR, "--port", busy_port)

    assert f"port {busy_port} on 127.0.0.1 is in use" in found
