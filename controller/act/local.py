"""Replicas and weights of the local stack, changed through the supervisor's API."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote

import requests

from controller.errors import TransientError
from controller.model.decision import Outcome, OutcomeStatus, ScaleWrite, WeightWrite, Write


class _Supervisor:
    """PUT with a timeout."""

    def __init__(self, url: str, timeout_s: float) -> None:
        self._url = url.rstrip("/")
        self._timeout_s = timeout_s
        self._session = requests.Session()
        # A proxy of the environment has no business between two processes of one machine.
        self._session.trust_env = False

    def put(self, parts: tuple[str, ...], body: Mapping[str, object]) -> tuple[int, str]:
        """Status and, for a refusal, its sentence. Raises TransientError when there is no answer."""
        path = "/v1/" + "/".join(quote(part, safe="") for part in parts)
        try:
            answer = self._session.put(self._url + path, json=body, timeout=self._timeout_s)
        except requests.RequestException as error:
            cause = "in time" if isinstance(error, requests.Timeout) else "the connection failed"
            raise TransientError(
                f"no answer from the supervisor at {self._url} ({cause}): whether the order took effect "
                f"shows in the next reading"
            ) from error
        return answer.status_code, "" if answer.ok else _refusal(answer)


def _refusal(answer: requests.Response) -> str:
    try:
        return str(answer.json()["error"])
    except (requests.JSONDecodeError, KeyError, TypeError):
        return answer.reason or "no reason given"


class LocalReplicaWriter:
    """`ReplicaWriter` over the supervisor at `url`."""

    def __init__(self, url: str, timeout_s: float = 5.0) -> None:
        self._supervisor = _Supervisor(url, timeout_s)

    def scale(self, write: ScaleWrite) -> Outcome:
        """Send one order: Applied, Conflict when the object moved on, else Failed with the reason."""
        body = {
            "replicas": write.replicas,
            "resourceVersion": write.resource_version,
            "victims": list(write.victims),
        }
        try:
            status, refusal = self._supervisor.put(("targets", *write.fleet.split("/"), write.variant, "scale"), body)
        except TransientError as error:
            return Outcome(write, OutcomeStatus.FAILED, str(error))
        return _outcome(write, status, refusal)


class LocalWeightWriter:
    """`WeightWriter` over the supervisor at `url`."""

    def __init__(self, url: str, timeout_s: float = 5.0) -> None:
        self._supervisor = _Supervisor(url, timeout_s)

    def set_weights(self, write: WeightWrite) -> Outcome:
        """Send one order: Applied, else Failed with the reason. The supervisor's weights have no version."""
        try:
            status, refusal = self._supervisor.put(
                ("weights", *write.fleet.split("/")), {"weights": dict(write.weights)}
            )
        except TransientError as error:
            return Outcome(write, OutcomeStatus.FAILED, str(error))
        return _outcome(write, status, refusal)


def _outcome(write: Write, status: int, refusal: str) -> Outcome:
    if status == requests.codes.ok:
        return Outcome(write, OutcomeStatus.APPLIED)
    if status == requests.codes.conflict:
        return Outcome(write, OutcomeStatus.CONFLICT, refusal)
    return Outcome(write, OutcomeStatus.FAILED, f"the supervisor answered {status}: {refusal}")
