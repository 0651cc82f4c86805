"""Replicas and weights of the local stack, read from the supervisor's API."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import requests
from pydantic import ValidationError

from controller.errors import TransientError
from controller.model.codec import from_plain
from controller.model.fleet import Fleet
from controller.model.snapshot import ScaleTarget
from controller.model.weights import WeightReading
from controller.ports import VariantKey


class _Source:
    """GET with a timeout; every failure is a TransientError that says where."""

    def __init__(self, url: str, timeout_s: float) -> None:
        self._url = url.rstrip("/")
        self._timeout_s = timeout_s
        self._session = requests.Session()
        # A proxy of the environment has no business between two processes of one machine.
        self._session.trust_env = False

    def get(self, path: str, field: str) -> Mapping[str, Any]:
        """The object under `field` of a JSON answer. Raises TransientError."""
        where = f"supervisor at {self._url}"
        try:
            answer = self._session.get(self._url + path, timeout=self._timeout_s)
        except requests.RequestException as error:
            raise TransientError(f"{where} does not answer: {_cause(error)}") from error
        try:
            body = answer.json()
        except requests.JSONDecodeError as error:
            raise TransientError(f"{where} answered {answer.status_code} without JSON to {path}") from error
        found = body.get(field) if isinstance(body, dict) else None
        if answer.status_code != requests.codes.ok or not isinstance(found, dict):
            detail = body.get("error", "") if isinstance(body, dict) else ""
            raise TransientError(f"{where} answered {answer.status_code} to {path}: {detail or f'no {field} in it'}")
        return found


class LocalReplicaReader:
    """`ReplicaReader` over the supervisor at `url`."""

    def __init__(self, url: str, timeout_s: float = 5.0) -> None:
        self._source = _Source(url, timeout_s)

    def read(self, fleets: Sequence[Fleet]) -> Mapping[VariantKey, ScaleTarget]:
        """Scale targets by (fleet, variant); what cannot be understood is missing.

        Raises TransientError if the supervisor cannot be read.
        """
        found = self._source.get("/v1/targets", "targets")
        wanted = [(fleet.key, variant.name) for fleet in fleets for variant in fleet.spec.variants]
        targets = {key: _target(found.get(key[0]), key[1]) for key in wanted}
        return {key: target for key, target in targets.items() if target is not None}


class LocalWeightReader:
    """`WeightReader` over the supervisor at `url`."""

    def __init__(self, url: str, timeout_s: float = 5.0) -> None:
        self._source = _Source(url, timeout_s)

    def weights(self, fleets: Sequence[Fleet]) -> Mapping[str, WeightReading]:
        """The split by fleet key, by one request; fleets that the supervisor does not know are missing.

        Raises TransientError if the supervisor cannot be read.
        """
        found = self._source.get("/v1/weights", "weights")
        return {fleet.key: _split(plain) for fleet in fleets if isinstance(plain := found.get(fleet.key), dict)}


def _target(variants: object, name: str) -> ScaleTarget | None:
    plain = variants.get(name) if isinstance(variants, dict) else None
    try:
        return from_plain(ScaleTarget, plain)
    except ValidationError:
        return None


def _split(plain: Mapping[str, Any]) -> WeightReading:
    weights = {subset: weight for subset, weight in plain.items() if isinstance(weight, int)}
    if len(weights) < len(plain) or sum(weights.values()) != 100:
        return WeightReading(problem=f"the supervisor's weights make no sense: {dict(plain)}")
    return WeightReading(weights)


def _cause(error: requests.RequestException) -> str:
    if isinstance(error, requests.Timeout):
        return "no answer in time"
    return "connection refused" if isinstance(error, requests.ConnectionError) else str(error)
