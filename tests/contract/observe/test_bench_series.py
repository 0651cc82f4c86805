"""The benchmark's series are accepted by promtool and are as many as it says."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.bench.series import Shape, series_per_pod, write_openmetrics


def test_promtool_makes_a_store_of_the_benchmarks_series(tmp_path: Path) -> None:
    shape = Shape(fleets=2, pods=3, start_s=1_800_000_000, end_s=1_800_000_060)
    text, store = tmp_path / "series.om", tmp_path / "store"
    with text.open("w", encoding="utf-8") as out:
        shares = list(write_openmetrics(shape, out))

    made = ["promtool", "tsdb", "create-blocks-from", "openmetrics", "--quiet", str(text), str(store)]
    subprocess.run(made, check=True, capture_output=True, timeout=30)
    listed = subprocess.run(
        ["promtool", "tsdb", "list", str(store)], check=True, capture_output=True, text=True, timeout=30
    ).stdout.splitlines()

    numbers = [int(word) for word in listed[1].split() if word.isdecimal()]
    assert series_per_pod() == 28
    assert shape.samples in numbers
    assert 2 * (3 * 28 + 1) in numbers
    assert shares[-1] == 1.0
