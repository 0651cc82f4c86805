"""Settings of the daemon: defaults that follow from each other, and contradictions."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from controller.model.describe import problems_of
from controller.settings import MetricLabels, Settings


def problems(**values: Any) -> list[str]:
    with pytest.raises(ValidationError) as caught:
        Settings(**values)
    return [str(problem) for problem in problems_of(caught.value, Settings)]


@pytest.mark.parametrize(
    ("scrape_s", "window_s", "stale_s"), [(1, 10, 10), (2, 10, 10), (15, 75, 45), (30, 150, 90)], ids=str
)
def test_windows_follow_the_scrape_interval(scrape_s: float, window_s: float, stale_s: float) -> None:
    settings = Settings(scrape_interval_s=scrape_s)
    assert (settings.rate_window_s, settings.stale_after_s) == (window_s, stale_s)


def test_the_defaults_do_not_contradict_each_other_and_listen_on_loopback() -> None:
    settings = Settings()
    assert (settings.listen_host, settings.dry_run, settings.prometheus_url) == ("127.0.0.1", False, None)
    assert settings.labels == MetricLabels()


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"rate_window_s": 20}, "holds fewer than two scrapes"),
        ({"stale_after_s": 10}, "every sample would be stale"),
        ({"wake_interval_s": 5}, "wake_interval_s (5 s) must be shorter than tick_interval_s (5 s)"),
        ({"query_timeout_s": 9}, "query_timeout_s (9 s) must be shorter than tick_interval_s (5 s)"),
        ({"wake_interval_s": 8, "tick_interval_s": 10, "wake_window_s": 5}, "must be shorter than wake_window_s (5 s)"),
        ({"prometheus_url": "localhost:9090"}, 'is no address of a server: write it as "http://host:port"'),
        ({"prometheus_url": "http://h:99999"}, "is no address of a server"),
        ({"prometheus_url": "file:///etc/passwd"}, "is no address of a server"),
        ({"labels": {"pod": "namespace"}}, "label 'namespace' is given two meanings"),
        ({"labels": {"pod": 'x"} or vector(1)'}}, "labels.pod"),
        ({"tick_interval_s": float("nan")}, "tick_interval_s: NaN is no finite number"),
        ({"listen_port": 70_000}, "listen_port: 70000 is above 65535"),
        ({"tick_intervall_s": 5}, "tick_intervall_s: is no known field; did you mean `tick_interval_s`?"),
    ],
    ids=lambda value: "+".join(value) if isinstance(value, dict) else None,
)
def test_a_contradiction_is_refused_with_what_to_do(values: dict[str, Any], said: str) -> None:
    (problem,) = problems(**values)
    assert said in problem


def test_a_bad_scrape_interval_is_reported_once_and_not_again_by_what_follows_from_it() -> None:
    assert problems(scrape_interval_s=-1) == ["scrape_interval_s: -1 is below 0.5; write at least 0.5"]


def test_an_address_loses_its_final_slash() -> None:
    assert Settings(prometheus_url="http://mimir:8080/prometheus/").prometheus_url == "http://mimir:8080/prometheus"


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        Settings().dry_run = True  # type: ignore[misc]
