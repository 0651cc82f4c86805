"""Live tests run in real time. The step comes first and alone; then other runs go on beside the fault tests."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.live.cases import static_case, stretched_case, thresholds_case
from tests.live.figures import said
from tests.live.local_runs import Case, Finished, Runs

_HERE = Path(__file__).parent
_ORDER = ("test_step", "test_faults", "test_crashes", "test_ends", "test_beside")
_LIMIT_S = 900


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark and order the tests of this folder."""
    own = [item for item in items if item.path.parent == _HERE]
    for item in own:
        item.add_marker(pytest.mark.live)
        item.add_marker(pytest.mark.timeout(_LIMIT_S))
    own.sort(key=lambda item: _ORDER.index(item.path.stem))
    items[:] = [item for item in items if item.path.parent != _HERE] + own


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what was measured."""
    if said():
        terminalreporter.section("figures")
        for line in said():
            terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    """Runs of `governor local`."""
    found = Runs(tmp_path_factory.mktemp("runs"))
    yield found
    found.close()


@pytest.fixture(scope="session")
def cases(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Case]:
    """The runs that go on beside other tests, by the name of the fixture that waits for them, in their order."""
    folder = tmp_path_factory.mktemp("cases")
    return {
        "prior_too_fast_run": stretched_case(folder, "prior-too-fast", 0.6),
        "static_run": static_case(folder),
        "thresholds_run": thresholds_case(),
        "prior_too_slow_run": stretched_case(folder, "prior-too-slow", 1.4),
    }


def _asked_for(item: pytest.Item) -> set[str]:
    """Fixtures that a test names, or is given the names of."""
    call = getattr(item, "callspec", None)
    given = call.params.values() if call is not None else ()
    return {*getattr(item, "fixturenames", ()), *(name for name in given if isinstance(name, str))}


@pytest.fixture(scope="session")
def beside(request: pytest.FixtureRequest, runs: Runs, cases: Mapping[str, Case]) -> Runs:
    """Begins the runs that collected tests wait for."""
    wanted = {name for item in request.session.items for name in _asked_for(item)}
    runs.begin([case for name, case in cases.items() if name in wanted])
    return runs


@pytest.fixture(scope="session")
def static_run(beside: Runs, cases: Mapping[str, Case]) -> Finished:
    return beside.result(cases["static_run"])


@pytest.fixture(scope="session")
def thresholds_run(beside: Runs, cases: Mapping[str, Case]) -> Finished:
    return beside.result(cases["thresholds_run"])


@pytest.fixture(scope="session")
def prior_too_fast_run(beside: Runs, cases: Mapping[str, Case]) -> Finished:
    return beside.result(cases["prior_too_fast_run"])


@pytest.fixture(scope="session")
def prior_too_slow_run(beside: Runs, cases: Mapping[str, Case]) -> Finished:
    return beside.result(cases["prior_too_slow_run"])
