"""What the reader accepts and refuses, file by file. `python -m tests.golden.fleet.regenerate` rewrites the texts."""

from __future__ import annotations

from pathlib import Path

import pytest

from controller.model import reference
from controller.model.codec import from_json, to_json
from controller.model.fleet import Fleet
from controller.observe.fleet_file import load_fleets
from tests.golden.fleet.refusals import BAD, refusal

ROOT = Path(__file__).parents[3]
GOOD = [*sorted((Path(__file__).parent / "good").glob("*.yaml")), ROOT / "docs" / "fleet.example.yaml"]
BAD_FILES = sorted(BAD.glob("*.yaml"))


@pytest.mark.parametrize("file", BAD_FILES, ids=lambda file: file.stem)
def test_a_bad_file_is_refused_with_exactly_the_expected_text(file: Path) -> None:
    assert refusal(file) == file.with_suffix(".txt").read_text(encoding="utf-8")


def test_every_expected_text_belongs_to_a_bad_file_and_there_are_many() -> None:
    assert {file.stem for file in BAD.glob("*.txt")} == {file.stem for file in BAD_FILES}
    assert len(BAD_FILES) >= 40


@pytest.mark.parametrize("file", BAD_FILES, ids=lambda file: file.stem)
def test_every_refusal_names_its_file_and_says_what_to_do_without_a_trace_of_the_machinery(file: Path) -> None:
    lines = refusal(file).splitlines()
    problems = lines if len(lines) == 1 else lines[1:]
    assert all(problem.strip().startswith(file.name) for problem in problems)
    assert all("; " in problem for problem in problems)
    assert not any(word in problem for problem in problems for word in ("pydantic", "Input should", "Traceback"))


@pytest.mark.parametrize("file", GOOD, ids=lambda file: file.stem)
def test_a_good_file_is_read_and_survives_the_journal_bit_for_bit(file: Path) -> None:
    fleets = load_fleets(file)
    assert fleets
    for fleet in fleets:
        assert from_json(Fleet, to_json(fleet)) == fleet


def test_the_complete_example_leaves_no_field_out() -> None:
    (fleet,) = load_fleets(ROOT / "docs" / "fleet.example.yaml")
    scaling, rollout = fleet.spec.scaling, fleet.spec.rollout
    assert rollout is not None
    for part in (
        fleet.spec,
        scaling,
        scaling.thresholds,
        scaling.steps,
        scaling.stabilization,
        scaling.override,
        rollout,
    ):
        assert part is not None
        # Weights set by hand and a rollout exclude each other.
        assert part.model_fields_set == set(type(part).model_fields) - {"traffic"}


def test_two_versions_are_read_as_written() -> None:
    (fleet,) = load_fleets(Path(__file__).parent / "good" / "two_versions.yaml")
    assert fleet.key == "llm-inference/llama-8b"
    assert [(v.name, v.subset, v.replicas.min, v.replicas.max) for v in fleet.spec.variants] == [
        ("v1", "v1", 2, 20),
        ("v2", "v2", 0, 20),
    ]
    assert fleet.spec.objectives.ttft.threshold == 1.0
    assert fleet.spec.objectives.tpot.threshold == 0.05
    assert fleet.spec.scaling.max_cost_per_hour == 25


def test_weights_by_hand_are_read_as_written() -> None:
    (fleet,) = load_fleets(Path(__file__).parent / "good" / "weights_by_hand.yaml")
    assert fleet.wanted_weights == (("v1", 90), ("canary", 10))
    assert str(fleet.route) == "route primary of VirtualService mesh/vllm"


def test_several_documents_share_what_they_anchor() -> None:
    llama, qwen = load_fleets(Path(__file__).parent / "good" / "several_with_anchors.yaml")
    assert [(v.name, v.accelerator, v.cost_per_hour) for v in llama.spec.variants] == [
        ("v1", "l40s", 1.86),
        ("v1-spot", "l40s", 0.7),
    ]
    assert qwen.spec.scaling.thresholds.cooldown == 30.0


def test_the_thresholds_rule_has_the_documented_defaults() -> None:
    (fleet,) = load_fleets(Path(__file__).parent / "good" / "minimal.yaml")
    rule = fleet.spec.scaling.thresholds
    assert (rule.gpu_up, rule.queue_up, rule.gpu_down, rule.queue_down, rule.cooldown) == (0.8, 50, 0.3, 5, 300.0)


def test_the_committed_reference_is_what_the_model_says() -> None:
    assert (ROOT / "docs" / "fleet.md").read_text(encoding="utf-8") == reference.reference()
