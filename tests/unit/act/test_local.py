"""Answers of a supervisor that a healthy one does not give, mapped to outcomes and errors."""

from __future__ import annotations

import pytest
import requests
import responses

from controller.act.local import LocalReplicaWriter, LocalWeightWriter
from controller.errors import TransientError
from controller.model.decision import OutcomeStatus, ScaleWrite, WeightWrite
from controller.model.fleet import Fleet
from controller.model.weights import RouteRef, WeightReading
from controller.observe.local import LocalReplicaReader, LocalWeightReader
from tests.unit.act.test_gate import FLEET

URL = "http://127.0.0.1:9999"
SCALE = f"{URL}/v1/targets/llm/tiny/v1/scale"
ORDER = ScaleWrite("llm/tiny", "v1", 1, 2, "7", ("tiny-v1-1",))
SPLIT = WeightWrite(
    "llm/tiny", RouteRef("llm", "vllm", "primary", "tiny"), (("v1", 100), ("v2", 0)), (("v1", 70), ("v2", 30)), ""
)
TARGET = {"desired": 1, "resource_version": "7", "replicas": []}


@pytest.fixture(autouse=True)
def played() -> object:
    with responses.RequestsMock(assert_all_requests_are_fired=False) as mock:
        yield mock


def test_an_order_carries_number_version_and_victims(played: responses.RequestsMock) -> None:
    body = {"replicas": 2, "resourceVersion": "7", "victims": ["tiny-v1-1"]}
    played.put(SCALE, json={"target": TARGET}, match=[responses.matchers.json_params_matcher(body)])

    assert LocalReplicaWriter(URL).scale(ORDER).status is OutcomeStatus.APPLIED


@pytest.mark.parametrize(
    ("status", "body", "outcome", "detail"),
    [
        pytest.param(409, '{"error": "is at 8"}', OutcomeStatus.CONFLICT, "is at 8", id="conflict"),
        pytest.param(422, '{"error": "too many"}', OutcomeStatus.FAILED, "422: too many", id="refused"),
        pytest.param(500, "Internal error", OutcomeStatus.FAILED, "500", id="broken"),
        pytest.param(503, "[]", OutcomeStatus.FAILED, "503", id="JSON of another shape"),
    ],
)
def test_refusals_become_outcomes_with_their_reason(
    played: responses.RequestsMock, status: int, body: str, outcome: OutcomeStatus, detail: str
) -> None:
    played.put(SCALE, body=body, status=status)

    found = LocalReplicaWriter(URL).scale(ORDER)

    assert found.status is outcome
    assert detail in found.detail


def test_an_order_without_an_answer_failed_and_says_that_it_may_have_taken_effect(
    played: responses.RequestsMock,
) -> None:
    played.put(SCALE, body=requests.ReadTimeout())

    found = LocalReplicaWriter(URL).scale(ORDER)

    assert found.status is OutcomeStatus.FAILED
    assert "whether the order took effect shows in the next reading" in found.detail


def test_an_order_to_move_traffic_carries_all_weights(played: responses.RequestsMock) -> None:
    matcher = responses.matchers.json_params_matcher({"weights": {"v1": 70, "v2": 30}})
    played.put(f"{URL}/v1/weights/llm/tiny", json={"weights": {"v1": 70, "v2": 30}}, match=[matcher])

    assert LocalWeightWriter(URL).set_weights(SPLIT).status is OutcomeStatus.APPLIED


@pytest.mark.parametrize(
    ("answer", "status", "detail"),
    [
        pytest.param({"body": requests.ConnectionError()}, OutcomeStatus.FAILED, "no answer from", id="no answer"),
        pytest.param({"status": 422, "json": {"error": "sum to 90"}}, OutcomeStatus.FAILED, "sum to 90", id="refused"),
        pytest.param({"status": 409, "json": {"error": "is at 8"}}, OutcomeStatus.CONFLICT, "is at 8", id="conflict"),
    ],
)
def test_refused_weights_become_outcomes_with_their_reason(
    played: responses.RequestsMock, answer: dict[str, object], status: OutcomeStatus, detail: str
) -> None:
    played.put(f"{URL}/v1/weights/llm/tiny", **answer)

    outcome = LocalWeightWriter(URL).set_weights(SPLIT)

    assert outcome.status is status
    assert detail in outcome.detail


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param({"status": 500, "body": "Internal error"}, id="broken"),
        pytest.param({"status": 200, "body": "<html>"}, id="no JSON"),
        pytest.param({"status": 200, "body": "[]"}, id="JSON of another shape"),
        pytest.param({"status": 200, "body": '{"targets": 3}'}, id="no targets"),
        pytest.param({"body": requests.ReadTimeout()}, id="too slow"),
    ],
)
def test_a_reading_that_cannot_be_understood_is_a_transient_error(
    played: responses.RequestsMock, answer: dict[str, object]
) -> None:
    played.get(f"{URL}/v1/targets", **answer)

    with pytest.raises(TransientError, match="supervisor at http"):
        LocalReplicaReader(URL).read([FLEET])


def test_a_single_target_that_cannot_be_understood_is_missing_and_the_others_are_read(
    played: responses.RequestsMock,
) -> None:
    other = Fleet.model_validate(
        FLEET.model_copy(update={"metadata": FLEET.metadata.model_copy(update={"name": "other"})}).model_dump()
    )
    targets = {"llm/tiny": {"v1": {"desired": "many"}}, "llm/other": {"v1": TARGET}}
    played.get(f"{URL}/v1/targets", json={"targets": targets})

    assert set(LocalReplicaReader(URL).read([FLEET, other])) == {("llm/other", "v1")}


def test_weights_of_all_fleets_are_one_request_and_unknown_fleets_are_missing(played: responses.RequestsMock) -> None:
    other = FLEET.model_copy(update={"metadata": FLEET.metadata.model_copy(update={"name": "other"})})
    played.get(f"{URL}/v1/weights", json={"weights": {"llm/other": {"v1": 100}, "llm/third": {"v1": 1}}})

    assert LocalWeightReader(URL).weights([FLEET, other]) == {"llm/other": WeightReading({"v1": 100})}


def test_weights_that_make_no_whole_are_a_problem_and_no_weights(played: responses.RequestsMock) -> None:
    played.get(f"{URL}/v1/weights", json={"weights": {"llm/tiny": {"v1": 60, "v2": "many"}}})

    found = LocalWeightReader(URL).weights([FLEET])["llm/tiny"]

    assert not found.weights
    assert "make no sense" in found.problem


def test_weights_that_the_supervisor_refuses_are_a_transient_error_in_its_words(played: responses.RequestsMock) -> None:
    played.get(f"{URL}/v1/weights", status=500, json={"error": "out of order"})

    with pytest.raises(TransientError, match="out of order"):
        LocalWeightReader(URL).weights([FLEET])
