"""Weights as Istio has them: read from the named routes of VirtualServices, by one list or a few."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from controller.cluster.client import ClusterClient, ForbiddenError, Json, NotFoundError
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

        Raises TransientError if none can be read.
        """
        routes = [fleet.route for fleet in fleets if fleet.route is not None]
        places = list(dict.fromkeys((route.namespace, route.virtual_service) for route in routes))
        found, failed = self._found(places)
        if failed and len(failed) == len(places):
            raise next(iter(failed.values()))
        return {
            fleet.key: WeightReading(problem=f"the VirtualService could not be read: {failed[place]}")
            if (place := (route.namespace, route.virtual_service)) in failed
            else _reading(found.get(place), fleet, route)
            for fleet in fleets
            if (route := fleet.route) is not None
        }

    def _found(self, places: Sequence[Place]) -> tuple[dict[Place, Json], dict[Place, TransientError]]:
        """The objects that are there, and those that could not be read, and why.

        Where a namespace may not be listed each of them is asked for: a role may allow objects by their names.
        """
        found, unlisted = self._listed(list(dict.fromkeys(namespace for namespace, _ in places)))
        failed: dict[Place, TransientError] = {}
        for place in places:
            error = unlisted.get(place[0])
            if isinstance(error, ForbiddenError):
                error = self._read_alone(place, found)
            if error is not None:
                failed[place] = error
        return found, failed

    def _read_alone(self, place: Place, found: dict[Place, Json]) -> TransientError | None:
        """Put one object beside the others; why it could not be read, if it could not. It may be absent."""
        try:
            found[place] = self._services.read(*place)
        except NotFoundError:
            return None
        except TransientError as error:
            return error
        return None

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
