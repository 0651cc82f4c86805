"""Weights as Istio has them: read from the named routes of VirtualServices, one list for each namespace."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from controller.cluster.client import ClusterClient, Json
from controller.cluster.names import FIELD_MANAGER
from controller.cluster.virtual_services import VirtualServices
from controller.errors import TransientError
from controller.model.fleet import Fleet
from controller.model.istio_route import RouteError, split_of, weight_patch, writers
from controller.model.weights import RouteRef, WeightReading


class IstioWeights:
    """`WeightReader` of fleets whose weights are set by hand; all others are missing in what it reads."""

    def __init__(self, client: ClusterClient) -> None:
        self._services = VirtualServices(client)

    def weights(self, fleets: Sequence[Fleet]) -> Mapping[str, WeightReading]:
        """The split by fleet key; what is wrong with a route, or its namespace, is said in the reading.

        Raises TransientError if no namespace can be read.
        """
        found: dict[str, dict[str, Json]] = {}
        failed: dict[str, TransientError] = {}
        for namespace in dict.fromkeys(f.route.namespace for f in fleets if f.route is not None):
            try:
                found[namespace] = self._services.in_namespace(namespace)
            except TransientError as error:
                failed[namespace] = error
        if failed and not found:
            raise next(iter(failed.values()))
        return {
            fleet.key: WeightReading(problem=f"VirtualServices could not be read: {failed[route.namespace]}")
            if route.namespace in failed
            else _reading(found[route.namespace].get(route.virtual_service), fleet, route)
            for fleet in fleets
            if (route := fleet.route) is not None
        }


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
