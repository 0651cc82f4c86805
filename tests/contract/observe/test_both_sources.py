"""Both signal sources on the same real pages: a real Prometheus and the scraper must read the same."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import fields
from pathlib import Path

import pytest

from controller.model.snapshot import ABSENT, Freshness, Reading, VariantSignals
from controller.ports import FleetSignals
from tests.contract.observe.world import CLOCK_ERROR_S, Seen, World

RATES = ("finished_rps", "first_token_rps", "prefill_tps", "cached_tps", "decode_tps", "steps_per_s")
BOTH = pytest.mark.parametrize("source", ["prometheus", "scrape"])


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seen]:
    """One run of the world."""
    with ExitStack() as stack:
        yield World(stack, Path(tmp_path_factory.mktemp("prometheus"))).run()


def fleet_of(seen: Seen, source: str, scenario: str) -> FleetSignals:
    return seen.signals[source][scenario]


def variant_of(seen: Seen, source: str, scenario: str) -> VariantSignals:
    return fleet_of(seen, source, scenario).variants["v1"]


def by_freshness(signals: VariantSignals) -> dict[str, Freshness]:
    return {field.name: getattr(signals, field.name).freshness for field in fields(signals)}


@BOTH
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("engines", 2.0),
        ("running", 12.0),
        ("waiting", 4.0),
        ("kv_usage_ratio", 0.5),
        ("kv_usage_max_ratio", 0.75),
        ("kv_capacity_tokens", 1600.0),
        ("finished_rps", 8.0),
        ("first_token_rps", 8.0),
        ("ttft_within_ratio", 0.75),
        ("tpot_within_ratio", 0.5),
        ("itl_mean_s", 0.02),
        ("prefill_tps", 600.0),
        ("cached_tps", 200.0),
        ("decode_tps", 1600.0),
        ("steps_per_s", 100.0),
        ("preemptions_per_s", 1.0),
        ("gpu_busy_ratio", 0.6),
        ("gpu_memory_ratio", 0.8),
    ],
)
def test_two_steady_replicas_read_fresh_with_their_true_values(
    seen: Seen, source: str, name: str, expected: float
) -> None:
    reading: Reading = getattr(variant_of(seen, source, "steady"), name)
    assert reading.freshness is Freshness.FRESH, reading
    assert reading.value == pytest.approx(expected, rel=0.03)
    assert reading.age_s is not None
    assert 0 <= reading.age_s < 3


@BOTH
def test_requests_in_flight_are_known_now_and_one_window_ago(seen: Seen, source: str) -> None:
    steady = fleet_of(seen, source, "steady")
    assert steady.inflight.fresh == 16.0
    assert steady.inflight_before.fresh == 16.0


@BOTH
def test_no_events_mean_fresh_zero_rates_and_no_ratio(seen: Seen, source: str) -> None:
    idle = variant_of(seen, source, "idle")
    assert {name: getattr(idle, name).fresh for name in RATES if name != "steps_per_s"} == {
        name: 0.0 for name in RATES if name != "steps_per_s"
    }
    assert idle.ttft_within_ratio == ABSENT
    assert idle.tpot_within_ratio == ABSENT
    assert idle.itl_mean_s == ABSENT


@BOTH
def test_a_replica_born_in_the_window_adds_the_work_it_did(seen: Seen, source: str) -> None:
    born = variant_of(seen, source, "born")
    assert born.engines.fresh == 2.0
    assert born.finished_rps.fresh is not None
    assert 4.2 < born.finished_rps.fresh < 8.0
    assert fleet_of(seen, source, "born").inflight_before.value == 8.0


@BOTH
def test_the_first_replica_reads_fresh_gauges_but_stale_rates(seen: Seen, source: str) -> None:
    young = variant_of(seen, source, "young")
    assert young.running.fresh == 6.0
    assert young.decode_tps.freshness is Freshness.STALE
    assert "window" in young.decode_tps.detail


@BOTH
def test_a_replica_that_died_in_the_window_leaves_its_work_and_no_load(seen: Seen, source: str) -> None:
    died = variant_of(seen, source, "died")
    assert died.engines.fresh == 1.0
    assert died.running.fresh == 6.0
    assert died.finished_rps.fresh is not None
    assert 4.2 < died.finished_rps.fresh < 8.0


@BOTH
def test_a_counter_reset_never_reads_as_negative_or_huge(seen: Seen, source: str) -> None:
    rate = variant_of(seen, source, "reset").finished_rps
    assert rate.fresh is not None
    assert 2.5 < rate.fresh < 4.5


@BOTH
@pytest.mark.parametrize("scenario", ["hanging", "html", "damaged"])
def test_one_replica_that_says_nothing_readable_makes_everything_stale(seen: Seen, source: str, scenario: str) -> None:
    signals = variant_of(seen, source, scenario)
    assert signals.running == Reading(6.0, Freshness.STALE, signals.running.age_s, "1 of 2 ready replicas report")
    assert set(by_freshness(signals).values()) == {Freshness.STALE}


@BOTH
def test_a_page_cut_off_within_a_line_makes_everything_stale(seen: Seen, source: str) -> None:
    """Prometheus 2.42 keeps the series before the cut at their old samples: then their age tells."""
    assert set(by_freshness(variant_of(seen, source, "cut")).values()) == {Freshness.STALE}


@BOTH
def test_the_other_replica_of_a_hanging_one_is_still_read_in_time(seen: Seen, source: str) -> None:
    age_s = variant_of(seen, source, "hanging").running.age_s
    assert age_s is not None
    assert age_s < 3


@BOTH
@pytest.mark.parametrize(
    ("scenario", "name"), [("nan", "running"), ("negative", "waiting"), ("infinite", "decode_tps")]
)
def test_an_impossible_number_is_implausible_and_spoils_nothing_else(
    seen: Seen, source: str, scenario: str, name: str
) -> None:
    signals = variant_of(seen, source, scenario)
    reading: Reading = getattr(signals, name)
    assert (reading.value, reading.freshness) == (None, Freshness.IMPLAUSIBLE)
    assert signals.finished_rps.freshness is Freshness.FRESH


@BOTH
@pytest.mark.parametrize("scenario", ["nan", "negative"])
def test_an_impossible_gauge_makes_requests_in_flight_implausible(seen: Seen, source: str, scenario: str) -> None:
    assert fleet_of(seen, source, scenario).inflight.freshness is Freshness.IMPLAUSIBLE


@BOTH
def test_of_a_series_that_stands_on_a_page_twice_the_first_counts(seen: Seen, source: str) -> None:
    assert variant_of(seen, source, "twice").running.fresh == 6.0


@BOTH
def test_names_of_an_old_version_read_the_same(seen: Seen, source: str) -> None:
    old = variant_of(seen, source, "old")
    assert old.kv_usage_ratio.fresh == 0.25
    assert old.cached_tps.fresh == pytest.approx(100, rel=0.03)
    assert old.itl_mean_s.fresh == pytest.approx(0.02, rel=0.03)
    assert old.tpot_within_ratio.fresh == pytest.approx(0.9, rel=0.03)


@BOTH
def test_replicas_of_another_model_say_nothing_about_this_one(seen: Seen, source: str) -> None:
    other = variant_of(seen, source, "other")
    assert other.running.value is None
    assert other.engines.detail == "none of 1 ready replicas reports"


@BOTH
def test_a_ready_replica_that_nobody_can_read_is_absent_with_the_reason(seen: Seen, source: str) -> None:
    silent = variant_of(seen, source, "silent")
    assert silent.engines == Reading(None, Freshness.ABSENT, None, "none of 1 ready replicas reports")
    assert fleet_of(seen, source, "silent").inflight.value is None


@BOTH
def test_a_variant_at_zero_replicas_has_no_readings_and_that_is_no_error(seen: Seen, source: str) -> None:
    zero = fleet_of(seen, source, "zero")
    assert zero.variants["v1"] == VariantSignals()
    assert zero.inflight == ABSENT


@BOTH
def test_requests_refused_by_the_proxy_are_counted_for_their_own_fleet(seen: Seen, source: str) -> None:
    assert fleet_of(seen, source, "zero").refused_rps.fresh == pytest.approx(2.0, rel=0.05)
    assert fleet_of(seen, source, "steady").refused_rps.fresh == 0.0
    assert fleet_of(seen, source, "idle").refused_rps == ABSENT


@BOTH
def test_pressure_is_running_plus_waiting_of_the_fleets_that_report(seen: Seen, source: str) -> None:
    pressure = seen.pressure[source]
    assert pressure["llm/steady"] == 16.0
    assert pressure["llm/idle"] == 0.0
    assert not {"llm/zero", "llm/silent", "llm/other"} & set(pressure)


@BOTH
def test_the_load_of_each_replica_can_be_asked_for(seen: Seen, source: str) -> None:
    loads = seen.replica_load[source][("llm/steady", "v1")]
    assert sorted(loads.values()) == [8.0, 8.0]
    assert set(loads) == {"steady-0", "steady-1"} if source == "prometheus" else {"pod-0", "pod-1"}


def test_every_reading_has_the_same_freshness_from_both_sources(seen: Seen) -> None:
    only_prometheus_can_tell = {"doubled", "unlabelled"}
    for scenario in set(seen.signals["scrape"]) - only_prometheus_can_tell:
        scraped, asked = (by_freshness(variant_of(seen, source, scenario)) for source in ("scrape", "prometheus"))
        assert scraped == asked, scenario


def test_both_sources_name_the_same_version_family(seen: Seen) -> None:
    families = [fleet_of(seen, source, "old").vllm_family for source in ("scrape", "prometheus")]
    assert families == ["vLLM 0.8.5 to before 0.9.2"] * 2


def test_replicas_scraped_by_two_jobs_are_implausible_not_doubled(seen: Seen) -> None:
    doubled = variant_of(seen, "prometheus", "doubled")
    assert doubled.running.freshness is Freshness.IMPLAUSIBLE
    assert doubled.running.detail == "duplicate series: 1 engines are reported 2 times"
    assert fleet_of(seen, "prometheus", "doubled").inflight.freshness is Freshness.IMPLAUSIBLE


def test_series_without_the_variant_label_are_named_as_what_is_missing(seen: Seen) -> None:
    unlabelled = fleet_of(seen, "prometheus", "unlabelled")
    assert unlabelled.variants["v1"].running.value is None
    assert any("carry no label 'variant'" in warning for warning in unlabelled.warnings)


def test_a_daemon_whose_clock_is_ten_minutes_off_reads_the_same_and_knows(seen: Seen) -> None:
    steady = fleet_of(seen, "prometheus", "steady")
    assert steady.source_skew_s == pytest.approx(-CLOCK_ERROR_S, abs=2)
    assert steady.inflight.freshness is Freshness.FRESH


def test_a_killed_prometheus_leaves_absent_readings_and_says_so(seen: Seen) -> None:
    steady = seen.after_death["steady"]
    assert steady.variants["v1"].running.freshness is Freshness.ABSENT
    assert steady.inflight.freshness is Freshness.ABSENT
    assert "not reachable" in steady.warnings[0]
    assert steady.source_skew_s is None
