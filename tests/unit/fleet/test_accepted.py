"""Which versions of fleets are in force, and what is said of those that are not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import pytest
import structlog
from structlog.testing import LogCapture

from controller.errors import UsageError
from controller.model.fleet import Fleet
from controller.observe.accepted import AcceptedFleets


def a_fleet(name: str, target: str = "", cost: float = 1.0, accelerator: str = "l40s") -> Fleet:
    variant = {"name": "v1", "scaleTargetRef": {"name": target or name}, "subset": "v1", "accelerator": accelerator}
    spec = {"modelName": name, "host": name, "variants": [{**variant, "costPerHour": cost}]}
    return Fleet.model_validate({"metadata": {"name": name}, "spec": spec})


@dataclass
class Declared:
    """A source whose fleets and problems are set."""

    found: Sequence[Fleet]
    wrong: Mapping[str, str] = field(default_factory=dict)
    missing: set[str] = field(default_factory=lambda: {"b200"})

    def fleets(self) -> Sequence[Fleet]:
        return self.found

    def problems(self) -> Mapping[str, str]:
        return self.wrong

    def check(self, fleet: Fleet) -> None:
        accelerator = fleet.spec.variants[0].accelerator
        if accelerator in self.missing:
            raise UsageError(f"no profile is for {accelerator}:\n  name one")


@pytest.fixture(autouse=True)
def log() -> Iterator[LogCapture]:
    capture, before = LogCapture(), structlog.get_config()
    structlog.configure(processors=[capture], wrapper_class=structlog.BoundLogger, cache_logger_on_first_use=False)
    yield capture
    structlog.configure(**before)


def in_force(source: AcceptedFleets) -> dict[str, tuple[str, float]]:
    """Target and cost by name."""
    variants = {f.metadata.name: f.spec.variants[0] for f in source.fleets()}
    return {name: (v.scale_target_ref.name, v.cost_per_hour) for name, v in variants.items()}


def test_a_version_without_a_profile_leaves_the_one_before_in_force_until_it_is_mended() -> None:
    declared = Declared([a_fleet("llama"), a_fleet("qwen")])
    source = AcceptedFleets(declared, declared.check)
    assert in_force(source) == {"llama": ("llama", 1), "qwen": ("qwen", 1)}
    assert source.problems() == {}
    declared.found = [a_fleet("llama", cost=2, accelerator="b200"), a_fleet("qwen", cost=3)]
    assert in_force(source) == {"llama": ("llama", 1), "qwen": ("qwen", 3)}
    assert source.problems() == {"default/llama": "no profile is for b200: name one"}
    declared.found = [a_fleet("llama", cost=4), declared.found[1]]
    assert in_force(source) == {"llama": ("llama", 4), "qwen": ("qwen", 3)}
    assert source.problems() == {}


def test_a_profile_that_appears_mends_a_fleet_that_did_not_change() -> None:
    declared = Declared([a_fleet("llama", accelerator="b200")])
    source = AcceptedFleets(declared, declared.check)
    assert in_force(source) == {}
    declared.missing.clear()
    assert in_force(source) == {"llama": ("llama", 1)}
    assert source.problems() == {}


def test_a_fleet_that_never_was_good_is_missing_and_one_that_is_removed_leaves() -> None:
    declared = Declared([a_fleet("llama"), a_fleet("new", accelerator="b200")])
    source = AcceptedFleets(declared, declared.check)
    assert set(in_force(source)) == {"llama"}
    assert set(source.problems()) == {"default/new"}
    declared.found = []
    assert in_force(source) == {}
    assert source.problems() == {}


def test_an_object_is_not_given_to_another_fleet_before_a_good_version_lets_go_of_it() -> None:
    declared = Declared([a_fleet("llama", "a"), a_fleet("qwen", "b")])
    source = AcceptedFleets(declared, declared.check)
    in_force(source)
    declared.found = [a_fleet("llama", "c", accelerator="b200"), a_fleet("qwen", "a")]
    assert in_force(source) == {"llama": ("a", 1), "qwen": ("b", 1)}
    assert source.problems()["default/qwen"] == (
        'fleet default/qwen: spec.variants[0].scaleTargetRef.name: "a" is scaled by fleet default/llama too; '
        "name an object of its own for each fleet, or remove one of the fleets"
    )
    declared.found = [a_fleet("llama", "c"), declared.found[1]]
    assert in_force(source) == {"llama": ("c", 1), "qwen": ("a", 1)}


def test_a_new_fleet_on_an_object_that_is_driven_already_is_refused_alone() -> None:
    driven = a_fleet("llama", "a")
    declared = Declared([driven])
    source = AcceptedFleets(declared, declared.check)
    in_force(source)
    declared.found = [a_fleet("another", "a"), driven]
    assert set(in_force(source)) == {"llama"}
    assert set(source.problems()) == {"default/another"}


def test_versions_that_cannot_be_read_are_passed_on_as_the_source_tells_them() -> None:
    declared = Declared([a_fleet("llama")], wrong={"default/llama": "f.yaml:3: is no YAML"})
    source = AcceptedFleets(declared, declared.check)
    assert in_force(source) == {"llama": ("llama", 1)}
    assert source.problems() == {"default/llama": "f.yaml:3: is no YAML"}


def test_every_problem_is_logged_once_for_each_change_and_once_when_it_is_mended(log: LogCapture) -> None:
    declared = Declared([a_fleet("llama"), a_fleet("qwen")])
    source = AcceptedFleets(declared, declared.check)
    source.fleets()
    for text in ("one", "one", "two"):
        declared.wrong = {"default/llama": text, "default/qwen": text, "c.yaml": text}
        source.fleets()
    declared.wrong = {}
    for _ in range(2):
        source.fleets()
    names, kept = ["default/llama", "default/qwen", "c.yaml"], ["default/llama", "default/qwen"]
    assert [(e["log_level"], e["event"], e["fleets"]) for e in log.entries] == [
        ("warning", "fleet refused", names),
        ("warning", "fleet refused", names),
        ("info", "fleet accepted again", names),
    ]
    assert [e.get("problem") for e in log.entries] == ["one", "two", None]
    assert log.entries[0]["on_last_good_version"] == kept
