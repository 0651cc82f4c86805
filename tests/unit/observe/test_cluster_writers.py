"""Who else writes replicas."""

from __future__ import annotations

import json

import pytest

from controller.cluster.client import Json
from controller.observe.second_writers import (
    TakenBack,
    TargetRef,
    applies_replicas,
    by_target,
    foreign_owner,
    hand_of,
    horizontal_facts,
    replicas_owners,
    scaled_object_facts,
    vertical_facts,
)
from tests.contract.cluster.objects import a_deployment, an_autoscaler, owning

V1 = TargetRef("apps", "Deployment", "llm", "vllm-v1")
APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


def foreign(*managed: Json) -> str:
    return foreign_owner(replicas_owners(a_deployment(managed=managed)))


def test_an_autoscaler_is_known_by_its_target() -> None:
    found = by_target([horizontal_facts(an_autoscaler("llama"))])
    assert {ref: str(writer) for ref, writer in found.items()} == {V1: "HorizontalPodAutoscaler llm/llama"}


def test_a_scaled_object_is_named_rather_than_the_autoscaler_that_keda_made_for_it() -> None:
    scaled = scaled_object_facts(
        {"metadata": {"name": "llama", "namespace": "llm"}, "spec": {"scaleTargetRef": {"name": "vllm-v1"}}}
    )
    assert scaled is not None
    assert str(by_target([horizontal_facts(an_autoscaler("keda-hpa-llama")), scaled])[V1]) == "ScaledObject llm/llama"


def test_a_paused_scaled_object_lets_go_of_its_target() -> None:
    assert scaled_object_facts(an_autoscaler(annotations={"autoscaling.keda.sh/paused": "true"})) is None


def test_a_vertical_autoscaler_counts_unless_it_only_recommends() -> None:
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "vllm-v1"}
    raw: Json = {"metadata": {"name": "llama", "namespace": "llm"}, "spec": {"targetRef": target}}
    found = vertical_facts(raw)
    assert found is not None
    assert (found.target, found.mode) == (V1, "Auto")
    raw["spec"]["updatePolicy"] = {"updateMode": "Off"}
    assert vertical_facts(raw) is None


@pytest.mark.parametrize(
    ("owner", "named"),
    [
        (owning("argocd-controller", "Apply"), "field manager argocd-controller (Apply)"),
        (owning("kustomize-controller", "Apply"), "field manager kustomize-controller (Apply)"),
        (owning("keda", subresource="scale"), "field manager keda (Update)"),
    ],
)
def test_who_applies_replicas_or_scales_as_a_controller_writes_again(owner: Json, named: str) -> None:
    assert foreign(owner) == named
    assert foreign(owning("vllm-governor", subresource="scale"), owner) == named


@pytest.mark.parametrize(
    "owner",
    [
        owning("vllm-governor", subresource="scale"),
        owning("kubectl", subresource="scale"),
        owning("kube-controller-manager", subresource="scale"),
        owning("kubectl-client-side-apply"),
        owning("kubectl", "Apply"),
        owning("helm"),
        owning("argocd-controller", "Apply", field="f:template"),
        owning("kube-controller-manager", subresource="status", field="f:paused"),
    ],
)
def test_we_and_who_merely_set_a_count_once_are_no_second_writers(owner: Json) -> None:
    assert not foreign(owner)


def test_a_person_who_scaled_by_a_command_is_told_apart() -> None:
    owners = replicas_owners(a_deployment(managed=[owning("kubectl", subresource="scale")]))
    assert hand_of(owners) == "kubectl"
    assert not hand_of(replicas_owners(a_deployment(managed=[owning("helm")])))


def test_a_manifest_with_replicas_sets_them_at_each_apply() -> None:
    with_it = {APPLIED: json.dumps({"spec": {"replicas": 2, "template": {}}})}
    without = {APPLIED: json.dumps({"spec": {"template": {"metadata": {"labels": {"replicas": "many"}}}}})}
    assert applies_replicas(a_deployment(annotations=with_it))
    assert applies_replicas(a_deployment(managed=[owning("kubectl", "Apply")]))
    assert not applies_replicas(a_deployment(annotations=without))
    assert not applies_replicas(a_deployment(annotations={APPLIED: '{"replicas'}))


def test_who_takes_replicas_back_twice_is_a_second_writer_until_it_stops() -> None:
    ours = replicas_owners(a_deployment(managed=[owning("vllm-governor", subresource="scale")]))
    theirs = replicas_owners(a_deployment(managed=[owning("argocd-controller")]))
    watched = TakenBack()
    assert not watched.look(V1, theirs, 0.0)
    assert not watched.look(V1, ours, 5.0)
    assert not watched.look(V1, theirs, 10.0)
    assert not watched.look(V1, ours, 15.0)
    told = "field manager argocd-controller (Update), which took replicas back 2 times within 15 minutes"
    assert watched.look(V1, theirs, 20.0) == told
    assert watched.look(V1, theirs, 600.0) == told
    assert not watched.look(V1, theirs, 1000.0)


def test_a_person_who_scales_again_and_again_is_no_second_writer() -> None:
    ours = replicas_owners(a_deployment(managed=[owning("vllm-governor", subresource="scale")]))
    person = replicas_owners(a_deployment(managed=[owning("kubectl", subresource="scale")]))
    watched = TakenBack()
    assert not any(watched.look(V1, owners, float(n)) for n, owners in enumerate([ours, person] * 5))
