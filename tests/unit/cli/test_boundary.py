"""A defect in a whole cycle: said with its traceback, counted, told until a cycle ends well; and the daemon goes on."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import structlog
import yaml
from structlog.testing import LogCapture

from controller.cli.boundary import Boundary
from controller.cli.compose import compose
from controller.cli.place_local import local_place
from controller.cli.serve import _scheduler
from controller.record.api import overview
from controller.settings import Settings
from engine.load.scenario_file import load_scenario

NOBODY = "http://127.0.0.1:9"


@pytest.fixture(autouse=True)
def log() -> Iterator[LogCapture]:
    capture, before = LogCapture(), structlog.get_config()
    structlog.configure(
        processors=[capture],
        wrapper_class=structlog.make_filtering_bound_logger(0),
        cache_logger_on_first_use=False,
    )
    yield capture
    structlog.configure(**before)


def broken() -> None:
    raise RuntimeError("dictionary changed size\nduring iteration")


def test_a_defect_is_logged_with_its_traceback_and_counted(log: LogCapture) -> None:
    boundary = Boundary()
    for _ in range(2):
        boundary.around("full cycle", broken)()
    assert boundary.failed == 2
    said = "the last full cycle failed by a defect (RuntimeError: dictionary changed size during iteration)"
    assert boundary.error == f"{said}: the log has its traceback"
    events: list[Any] = list(log.entries)
    assert [(e["event"], e["kind"], e["failed"]) for e in events] == [
        ("cycle failed: defect", "full cycle", 1),
        ("cycle failed: defect", "full cycle", 2),
    ]
    assert all(e["exc_info"] for e in events)


def test_a_run_that_ends_well_takes_back_the_error_of_its_own_kind_alone() -> None:
    boundary = Boundary()
    boundary.around("full cycle", broken)()
    boundary.around("light look", lambda: True)()
    assert boundary.error.startswith("the last full cycle failed")
    boundary.around("full cycle", lambda: None)()
    assert (boundary.error, boundary.failed) == ("", 1)


def test_the_daemon_goes_on_after_cycles_and_looks_that_failed_and_says_so(tmp_path: Path, log: LogCapture) -> None:
    file = tmp_path / "fleet.yaml"
    file.write_text(yaml.safe_dump(load_scenario("calm").fleet_document()))
    settings = Settings(
        supervisor_url=NOBODY,
        prometheus_url=NOBODY,
        state_dir=tmp_path / "state",
        tick_interval_s=0.3,
        wake_interval_s=0.1,
        scrape_interval_s=0.5,
        query_timeout_s=0.1,
    )
    whole = compose(settings, partial(local_place, file, settings))
    daemon = replace(whole, loop=SimpleNamespace(tick=broken, watch=broken, stand_by=lambda: None))  # type: ignore[arg-type]
    scheduler = _scheduler(daemon)
    scheduler.start()
    ends_at = time.monotonic() + 20
    while len([e for e in log.entries if e["kind"] == "full cycle"]) < 3 and time.monotonic() < ends_at:
        time.sleep(0.02)
    scheduler.shutdown(wait=True)
    seen = overview(daemon.board, daemon.facts())
    daemon.close()
    assert {e["kind"] for e in log.entries} == {"full cycle", "light look"}
    assert seen["failed_cycles"] == len(log.entries)
    assert "the last full cycle failed by a defect (RuntimeError" in seen["errors"][0]
