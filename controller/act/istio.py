"""Weights written to Istio: one guarded JSON Patch on the named route of a VirtualService."""

from __future__ import annotations

from controller.cluster.client import ClusterClient, ConflictError, InvalidError, Json
from controller.cluster.virtual_services import VirtualServices
from controller.errors import TransientError
from controller.model.decision import Outcome, OutcomeStatus, WeightWrite
from controller.model.istio_route import RouteError, weight_patch


class IstioWeightWriter:
    """`WeightWriter` over the API server. The object is read again and must be the one that the order was made for."""

    def __init__(self, client: ClusterClient) -> None:
        self._services = VirtualServices(client)

    def set_weights(self, write: WeightWrite) -> Outcome:
        """Send one order: Applied, Conflict when the object moved on, Refused when the route does not allow it.

        Failed with the reason when the API server does not answer or rejects it.
        """
        try:
            return self._sent(write)
        except RouteError as error:
            return Outcome(write, OutcomeStatus.REFUSED, str(error))
        except ConflictError as error:
            return Outcome(write, OutcomeStatus.CONFLICT, str(error))
        except InvalidError as error:
            return self._rejected(write, error)
        except TransientError as error:
            return Outcome(write, OutcomeStatus.FAILED, str(error))

    def _sent(self, write: WeightWrite) -> Outcome:
        route = write.route
        document = self._services.read(route.namespace, route.virtual_service)
        if _version(document) != write.resource_version:
            return Outcome(write, OutcomeStatus.CONFLICT, _moved_on(write, document))
        operations = weight_patch(document, route, write.weights)
        if operations:
            self._services.patch(route.namespace, route.virtual_service, operations)
        return Outcome(write, OutcomeStatus.APPLIED)

    def _rejected(self, write: WeightWrite, error: InvalidError) -> Outcome:
        """A test of the patch that did not hold is answered like any invalid object: the version tells them apart."""
        try:
            now = self._services.read(write.route.namespace, write.route.virtual_service)
        except TransientError:
            return Outcome(write, OutcomeStatus.FAILED, str(error))
        if _version(now) != write.resource_version:
            return Outcome(write, OutcomeStatus.CONFLICT, _moved_on(write, now))
        return Outcome(write, OutcomeStatus.FAILED, str(error))


def _version(document: Json) -> str:
    return str(document.get("metadata", {}).get("resourceVersion", ""))


def _moved_on(write: WeightWrite, document: Json) -> str:
    name = f"{write.route.namespace}/{write.route.virtual_service}"
    return f"VirtualService {name} is at version {_version(document)}, the order was made for {write.resource_version}"
