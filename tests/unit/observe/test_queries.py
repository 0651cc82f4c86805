"""Every PromQL text: it parses, names only catalogued metrics, and nothing can be smuggled into it."""

from __future__ import annotations

import re
from collections.abc import Iterator

import promql_parser
import pytest

from controller.observe import queries
from controller.observe.queries import Query, Scope
from controller.settings import MetricLabels
from engine.metrics import DCGM_NAMES, ENVOY_NONE_HEALTHY, all_sample_names

SCOPE = Scope(window_s=30, stale_after_s=10)
ODD = Scope(
    window_s=7.5,
    stale_after_s=2.5,
    labels=MetricLabels(namespace="kubernetes_namespace", pod="pod_name", variant="app"),
    matchers=(("job", 'vllm"} or vector(1) #'), ("cluster", "eu\\west\n")),
    gpu_namespace="exported_namespace",
    gpu_pod="exported_pod",
    envoy_matchers=(("job", "istio"),),
)
ALL_NAMES = all_sample_names() | DCGM_NAMES | {ENVOY_NONE_HEALTHY}


def every_query(scope: Scope) -> list[Query]:
    return [
        *queries.tick_queries(scope, (1.0, 0.25, 2.5), (0.05, 0.1)),
        queries.source_time(),
        queries.exposed_names(scope),
        queries.pressure(scope),
        queries.replica_load(scope, [("llm", 'odd"name\\'), ("x", "meta-llama/Llama-3.1-8B")]),
    ]


NARROW = queries.narrowed(SCOPE, [("llm", "m-1"), ("llm", 'odd"name\\')])
SCOPES = (SCOPE, ODD, NARROW)
QUERIES = pytest.mark.parametrize("query", [q for s in SCOPES for q in every_query(s)], ids=lambda q: str(q.name))


def selectors(node: object) -> Iterator[promql_parser.VectorSelector]:
    """Every vector selector below a node."""
    if isinstance(node, promql_parser.VectorSelector):
        yield node
    for attribute in ("expr", "lhs", "rhs", "vector_selector", "param"):
        if (child := getattr(node, attribute, None)) is not None:
            yield from selectors(child)
    for child in getattr(node, "args", []):
        yield from selectors(child)


def names_in(selector: promql_parser.VectorSelector) -> set[str]:
    if selector.name:
        return {selector.name}
    (pattern,) = (matcher.value for matcher in selector.matchers.matchers if matcher.name == "__name__")
    return {re.sub(r"\\(.)", r"\1", name) for name in pattern.split("|")}


@QUERIES
def test_every_query_parses(query: Query) -> None:
    promql_parser.parse(query.promql)


@QUERIES
def test_every_query_names_only_catalogued_metrics(query: Query) -> None:
    found = {name for selector in selectors(promql_parser.parse(query.promql)) for name in names_in(selector)}
    assert found <= ALL_NAMES
    assert found or query.name == "source_time"


@QUERIES
def test_every_selector_of_vllms_metrics_requires_the_models_label(query: Query) -> None:
    for selector in selectors(promql_parser.parse(query.promql)):
        if any(name.startswith("vllm:") and "cache_config" not in name for name in names_in(selector)):
            matchers = {(matcher.name, matcher.value) for matcher in selector.matchers.matchers}
            assert ("model_name", "") in matchers


@QUERIES
def test_a_query_declares_the_window_that_its_text_uses(query: Query) -> None:
    windows = set(re.findall(r"\[(\w+)\]|offset (\w+)", query.promql))
    spelled = {one or other for one, other in windows}
    assert spelled == ({"30s" if query.window_s == 30 else "7500ms"} if query.window_s else set())


def test_a_tick_needs_at_most_fifteen_queries() -> None:
    assert len(queries.tick_queries(SCOPE, (1.0,), (0.05,))) + 2 <= 15


def test_names_of_queries_and_legs_are_unique() -> None:
    asked = queries.tick_queries(SCOPE, (1.0,), (0.05,))
    legs = [leg for query in asked for leg in query.legs]
    assert len(set(legs)) == len(legs)
    assert len({query.name for query in asked}) == len(asked)


def test_label_values_cannot_leave_their_string() -> None:
    (selector,) = set(selectors(promql_parser.parse(queries.series(ODD, "vllm:num_requests_running"))))
    values = {matcher.name: matcher.value for matcher in selector.matchers.matchers}
    assert values["job"] == 'vllm"} or vector(1) #'
    assert values["cluster"] == "eu\\west\n"


def test_a_narrowed_scope_names_its_fleets_in_every_selector_of_a_vllm_gauge_or_counter() -> None:
    text = queries.work(NARROW).promql
    assert text.count('namespace=~"llm"') == text.count("rate(")


def test_wanted_models_are_matched_literally() -> None:
    text = queries.replica_load(SCOPE, [("llm", "a.b|c*")]).promql
    (selector,) = selectors(promql_parser.parse(text))
    pattern = next(m.value for m in selector.matchers.matchers if m.name == "model_name" and m.value)
    assert re.fullmatch(pattern, "a.b|c*")
    assert not re.fullmatch(pattern, "axb")


@pytest.mark.parametrize(
    ("exposed", "matches"),
    [("1", True), ("1.0", True), ("0.25", True), ("+Inf", True), ("10", False), ("1.5", False), ("0x25", False)],
)
def test_edges_match_in_both_spellings_and_nothing_else(exposed: str, *, matches: bool) -> None:
    assert bool(re.fullmatch(queries.edge_pattern((1.0, 0.25, 1.0)), exposed)) is matches


@pytest.mark.parametrize(("seconds", "text"), [(30, "30s"), (7.5, "7500ms"), (0.25, "250ms"), (3600, "3600s")])
def test_durations_are_exact(seconds: float, text: str) -> None:
    assert queries.duration(seconds) == text


def test_a_measure_with_several_names_has_no_single_gauge() -> None:
    with pytest.raises(ValueError, match="unpack"):
        queries.gauge(SCOPE, "kv_usage")


def test_old_names_are_asked_for_inside_the_aggregation() -> None:
    text = queries.kv_usage(SCOPE).promql
    assert text.index("avg by") < text.index("vllm:kv_cache_usage_perc") < text.index("vllm:gpu_cache_usage_perc")
    assert " or vllm:gpu_cache_usage_perc" in text
