"""Label selectors in both of their spellings, and finding pods by them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.cluster.selectors import Operator, Requirement, Selector, parse_selector, selector_of
from controller.observe.cluster_facts import pod_facts
from controller.observe.pod_index import PodIndex
from tests.contract.cluster.objects import a_pod

V1 = {"app": "vllm", "version": "v1"}


@pytest.mark.parametrize(
    ("written", "matches"),
    [
        ("app=vllm", True),
        ("app==vllm,version=v1", True),
        ("app=vllm, version=v2", False),
        ("version in (v1, v2)", True),
        ("version notin (v1)", False),
        ("canary notin (yes)", True),
        ("version!=v1", False),
        ("app", True),
        ("!app", False),
        ("!canary,version in (v1),app", True),
        ("", False),
    ],
)
def test_the_spelling_of_scale_subresources_is_understood(written: str, *, matches: bool) -> None:
    assert parse_selector(written).matches(V1) is matches


@pytest.mark.parametrize("written", ["app>1", "in (a)", "a=b,=c"])
def test_what_is_no_selector_is_refused(written: str) -> None:
    with pytest.raises(ValueError, match="is no label"):
        parse_selector(written)


def test_the_spelling_of_objects_is_understood() -> None:
    more = [
        {"key": "version", "operator": "In", "values": ["v1", "v2"]},
        {"key": "canary", "operator": "DoesNotExist"},
    ]
    selector = selector_of({"matchLabels": {"app": "vllm"}, "matchExpressions": more})
    assert selector.matches(V1)
    assert not selector.matches({**V1, "canary": "yes"})
    with pytest.raises(ValueError, match="Like"):
        selector_of({"matchExpressions": [{"key": "a", "operator": "Like"}]})


requirements = st.builds(
    Requirement,
    st.sampled_from(["a", "b"]),
    st.sampled_from(Operator),
    st.frozensets(st.sampled_from("xyz"), min_size=1),
)
labels = st.dictionaries(st.sampled_from(["a", "b"]), st.sampled_from("xyz"))


@given(wanted=st.lists(requirements, max_size=3), pods=st.lists(labels, max_size=8))
def test_the_index_finds_exactly_the_pods_that_a_selector_matches(
    wanted: list[Requirement], pods: list[dict[str, str]]
) -> None:
    selector = Selector(tuple(wanted))
    facts = [pod_facts(a_pod(f"p{n}", labels=each)) for n, each in enumerate(pods)]
    stranger = pod_facts(a_pod("elsewhere", namespace="other", labels={"a": "x", "b": "x"}))
    found = PodIndex([*facts, stranger]).selected("llm", selector)
    assert sorted(pod.name for pod in found) == [pod.name for pod in facts if selector.matches(pod.labels)]
