"""What the supervisor is told, from a Fleet and from a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from controller.errors import UsageError
from engine.local.config import FleetConfig, LauncherConfig, SupervisorConfig, read_config
from engine.local.launch import CommandLauncher, Launch, SimulatedLauncher, load_launcher
from tests.contract.local.rigs import tiny_fleet

LAUNCH = Launch("tiny-v1-1", 8001, "llm/tiny", "v1", "org/tiny", initial=False)


def plain() -> dict[str, Any]:
    return SupervisorConfig(fleets=(FleetConfig.of(tiny_fleet()),)).model_dump(by_alias=True)


def test_a_fleet_starts_with_each_variants_minimum_and_all_traffic_on_the_first() -> None:
    config = FleetConfig.of(tiny_fleet(drain_budget="30s"))

    assert [(v.name, v.replicas, v.target, v.drain_budget_s) for v in config.variants] == [
        ("v1", 0, "tiny-v1", 30.0),
        ("v2", 0, "tiny-v2", 30.0),
    ]
    assert config.weights == {"v1": 100, "v2": 0}


def test_a_configuration_survives_its_file(tmp_path: Path) -> None:
    config = SupervisorConfig(fleets=(FleetConfig.of(tiny_fleet(), {"v1": 2}, {"v1": 90, "v2": 10}),))
    file = tmp_path / "supervisor.json"
    file.write_text(config.model_dump_json(by_alias=True))

    assert read_config(file) == config


@pytest.mark.parametrize(
    ("change", "said"),
    [
        pytest.param({"fleets": []}, "fleets", id="no fleet"),
        pytest.param({"fleet": 1}, "fleet", id="unknown field"),
        pytest.param({"fleets": [plain()["fleets"][0]] * 2}, "same namespace and name", id="a fleet twice"),
        pytest.param({"launcher": {"factory": "os.system"}}, "launcher.factory", id="no module:name"),
        pytest.param({"times": {"probeS": 0}}, "times.probeS", id="a probe without pause"),
        pytest.param({"fleets": [{**plain()["fleets"][0], "weights": {"v1": 90}}]}, "sum to 100", id="weights"),
        pytest.param(
            {"fleets": [{**plain()["fleets"][0], "variants": plain()["fleets"][0]["variants"][:1] * 2}]},
            "names of variants must differ",
            id="a variant twice",
        ),
    ],
)
def test_a_wrong_file_is_one_sentence_with_its_place(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    file = tmp_path / "wrong.yaml"
    file.write_text(yaml.safe_dump({**plain(), **change}))

    with pytest.raises(UsageError, match=said) as caught:
        read_config(file)
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("text", "said"), [(None, "cannot be read"), ("fleets: [", "neither YAML nor JSON")])
def test_a_file_that_is_none_says_so(tmp_path: Path, text: str | None, said: str) -> None:
    file = tmp_path / "none.yaml"
    if text is not None:
        file.write_text(text)

    with pytest.raises(UsageError, match=said):
        read_config(file)


def test_a_command_launcher_fills_in_what_it_is_told() -> None:
    launcher = CommandLauncher(["serve", "--port={port}", "{name}", "{model}", "{variant}"], {"A": "b"})

    command = launcher.command(LAUNCH)

    assert command.argv == ("serve", "--port=8001", "tiny-v1-1", "org/tiny", "v1")
    assert command.env == {"A": "b"}


def option(argv: tuple[str, ...], name: str) -> str:
    return argv[argv.index(name) + 1]


def test_a_simulated_replica_is_told_profile_port_model_and_lifeline() -> None:
    argv = SimulatedLauncher({"v1": "l40s-8b"}, cold_start_s=15).command(LAUNCH).argv

    assert argv[1:3] == ("-m", "engine.serve")
    assert [option(argv, name) for name in ("--profile", "--port", "--model")] == ["l40s-8b", "8001", "org/tiny"]
    assert option(argv, "--cold-start") == "15"
    assert "--stdin-lifeline" in argv


def test_the_replicas_that_a_run_begins_with_may_start_sooner() -> None:
    launcher = SimulatedLauncher({"v1": "l40s-8b"}, cold_start_s=15, initial_cold_start_s=0)
    first = Launch("tiny-v1-1", 8001, "llm/tiny", "v1", "org/tiny", initial=True)

    assert option(launcher.command(first).argv, "--cold-start") == "0"
    assert option(launcher.command(LAUNCH).argv, "--cold-start") == "15"


def test_replicas_of_one_run_have_different_seeds_and_the_same_ones_in_the_next_run() -> None:
    other = Launch("tiny-v1-2", 8002, "llm/tiny", "v1", "org/tiny", initial=False)
    seeds = [option(SimulatedLauncher({"v1": "x"}, seed=7).command(each).argv, "--seed") for each in (LAUNCH, other)]
    again = [option(SimulatedLauncher({"v1": "x"}, seed=7).command(each).argv, "--seed") for each in (LAUNCH, other)]

    assert seeds[0] != seeds[1]
    assert seeds == again


@pytest.mark.parametrize(
    ("config", "said"),
    [
        pytest.param({"factory": "no.such:Launcher"}, "no replica launcher", id="no module"),
        pytest.param({"factory": "engine.local.launch:Nobody"}, "no replica launcher", id="no class"),
        pytest.param({"options": {"profile": "x"}}, "do not fit", id="options"),
    ],
)
def test_a_launcher_that_cannot_be_made_is_a_users_mistake(config: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        load_launcher(LauncherConfig.model_validate(config))


def test_a_variant_without_a_profile_is_named() -> None:
    with pytest.raises(UsageError, match="variant v1 of llm/tiny has no engine profile"):
        SimulatedLauncher({"v9": "l40s-8b"}).command(LAUNCH)
