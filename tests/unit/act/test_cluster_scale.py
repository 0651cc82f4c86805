"""Orders to a cluster: absolute, against a version, with the least loaded pods first to leave."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from controller.act.cluster_scale import ClusterReplicaWriter
from controller.act.victims import marks
from controller.cluster.names import DELETION_COST_ANNOTATION as COST
from controller.cluster.names import VICTIM_ANNOTATION as VICTIM
from controller.errors import PermanentError
from controller.model.decision import OutcomeStatus, ScaleWrite
from controller.model.variant import ScaleTargetRef
from tests.contract.cluster.object_server import ObjectServer

TARGET = "/apis/apps/v1/namespaces/llm/deployments/vllm-v1"
PODS = "/api/v1/namespaces/llm/pods"


@pytest.fixture
def server() -> Iterator[ObjectServer]:
    with ObjectServer() as server:
        server.put(TARGET, {"spec": {"replicas": 3, "selector": {"matchLabels": {"app": "v1"}}}})
        for name in ("a", "b", "c"):
            a_pod(server, name)
        a_pod(server, "stranger", app="other")
        yield server


def a_pod(server: ObjectServer, name: str, app: str = "v1", **annotations: str) -> None:
    server.put(f"{PODS}/{name}", {"metadata": {"labels": {"app": app}, "annotations": annotations}})


def a_writer(server: ObjectServer, ref: ScaleTargetRef | None = None, **more: Any) -> ClusterReplicaWriter:
    ref = ref or ScaleTargetRef(name="vllm-v1")
    targets = {("llm/llama", "v1"): ("llm", ref)}
    more = {"plural": lambda _version, kind: f"{kind.lower()}s", **more}
    return ClusterReplicaWriter(server.client(), lambda *key: targets.get(key), **more)


def an_order(server: ObjectServer, replicas: int, victims: tuple[str, ...] = (), path: str = TARGET) -> ScaleWrite:
    found = server.objects[path]
    return ScaleWrite(
        "llm/llama", "v1", found["spec"]["replicas"], replicas, found["metadata"]["resourceVersion"], victims
    )


def annotations(server: ObjectServer, pod: str) -> dict[str, str]:
    found: dict[str, str] = server.objects[f"{PODS}/{pod}"]["metadata"].get("annotations", {})
    return found


def replicas(server: ObjectServer) -> int:
    return int(server.objects[TARGET]["spec"]["replicas"])


def test_growth_is_one_request_onto_the_version_it_was_planned_on_in_our_name(server: ObjectServer) -> None:
    order = an_order(server, 5)

    outcome = a_writer(server).scale(order)

    assert outcome.status is OutcomeStatus.APPLIED
    (request,) = server.requests
    assert (request.method, request.path) == ("PUT", f"{TARGET}/scale")
    assert request.query == {"fieldManager": "vllm-governor"}
    assert request.body["metadata"]["resourceVersion"] == order.resource_version
    assert request.body["spec"] == {"replicas": 5}
    assert replicas(server) == 5


def test_the_same_order_sent_twice_changes_nothing_the_second_time(server: ObjectServer) -> None:
    writer = a_writer(server)
    writer.scale(an_order(server, 5))
    before = server.objects[TARGET]["metadata"]["resourceVersion"]

    again = writer.scale(an_order(server, 5))

    assert again.status is OutcomeStatus.APPLIED
    assert server.objects[TARGET]["metadata"]["resourceVersion"] == before


def test_an_object_that_moved_on_is_a_conflict_and_stays(server: ObjectServer) -> None:
    order = an_order(server, 5)
    server.put(TARGET, {"spec": {"replicas": 4}})

    outcome = a_writer(server).scale(order)

    assert outcome.status is OutcomeStatus.CONFLICT
    assert "has been modified" in outcome.detail
    assert replicas(server) == 4


@pytest.mark.parametrize("code", [403, 404, 422])
def test_a_refusal_failed_in_the_words_of_the_api_server(server: ObjectServer, code: int) -> None:
    server.fail("PUT", "/scale", code, "admission webhook says no")

    outcome = a_writer(server).scale(an_order(server, 5))

    assert outcome.status is OutcomeStatus.FAILED
    assert f"refused ({code}): admission webhook says no" in outcome.detail
    assert "next reading" not in outcome.detail


def test_without_an_answer_it_failed_and_says_that_it_may_have_taken_effect(server: ObjectServer) -> None:
    released = server.hang("PUT", "/scale")
    writer = ClusterReplicaWriter(
        server.client(timeout_s=0.2), lambda *_key: ("llm", ScaleTargetRef(name="vllm-v1")), lambda *_kind: ""
    )

    outcome = writer.scale(an_order(server, 5))
    released.set()

    assert outcome.status is OutcomeStatus.FAILED
    assert "whether the order took effect shows in the next reading" in outcome.detail
    assert replicas(server) == 5


def test_an_error_inside_the_api_server_leaves_open_whether_it_took_effect(server: ObjectServer) -> None:
    server.fail("PUT", "/scale", 504, "request did not complete within the allotted time", effect=True)

    outcome = a_writer(server).scale(an_order(server, 5))

    assert outcome.status is OutcomeStatus.FAILED
    assert "next reading" in outcome.detail


def test_an_order_without_a_version_or_without_a_target_is_not_sent(server: ObjectServer) -> None:
    writer = a_writer(server)

    blind = writer.scale(ScaleWrite("llm/llama", "v1", 3, 5, ""))
    unknown = writer.scale(ScaleWrite("llm/llama", "v9", 3, 5, "1"))

    assert [blind.status, unknown.status] == [OutcomeStatus.FAILED, OutcomeStatus.FAILED]
    assert "no scale target is known for llm/llama/v9" in unknown.detail
    assert not server.requests


def test_any_kind_with_a_scale_subresource_is_written_and_chooses_its_own_victims(server: ObjectServer) -> None:
    path = "/apis/serving.example.com/v1beta1/namespaces/llm/modelservers/big"
    server.put(path, {"spec": {"replicas": 3}})
    asked = []

    def plural(api_version: str, kind: str) -> str:
        asked.append((api_version, kind))
        return "modelservers"

    ref = ScaleTargetRef(api_version="serving.example.com/v1beta1", kind="ModelServer", name="big")
    outcome = a_writer(server, ref, plural=plural).scale(an_order(server, 1, ("a",), path))

    assert outcome.status is OutcomeStatus.APPLIED
    assert asked == [("serving.example.com/v1beta1", "ModelServer")]
    assert [(r.method, r.path) for r in server.requests] == [("PUT", f"{path}/scale")]


def test_a_kind_that_the_cluster_does_not_know_failed_with_the_reason(server: ObjectServer) -> None:
    def plural(_api_version: str, kind: str) -> str:
        raise PermanentError(f"the cluster has no kind {kind}")

    ref = ScaleTargetRef(api_version="x/v1", kind="Nothing", name="n")
    outcome = a_writer(server, ref, plural=plural).scale(an_order(server, 5))

    assert outcome.status is OutcomeStatus.FAILED
    assert outcome.detail == "the cluster has no kind Nothing"


def test_before_a_reduction_the_victims_get_the_lowest_costs_in_their_order(server: ObjectServer) -> None:
    outcome = a_writer(server).scale(an_order(server, 1, ("b", "a")))

    assert outcome.status is OutcomeStatus.APPLIED
    assert int(annotations(server, "b")[COST]) < int(annotations(server, "a")[COST]) < 0
    assert not annotations(server, "c")
    assert not annotations(server, "stranger")
    methods = [r.method for r in server.requests]
    assert methods.index("PUT") == len(methods) - 1, "scaled only after all of them were marked"


def test_a_pod_that_is_no_victim_any_more_loses_our_mark_and_gets_back_what_it_had(server: ObjectServer) -> None:
    a_pod(server, "a", **{COST: "7"})
    writer = a_writer(server)
    writer.scale(an_order(server, 2, ("a",)))
    marked = annotations(server, "a")

    writer.scale(an_order(server, 1, ("b",)))

    assert int(marked[COST]) < 0
    assert annotations(server, "a") == {COST: "7"}
    assert int(annotations(server, "b")[COST]) < 0


def test_the_mark_of_a_daemon_before_us_is_taken_off_as_well(server: ObjectServer) -> None:
    a_writer(server).scale(an_order(server, 2, ("a",)))

    a_writer(server).scale(an_order(server, 1, ("b",)))

    assert not annotations(server, "a")


def test_after_growth_nobody_is_marked(server: ObjectServer) -> None:
    writer = a_writer(server)
    writer.scale(an_order(server, 2, ("a",)))

    writer.scale(an_order(server, 4))

    assert not annotations(server, "a")


def test_a_cost_that_somebody_else_set_is_undercut_and_otherwise_left_alone(server: ObjectServer) -> None:
    a_pod(server, "c", **{COST: "-5000"})

    a_writer(server).scale(an_order(server, 2, ("a",)))

    assert int(annotations(server, "a")[COST]) < -5000
    assert annotations(server, "c") == {COST: "-5000"}


@pytest.mark.parametrize("code", [403, 422, 500])
def test_where_a_victim_cannot_be_marked_nothing_is_scaled(server: ObjectServer, code: int) -> None:
    server.fail("PATCH", "/pods/", code, "may not")

    outcome = a_writer(server).scale(an_order(server, 1, ("a", "b")))

    assert outcome.status is OutcomeStatus.FAILED
    assert "nothing was scaled" in outcome.detail
    assert "may not" in outcome.detail
    assert replicas(server) == 3


def test_marking_that_takes_too_long_is_given_up_and_nothing_is_scaled(server: ObjectServer) -> None:
    ticks = iter([0.0, 0.0, 60.0])

    outcome = a_writer(server, clock=lambda: next(ticks)).scale(an_order(server, 1, ("a", "b")))

    assert outcome.status is OutcomeStatus.FAILED
    assert "only 1 pods were marked" in outcome.detail
    assert replicas(server) == 3


def test_a_victim_that_left_already_is_a_conflict_for_another_one_would_leave_in_its_place(
    server: ObjectServer,
) -> None:
    del server.objects[f"{PODS}/a"]
    server.put(f"{PODS}/b", {"metadata": {"labels": {"app": "v1"}, "deletionTimestamp": "2026-01-01T00:00:00Z"}})

    outcome = a_writer(server).scale(an_order(server, 1, ("a", "b")))

    assert outcome.status is OutcomeStatus.CONFLICT
    assert outcome.detail == "a, b left already"
    assert replicas(server) == 3


def test_a_reduction_of_an_object_that_moved_on_marks_nobody(server: ObjectServer) -> None:
    order = an_order(server, 1, ("a",))
    server.put(TARGET, {"spec": {"replicas": 4, "selector": {"matchLabels": {"app": "v1"}}}})

    outcome = a_writer(server).scale(order)

    assert outcome.status is OutcomeStatus.CONFLICT
    assert not annotations(server, "a")


def test_a_pod_is_marked_only_as_it_was_read(server: ObjectServer) -> None:
    def change(method: str, path: str) -> None:
        if method == "PATCH" and path.endswith("/pods/a"):
            server.before = lambda _method, _path: None
            a_pod(server, "a", somebody="else")

    server.before = change

    outcome = a_writer(server).scale(an_order(server, 1, ("a",)))

    assert outcome.status is OutcomeStatus.CONFLICT
    assert replicas(server) == 3


def test_who_lost_the_lease_while_it_read_the_pods_marks_and_scales_nothing(server: ObjectServer) -> None:
    outcome = a_writer(server, held=lambda: False).scale(an_order(server, 1, ("a",)))

    assert outcome.status is OutcomeStatus.REFUSED
    assert {r.method for r in server.requests} == {"GET"}


def test_a_number_that_an_admission_webhook_changed_is_no_success(server: ObjectServer) -> None:
    server.fail("PUT", "/scale", 200, "", effect=True)

    outcome = a_writer(server).scale(an_order(server, 5))

    assert outcome.status is OutcomeStatus.FAILED
    assert "admission webhook" in outcome.detail


def test_what_is_marked_as_it_should_be_is_not_written_again() -> None:
    def pod(name: str, **annotations: str) -> dict[str, Any]:
        return {"metadata": {"name": name, "resourceVersion": "1", "annotations": annotations}}

    pods = {name: pod(name) for name in ("a", "b")}
    (mark,) = marks(pods, ["a"])
    pods["a"]["metadata"]["annotations"] = dict(mark.annotations)

    assert not list(marks(pods, ["a"]))


def test_costs_stay_inside_what_kubernetes_takes() -> None:
    low = {"metadata": {"name": "b", "annotations": {COST: str(-(2**31))}}}

    (mark,) = marks({"a": {"metadata": {"name": "a"}}, "b": low}, ["a"])

    assert mark.annotations == {COST: str(-(2**31)), VICTIM: ""}
