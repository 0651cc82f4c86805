"""The simulated server's page and the real one's have the same shape, but for a committed list of differences."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tests.vllm.page_shape import differences, page_shape
from tests.vllm.servers import Server

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(300)]

LISTED = Path(__file__).with_name("page_differences.yaml")


def listed_differences() -> dict[str, str]:
    """Reason by difference."""
    groups = yaml.safe_load(LISTED.read_text(encoding="utf-8"))
    return {difference: group["reason"] for group in groups for difference in group["differences"]}


@pytest.fixture(scope="module")
def found(real: Server, simulated: Server) -> list[str]:
    """What differs now."""
    return differences(page_shape(real.settled_page()), page_shape(simulated.settled_page()))


def test_no_difference_is_unlisted(found: list[str]) -> None:
    assert [difference for difference in found if difference not in listed_differences()] == []


def test_no_listed_difference_has_gone(found: list[str]) -> None:
    assert [difference for difference in listed_differences() if difference not in found] == []


def test_every_listed_difference_has_a_reason() -> None:
    assert all(reason.strip() for reason in listed_differences().values())
