"""Settings from a file and from options: who wins, and what is said of mistakes in which words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from controller.cli import settings_reference
from controller.cli.run import OPTIONS
from controller.cli.settings_file import settings_of
from controller.errors import UsageError
from controller.settings import Settings

ROOT = Path(__file__).parents[3]


def read(folder: Path, text: str, **given: Any) -> Settings:
    file = folder / "settings.yaml"
    file.write_text(text)
    return settings_of(file, given, OPTIONS)


def test_what_neither_names_is_the_default() -> None:
    assert settings_of(None, {"tick_interval_s": None}, OPTIONS) == Settings()


def test_an_option_wins_over_the_file_and_mappings_are_merged(tmp_path: Path) -> None:
    token = tmp_path / "token"
    found = read(
        tmp_path,
        "scrape_interval_s: 30\nlabels: {pod: exported}\n"
        f"prometheus_access: {{tenant: a, bearer_token_file: {token}}}",
        scrape_interval_s=10.0,
        prometheus_access={"tenant": "b"},
    )
    assert found.scrape_interval_s == 10.0
    assert (found.prometheus_access.tenant, found.prometheus_access.bearer_token_file) == ("b", token)
    assert (found.labels.pod, found.labels.variant) == ("exported", "variant")


def test_an_empty_file_changes_nothing(tmp_path: Path) -> None:
    assert read(tmp_path, "") == Settings()


@pytest.mark.parametrize(
    ("text", "given", "said"),
    [
        ("tick_intervall_s: 5", {}, "tick_intervall_s: is no known field; did you mean `tick_interval_s`?"),
        ("rate_window_s: 20", {}, "rate_window_s (20 s) holds fewer than two scrapes"),
        ("wake_ratio: high", {}, 'wake_ratio: "high"'),
        ("- a", {}, "is no mapping"),
        ("a: 1\n---\nb: 2", {}, "has 2 documents"),
        ("a: [", {}, "line 1"),
        ("", {"tick_interval_s": 0.0}, "--interval: 0.0 is below 0.1"),
        ("tick_interval_s: 1", {}, "tick_interval_s (1 s)"),
    ],
    ids=["unknown", "contradiction", "type", "list", "two documents", "no YAML", "an option", "the file's own name"],
)
def test_mistakes_are_told_by_the_name_that_was_written(
    tmp_path: Path, text: str, given: dict[str, Any], said: str
) -> None:
    with pytest.raises(UsageError) as caught:
        read(tmp_path, text, **given)
    assert said in str(caught.value)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--settings .*nowhere cannot be read: No such file"):
        settings_of(tmp_path / "nowhere", {}, OPTIONS)
    (tmp_path / "latin").write_bytes("é".encode("latin-1"))
    with pytest.raises(UsageError, match="is not UTF-8"):
        settings_of(tmp_path / "latin", {}, OPTIONS)


def test_the_reference_is_what_the_model_says() -> None:
    assert (ROOT / "docs" / "settings.md").read_text(encoding="utf-8") == settings_reference.reference()
