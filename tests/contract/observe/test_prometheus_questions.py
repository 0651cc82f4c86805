"""What Prometheus is asked, and how often: versions seldom, few fleets by name."""

from __future__ import annotations

from controller.observe.prometheus import NAMES_TRIES
from tests.contract.observe.answering_server import SteadyAnswers, success, vector
from tests.contract.observe.builders import fleet, scope, targets
from tests.contract.observe.prometheus_rig import FLEETS, only, source, steady


def test_the_version_is_asked_for_seldom() -> None:
    with source(steady()) as (signals, server):
        for _ in range(3):
            assert signals.read(FLEETS, targets(FLEETS))["llm/chat"].vllm_family == "vLLM 0.32 or newer"
        assert sum("group by (__name__" in promql for promql in server.asked) == 1


def test_the_version_of_a_variant_that_begins_to_report_is_asked_for_at_the_next_tick() -> None:
    """The first look comes before the first scrape: nobody reports, and then somebody does, unnamed at first."""
    answers = steady()
    with source(lambda promql, at_s: answers(promql, at_s) if promql == "time()" else success([])) as (signals, server):
        families = [signals.read(FLEETS, targets(FLEETS))["llm/chat"].vllm_family]
        server.respond = answers
        families += [signals.read(FLEETS, targets(FLEETS))["llm/chat"].vllm_family for _ in range(3)]
        assert families == ["", "", *["vLLM 0.32 or newer"] * 2]
        assert sum("group by (__name__" in promql for promql in server.asked) == 2


def test_a_variant_whose_version_cannot_be_told_is_asked_about_a_few_times_at_most() -> None:
    nameless = steady(change=only("exposed_names", lambda _rows: []))
    with source(nameless) as (signals, server):
        for _ in range(NAMES_TRIES + 4):
            assert signals.read(FLEETS, targets(FLEETS))["llm/chat"].vllm_family == ""
        assert sum("group by (__name__" in promql for promql in server.asked) == 1 + NAMES_TRIES


def test_a_look_at_few_fleets_among_many_asks_for_their_series_only() -> None:
    fleets = [fleet(f"chat-{number}") for number in range(10)]
    steadily = SteadyAnswers(fleets, scope())

    def respond(promql: str, at_s: float) -> tuple[int, bytes]:
        return steadily(promql, at_s) if "namespace=~" not in promql else success(vector([], at_s))

    with source(respond) as (signals, server):
        signals.read(fleets, targets(fleets))
        whole = [promql for promql in server.asked if "num_requests_running" in promql]
        server.asked.clear()
        signals.read(fleets[:1], targets(fleets[:1]))
        few = [promql for promql in server.asked if "num_requests_running" in promql]
    assert whole
    assert all('namespace=~"llm"' not in promql for promql in whole)
    assert len(few) >= len(whole) - 1
    assert all('namespace=~"llm"' in promql for promql in few)
