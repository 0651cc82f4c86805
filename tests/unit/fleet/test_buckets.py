"""The bucket edges that thresholds are checked against are those of the metric catalogue."""

from __future__ import annotations

import pytest

from controller.model.buckets import TPOT_EDGES_S, TTFT_EDGES_S
from engine.metrics import alternatives


@pytest.mark.parametrize(
    ("measure", "edges"),
    [("ttft", TTFT_EDGES_S), ("tpot", TPOT_EDGES_S), ("itl", TPOT_EDGES_S)],
    ids=["ttft", "tpot", "itl"],
)
def test_edges_agree_with_every_catalogued_version(measure: str, edges: tuple[float, ...]) -> None:
    assert {row.buckets for row in alternatives(measure)} == {edges}
