"""Profiles are read by name or path, and every problem of a bad one is named at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from controller.errors import UsageError
from engine.profile_files import SHIPPED, find_profile, load_profile, shipped_names

MODEL = "meta-llama/Llama-3.1-8B-Instruct"


def write(path: Path, changes: dict[str, Any]) -> Path:
    """The L40S profile with dotted fields changed; None removes one."""
    raw = yaml.safe_load((SHIPPED / "l40s-8b.yaml").read_text())
    for place, value in changes.items():
        *parents, last = place.split(".")
        part = raw
        for parent in parents:
            part = part[parent]
        if value is None:
            del part[last]
        else:
            part[last] = value
    path.write_text(yaml.safe_dump(raw))
    return path


def test_the_shipped_profiles_have_their_grades() -> None:
    assert {name: load_profile(name).provenance.grade for name in shipped_names()} == {
        "a10g-8b": "estimated",
        "h100-8b": "database",
        "l40s-8b": "database",
        "tiny-cpu": "measured",
    }


def test_numbers_are_read_in_base_units() -> None:
    profile = load_profile("l40s-8b")
    assert profile.law.step_s(0, 0, 32, 32 * 1024) == pytest.approx(0.0295, abs=0.001)
    assert (profile.limits.num_gpu_blocks, profile.limits.max_num_seqs) == (11_000, 256)
    assert sum(stage.median_s for stage in profile.cold_start) == pytest.approx(37.5)


@pytest.mark.parametrize("model", [MODEL, "meta-llama/Meta-Llama-3.1-8B-Instruct", "llama-3.1-8b-instruct"])
def test_a_profile_is_found_by_model_and_accelerator(model: str) -> None:
    assert find_profile(model, "L40S").name == "l40s-8b"


def test_an_unknown_combination_says_what_there_is() -> None:
    with pytest.raises(UsageError, match=r"'b200'.*l40s-8b: .* on l40s.*Set the variant's `profile`"):
        find_profile(MODEL, "b200")


def test_a_file_of_ones_own_is_read_by_path(tmp_path: Path) -> None:
    own = write(tmp_path / "own.yaml", {"name": "own", "step.a_ms": 25})
    assert load_profile(own) == load_profile(str(own))
    assert load_profile(own).law.base_s == pytest.approx(0.025)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"step.a_ms": None}, "step.a_ms: is missing"),
        ({"step.z_ms": 3}, "step.z_ms: is no known field"),
        ({"step.a_ms": -1}, "step.a_ms: -1 is refused: input should be greater than 0"),
        ({"step.a_ms": "fast"}, "step.a_ms: 'fast' is refused"),
        ({"step.b_us": float("nan")}, "step.b_us: nan is refused"),
        ({"provenance.grade": "guess"}, "provenance.grade: 'guess' is refused"),
        ({"engine.num_gpu_blocks": 10}, "hold 144 tokens, less than one request of max_model_len 16384"),
        ({"cold_start": []}, "cold_start: list should have at least 1 item"),
        ({"engine.block_size": 1.5}, "engine.block_size: 1.5 is refused"),
    ],
    ids=["missing", "unknown", "negative", "text", "not a number", "bad grade", "no room", "no stages", "half a token"],
)
def test_a_wrong_value_is_named_with_its_place(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError) as error:
        load_profile(write(tmp_path / "bad.yaml", changes))
    assert words in str(error.value)


def test_all_problems_are_named_at_once(tmp_path: Path) -> None:
    bad = write(tmp_path / "bad.yaml", {"step.a_ms": -1, "model": None, "engine.max_num_seqs": 0})
    with pytest.raises(UsageError) as error:
        load_profile(bad)
    assert all(place in str(error.value) for place in ("step.a_ms", "model", "engine.max_num_seqs"))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "cannot be read (No such file or directory)"),
        (b"a: [", "is not valid YAML"),
        (b"- 1\n", "must be a mapping"),
        (b"\xff\xfe\x00", "is not UTF-8 text"),
    ],
    ids=["no file", "not YAML", "a list", "binary"],
)
def test_a_file_that_is_no_profile_says_why(tmp_path: Path, content: bytes | None, words: str) -> None:
    path = tmp_path / "p.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UsageError) as error:
        load_profile(path)
    assert words in str(error.value)


def test_a_name_that_does_not_exist_lists_those_that_do() -> None:
    with pytest.raises(UsageError, match=r"'l40s-70b': name one of a10g-8b, h100-8b, l40s-8b"):
        load_profile("l40s-70b")
