"""What Prometheus may answer instead of data, and what becomes of it: readings and warnings, never an error."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from typing import Any

import pytest

from controller.model.decision import Action, Decision, Reason
from controller.model.snapshot import ABSENT, Freshness, Reading, Snapshot, VariantSignals, VariantState
from controller.observe.bounded_http import BoundedSession
from controller.observe.prometheus import PrometheusSignals
from tests.builders import T0, a_memory, planned
from tests.contract.observe.answering_server import (
    NOW_S,
    STEADY,
    AnsweringServer,
    Rows,
    SteadyAnswers,
    success,
)
from tests.contract.observe.builders import fleet, scope, targets
from tests.contract.observe.prometheus_rig import FLEETS, only, read, source, steady


def readings(signals: VariantSignals) -> dict[str, Reading]:
    return {name: getattr(signals, name) for name in VariantSignals.__slots__}


def test_a_healthy_answer_is_fresh_throughout() -> None:
    seen = read(steady())
    assert {r.freshness for r in readings(seen.variants["v1"]).values()} == {Freshness.FRESH}
    assert seen.warnings == ()
    assert seen.vllm_family == "vLLM 0.32 or newer"
    assert seen.source_skew_s == pytest.approx(0.0, abs=1e-6)
    assert seen.refused_rps == Reading(0.0, Freshness.FRESH, 2.0)


def test_a_thousand_fleets_need_no_more_queries_than_one() -> None:
    fleets = [fleet(f"chat-{number}") for number in range(1000)]
    with source(SteadyAnswers(fleets, scope()), 30.0) as (signals, server):
        seen = signals.read(fleets, targets(fleets))
        assert len(server.asked) <= 15
        server.asked.clear()
        assert len(signals.pressure(fleets)) in (0, 1000)
        assert len(server.asked) == 1
    assert len(seen) == 1000
    assert seen["llm/chat-999"].variants["v1"].running.fresh == 12


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"warnings": ["store 3 is unreachable"]}, "store 3 is unreachable"),
        ({"isPartial": True}, "the answer is partial"),
    ],
    ids=["thanos and mimir", "victoriametrics"],
)
def test_a_partial_answer_makes_every_reading_stale(more: dict[str, Any], words: str) -> None:
    seen = read(steady(more=more))
    by_name = readings(seen.variants["v1"])
    assert {name for name, r in by_name.items() if r.freshness is not Freshness.STALE} == set()
    assert by_name["running"] == Reading(12.0, Freshness.STALE, 1.5, words)
    assert seen.inflight.freshness is Freshness.STALE
    assert seen.warnings == (words,)


INFO = (
    "PromQL info: metric might not be a counter, name does not end in _total/_sum/_count/_bucket: "
    '"envoy_cluster_upstream_cx_none_healthy" (1:5)'
)


def decided(more: dict[str, Any]) -> Decision:
    """What is decided on such answers about six replicas that two would do for, in the next cycle of an hour."""
    six = {**STEADY, "engines": 6, "distinct": 6, "replicas": 6, "before_replicas": 6, "running": 16, "waiting": 0}
    quiet = {**six, "finished": 2, "before": 16, "prompt": 800, "generated": 400, "itl_sum": 8, "itl_count": 400}
    there = targets(FLEETS, 6)
    prompt = only("ttft", lambda rows: [(labels, 2.0) for labels, _ in rows])
    with source(steady(numbers=quiet, more=more, change=prompt)) as (signals, _):
        seen = signals.read(FLEETS, there)[FLEETS[0].key]
    snapshot = Snapshot(
        fleet=FLEETS[0].key,
        at=T0,
        source=seen.source,
        window_s=seen.window_s,
        variants=(VariantState("v1", there[FLEETS[0].key, "v1"], seen.variants["v1"]),),
        inflight=seen.inflight,
        inflight_before=seen.inflight_before,
        refused_rps=seen.refused_rps,
        source_skew_s=seen.source_skew_s,
        warnings=seen.warnings,
    )
    return planned(snapshot, a_memory(2.0), FLEETS[0]).decision


@pytest.mark.parametrize(
    "more", [{"infos": [INFO]}, {"warnings": [INFO]}, {"warnings": [INFO] * 20}], ids=["infos", "warnings", "many"]
)
def test_remarks_about_the_query_spoil_nothing_and_keep_no_replica(more: dict[str, Any]) -> None:
    seen = read(steady(more=more))
    assert {r.freshness for r in readings(seen.variants["v1"]).values()} == {Freshness.FRESH}
    assert seen.refused_rps.freshness is Freshness.FRESH
    assert seen.warnings == ()
    assert decided(more) == decided({})
    assert decided(more).action is Action.DOWN


@pytest.mark.parametrize(
    "texts", [["store 3 is unreachable"], ["PromQL warning: mixed buckets"], [*[INFO] * 20, "store 3 is unreachable"]]
)
def test_a_real_warning_keeps_every_replica_whatever_remarks_stand_beside_it(texts: list[str]) -> None:
    made = decided({"warnings": texts})
    assert made.action is Action.HOLD
    assert made.reason is Reason.NOT_FRESH
    assert read(steady(more={"warnings": texts, "infos": [INFO]})).warnings == (texts[-1],)


def test_a_warning_about_one_query_spoils_only_what_it_carries() -> None:
    healthy, partial = steady(), steady(more={"warnings": ["one store is missing"]})

    def respond(promql: str, at_s: float) -> tuple[int, bytes]:
        return (partial if "kv_cache_usage" in promql else healthy)(promql, at_s)

    variant = read(respond).variants["v1"]
    assert variant.kv_usage_ratio.freshness is Freshness.STALE
    assert variant.running.freshness is Freshness.FRESH


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ((503, b"<html>Service Unavailable</html>"), "HTTP 503: Service Unavailable"),
        ((422, json.dumps({"status": "error", "error": "too many samples"}).encode()), "HTTP 422: too many samples"),
        ((400, b'{"status":"error","error":"bad"}'), "HTTP 400: bad"),
        ((200, b"<html><body>Welcome</body></html>"), "not Prometheus's JSON"),
        ((200, b'{"status":"success"'), "not Prometheus's JSON"),
        ((200, b'{"status":"success","data":[]}'), "not Prometheus's JSON"),
        ((200, b"[]"), "not Prometheus's JSON"),
        ((200, b""), "not Prometheus's JSON"),
        (success({"not": "a list"}), "the answer is no"),
        (success(["later", "NaN"], "scalar"), "the answer is nan"),
        (success(None), "the answer is no"),
    ],
    ids=["503", "422", "400", "html", "cut json", "no result", "list", "empty", "object", "nan clock", "null"],
)
def test_a_source_that_answers_nonsense_leaves_absent_readings_and_its_words(
    answer: tuple[int, bytes], words: str
) -> None:
    seen = read(lambda _promql, _at_s: answer)
    assert {r.freshness for r in readings(seen.variants["v1"]).values()} == {Freshness.ABSENT}
    assert seen.inflight.freshness is Freshness.ABSENT
    assert seen.inflight_before.freshness is Freshness.ABSENT
    assert len(seen.warnings) == 1
    assert words in seen.warnings[0]


@pytest.mark.parametrize(
    "rows",
    [
        b'{"status":"success","data":{"resultType":"vector","result":[{"metric":{}}]}}',
        b'{"status":"success","data":{"resultType":"vector","result":[[1,2]]}}',
        b'{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1,"many"]}]}}',
    ],
    ids=["no value", "no object", "no number"],
)
def test_rows_that_are_no_rows_lose_only_their_own_query(rows: bytes) -> None:
    healthy = steady()

    def respond(promql: str, at_s: float) -> tuple[int, bytes]:
        return (200, rows) if "request_success" in promql else healthy(promql, at_s)

    seen = read(respond)
    assert seen.variants["v1"].finished_rps.freshness is Freshness.ABSENT
    assert "no instant vector" in seen.variants["v1"].finished_rps.detail
    assert seen.variants["v1"].running.freshness is Freshness.FRESH
    assert seen.warnings[0].startswith("query work: ")


def test_a_failed_query_is_absent_and_named() -> None:
    healthy = steady()

    def respond(promql: str, at_s: float) -> tuple[int, bytes]:
        return (503, b"") if "request_success" in promql else healthy(promql, at_s)

    seen = read(respond)
    assert seen.variants["v1"].finished_rps == Reading(None, Freshness.ABSENT, None, "HTTP 503: Service Unavailable")
    assert seen.variants["v1"].decode_tps.freshness is Freshness.FRESH


def test_without_the_vitals_no_number_counts_as_fresh() -> None:
    healthy = steady()

    def respond(promql: str, at_s: float) -> tuple[int, bytes]:
        return (503, b"") if '"engines"' in promql else healthy(promql, at_s)

    variant = read(respond).variants["v1"]
    assert variant.running.freshness is Freshness.STALE
    assert variant.running.value == 12
    assert variant.engines.freshness is Freshness.ABSENT


def test_a_source_that_nobody_listens_at_is_absent() -> None:
    with PrometheusSignals("http://127.0.0.1:9", scope(), timeout_s=2.0) as signals:
        seen = signals.read(FLEETS, targets(FLEETS))["llm/chat"]
        assert signals.pressure(FLEETS) == {}
    assert seen.inflight.freshness is Freshness.ABSENT
    assert "not reachable" in seen.warnings[0]


@pytest.mark.parametrize("drip_s", [0.0, 0.02], ids=["silent", "a byte at a time"])
def test_a_slow_source_is_given_up_in_time(drip_s: float) -> None:
    def respond(_promql: str, _at_s: float) -> tuple[int, bytes]:
        time.sleep(0.0 if drip_s else 1.5)
        return success([NOW_S, str(NOW_S)], "scalar", padding="x" * 500)

    with source(respond, 0.5) as (signals, server):
        server.drip_s = drip_s
        began = time.monotonic()
        seen = signals.read(FLEETS, targets(FLEETS))["llm/chat"]
        assert time.monotonic() - began < 1.4
    assert seen.inflight.freshness is Freshness.ABSENT
    assert "no answer within 0.5 s" in seen.warnings[0]


def test_one_slow_query_costs_its_own_readings_only() -> None:
    healthy = steady()

    def respond(promql: str, at_s: float) -> tuple[int, bytes]:
        if "request_success" in promql:
            time.sleep(1.0)
        return healthy(promql, at_s)

    variant = read(respond, timeout_s=0.7).variants["v1"]
    assert variant.finished_rps.freshness is Freshness.ABSENT
    assert "no answer within 0.7 s" in variant.finished_rps.detail
    assert variant.running.freshness is Freshness.FRESH


def test_an_answer_that_never_ends_is_cut_off_at_its_size() -> None:
    seen = read(lambda _promql, _at_s: (200, b" " * 200_000), session=BoundedSession(100_000))
    assert "longer than 100000 bytes" in seen.warnings[0]


@pytest.mark.parametrize(
    ("leg", "value"),
    [("running", float("nan")), ("running", float("inf")), ("running", -1.0), ("kv_avg", 1.5), ("gpu", 90.0)],
)
def test_an_impossible_number_is_implausible(leg: str, value: float) -> None:
    name = {"running": "running", "kv_avg": "kv_usage_ratio", "gpu": "gpu_busy_ratio"}[leg]
    reading = readings(read(steady(numbers={**STEADY, leg: value})).variants["v1"])[name]
    assert reading == Reading(None, Freshness.IMPLAUSIBLE, 1.5, f"reported as {value}")


def test_a_row_that_comes_twice_is_implausible() -> None:
    seen = read(steady(change=only("load", lambda rows: rows + rows)))
    assert seen.variants["v1"].running.detail == "reported more than once"
    assert seen.variants["v1"].running.freshness is Freshness.IMPLAUSIBLE
    assert seen.inflight.freshness is Freshness.IMPLAUSIBLE


@pytest.mark.parametrize(
    ("ahead_s", "expected"),
    [(-7.0, Freshness.STALE), (0.0, Freshness.FRESH), (7.0, Freshness.IMPLAUSIBLE)],
    ids=["from an old evaluation", "as asked", "from the future"],
)
def test_an_answer_for_another_instant_than_asked_is_not_trusted(ahead_s: float, expected: Freshness) -> None:
    healthy = steady()
    seen = read(lambda promql, at_s: healthy(promql, at_s if promql == "time()" else at_s + ahead_s))
    assert {r.freshness for r in readings(seen.variants["v1"]).values()} == {expected}


def test_samples_from_the_future_are_implausible() -> None:
    variant = read(steady(numbers={**STEADY, "age": -60.0})).variants["v1"]
    assert {r.freshness for r in readings(variant).values()} == {Freshness.IMPLAUSIBLE}
    assert "future" in variant.running.detail


def test_old_samples_are_stale_with_their_age() -> None:
    variant = read(steady(numbers={**STEADY, "age": 42.0, "engines": 0, "distinct": 0})).variants["v1"]
    assert variant.running == Reading(12.0, Freshness.STALE, 42.0, "the oldest sample is 42.0 s old")
    assert variant.decode_tps.freshness is Freshness.STALE


def test_fewer_reporting_replicas_than_ready_ones_are_stale() -> None:
    variant = read(steady(numbers={**STEADY, "replicas": 1})).variants["v1"]
    assert variant.running.detail == "1 of 2 ready replicas report"


def test_a_doubled_series_is_implausible() -> None:
    variant = read(steady(numbers={**STEADY, "distinct": 1})).variants["v1"]
    assert {r.freshness for r in readings(variant).values()} == {Freshness.IMPLAUSIBLE}


@pytest.mark.parametrize("before_age", [None, 30.0], ids=["no sample then", "an old sample then"])
def test_rates_over_a_window_with_a_gap_at_its_start_are_stale_and_gauges_are_not(before_age: float | None) -> None:
    numbers = {**STEADY, "before_age": before_age or 0.0}
    drop = only("load_before", lambda rows: rows if before_age else [])
    variant = read(steady(numbers=numbers, change=drop)).variants["v1"]
    assert variant.running.freshness is Freshness.FRESH
    assert variant.decode_tps == Reading(1600.0, Freshness.STALE, 1.5, "no sample from the start of the 6 s window")
    assert variant.ttft_within_ratio.freshness is Freshness.STALE


@pytest.mark.parametrize(
    ("ready_for_s", "freshness"),
    [pytest.param(60.0, Freshness.STALE, id="a gap"), pytest.param(8.0, Freshness.FRESH, id="a birth")],
)
def test_rates_are_stale_while_a_replica_that_was_ready_then_is_missing_at_the_start_of_the_window(
    ready_for_s: float, freshness: Freshness
) -> None:
    found = {
        key: replace(t, replicas=tuple(replace(r, ready_at=NOW_S - ready_for_s) for r in t.replicas))
        for key, t in targets(FLEETS).items()
    }
    with source(steady(numbers={**STEADY, "before_replicas": 1}), 5.0) as (signals, _):
        variant = signals.read(FLEETS, found)[FLEETS[0].key].variants["v1"]

    assert variant.finished_rps.freshness is freshness
    assert variant.finished_rps.detail == "1 of 2 replicas reported at the start of the 6 s window" * (ready_for_s > 9)
    assert variant.running.freshness is Freshness.FRESH


def test_an_edge_that_the_engines_do_not_have_is_absent_with_the_reason() -> None:
    def without_edges(rows: Rows) -> Rows:
        return [row for row in rows if row[0]["le"] == "+Inf"]

    variant = read(steady(change=only("ttft", without_edges))).variants["v1"]
    assert variant.ttft_within_ratio == Reading(None, Freshness.ABSENT, None, "the histogram has no bucket at 1 s")
    assert variant.first_token_rps.fresh == 8.0


def test_edges_spelled_as_integers_and_as_floats_are_one_edge() -> None:
    def half_spelled(rows: Rows) -> Rows:
        return [*rows, *(({**labels, "le": "1"}, 1.0) for labels, _ in rows if labels["le"] == "1.0")]

    assert read(steady(change=only("ttft", half_spelled))).variants["v1"].ttft_within_ratio.fresh == 7.0 / 8.0


def test_replicas_with_different_caches_count_as_the_smallest() -> None:
    def mixed(rows: Rows) -> Rows:
        return [*rows, *(({**labels, "num_gpu_blocks": "50"}, 1.0) for labels, _ in rows), *_unset(rows)]

    def _unset(rows: Rows) -> Rows:
        return [({**labels, "num_gpu_blocks": "None"}, 1.0) for labels, _ in rows]

    assert read(steady(change=only("kv_capacity", mixed))).variants["v1"].kv_capacity_tokens.fresh == 800.0


def test_old_gpu_samples_are_stale_by_their_own_age() -> None:
    variant = read(steady(numbers={**STEADY, "gpu_age": 200.0})).variants["v1"]
    assert variant.gpu_busy_ratio == Reading(0.6, Freshness.STALE, 200.0, "the oldest GPU sample is 200.0 s old")


def test_requests_in_flight_of_a_variant_at_zero_replicas_are_none_not_unknown() -> None:
    fleets = [fleet("chat", "v1", "v2")]
    everything = SteadyAnswers([fleet("chat", "v1")], scope())
    there = targets([fleet("chat", "v1")])
    with source(everything) as (signals, _):
        known = signals.read(fleets, {**there, ("llm/chat", "v2"): targets(fleets, 0)[("llm/chat", "v2")]})
        unknown = signals.read(fleets, there)
    assert known["llm/chat"].inflight.fresh == 16.0
    assert known["llm/chat"].variants["v2"] == VariantSignals()
    assert unknown["llm/chat"].inflight.freshness is Freshness.STALE


def test_where_prefix_hits_are_not_counted_all_prompt_tokens_are_prefill() -> None:
    def without_hits(rows: Rows) -> Rows:
        return [row for row in rows if row[0]["leg"] != "cached"]

    variant = read(steady(change=only("tokens", without_hits))).variants["v1"]
    assert variant.prefill_tps.fresh == 800.0
    assert variant.cached_tps == ABSENT


def test_the_clock_of_the_source_decides_about_ages_whatever_the_daemons() -> None:
    with (
        AnsweringServer(steady()) as server,
        PrometheusSignals(server.url, scope(), timeout_s=5.0, now=lambda: NOW_S - 600) as signals,
    ):
        seen = signals.read(FLEETS, targets(FLEETS))["llm/chat"]
    assert seen.source_skew_s == pytest.approx(600.0)
    assert seen.inflight.age_s == 1.5
    assert seen.inflight.freshness is Freshness.FRESH
