"""Weights as Istio has them: read from the named routes of VirtualServices, by one list or a few."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from controller.cluster.client import ClusterClient, ForbiddenError, Json
from controller.cluster.names import FIELD_MANAGER
from controller.cluster.virtual_services import Place, VirtualServices
from controller.errors import TransientError
from controller.model.fleet import Fleet
from controller.model.istio_route import RouteError, split_of, weight_patch, writers
from controller.model.weights import RouteRef, WeightReading

_FEW = 4
"""Namespaces that are listed one by one; more are read by one list of the whole cluster, where that is allowed."""


class IstioWeights:
    """`WeightReader` of fleets whose weights are set by hand; all others are missing in what it reads."""

    def __init__(self, client: ClusterClient) -> None:
        self._services = VirtualServices(client)
        self._whole = True
        """Whether the whole cluster may be listed, as far as is known."""

    def weights(self, fleets: Sequence[Fleet]) -> Mapping[str, WeightReading]:
        """The split by fleet key; what is wrong with a route, or its namespace, is said in the reading.

        Raises TransientError if no namespace can be read.
        """
        namespaces = list(dict.fromkeys(f.route.namespace for f in fleets if f.route is not None))
        found, failed = self._listed(namespaces)
        if failed and len(failed) == len(namespaces):
            raise next(iter(failed.values()))
        return {
            fleet.key: WeightReading(problem=f"VirtualServices could not be read: {failed[route.namespace]}")
            if route.namespace in failed
            else _reading(found.get((route.namespace, route.virtual_service)), fleet, route)
            for fleet in fleets
            if (route := fleet.route) is not None
        }

    def _listed(self, namespaces: Sequence[str]) -> tuple[dict[Place, Json], dict[str, TransientError]]:
        """What is there, and which namespaces could not be read, and why."""
        if self._whole and len(namespaces) > _FEW:
            try:
                return self._services.listed(), {}
            except ForbiddenError:
                self._whole = False
            except TransientError as error:
                return {}, dict.fromkeys(namespaces, error)
        found: dict[Place, Json] = {}
        failed: dict[str, TransientError] = {}
        for namespace in namespaces:
            try:
                found |= self._services.listed(namespace)
            except TransientError as error:
                failed[namespace] = error
        return found, failed


def _reading(document: Json | None, fleet: Fleet, route: RouteRef) -> WeightReading:
    if document is None:
        name = f"{route.namespace}/{route.virtual_service}"
        problem = f"there is no VirtualService {name}: create it, or mend spec.traffic.virtualService"
        return WeightReading(problem=problem)
    version = str(document.get("metadata", {}).get("resourceVersion", ""))
    foreign = writers(document, FIELD_MANAGER)
    try:
        weights = split_of(document, route, fleet.subsets)
    except RouteError as error:
        return WeightReading({}, version, foreign, str(error))
    try:
        weight_patch(document, route, fleet.wanted_weights or ())
    except RouteError as error:
        return WeightReading(weights, version, foreign, str(error))
    return WeightReading(weights, version, foreign)
