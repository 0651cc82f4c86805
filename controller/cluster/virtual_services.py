"""Istio's VirtualServices, in the newest version of their API that the cluster serves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from controller.cluster.client import ClusterClient, ForbiddenError, Json, NotFoundError, PatchKind, Resource
from controller.cluster.names import FIELD_MANAGER, VIRTUAL_SERVICES
from controller.errors import TransientError

Place = tuple[str, str]
"""Namespace and name."""
VERSIONS = ("v1", "v1beta1", "v1alpha3")
"""Newest first; all of them show the same objects."""


class VirtualServices:
    """Reads and patches. Errors of every call: `ApiError` and `UnreachableError`, as the client's."""

    def __init__(self, client: ClusterClient) -> None:
        self._client = client
        self._served: Resource | None = None

    def listed(self, namespace: str = "") -> dict[Place, Json]:
        """All of a namespace, or of the cluster. Raises TransientError where the cluster serves no VirtualServices."""
        for kind in self._candidates():
            try:
                pages = list(self._client.pages(kind.path(namespace)))
            except NotFoundError:
                self._served = None
                continue
            self._served = kind
            items = [item for page in pages for item in page.get("items") or ()]
            return {_place(item): item for item in items}
        raise _absent()

    def read(self, namespace: str, name: str) -> Json:
        """One of them. Raises NotFoundError where it does not exist."""
        return self._client.get(self._kind(namespace).path(namespace, name))

    def patch(self, namespace: str, name: str, operations: Sequence[Json]) -> Json:
        """Apply a JSON Patch in our name. A `test` that does not hold is an `InvalidError`."""
        path = self._kind(namespace).path(namespace, name)
        return self._client.patch(path, operations, PatchKind.JSON, fieldManager=FIELD_MANAGER)

    def _candidates(self) -> list[Resource]:
        known = [] if self._served is None else [self._served]
        return known + [kind for v in VERSIONS if (kind := replace(VIRTUAL_SERVICES, version=v)) not in known]

    def _kind(self, namespace: str) -> Resource:
        """The version that is served, found by a list of one object: a kind that is not served has no list."""
        if self._served is not None:
            return self._served
        for kind in self._candidates():
            try:
                self._client.get(kind.path(namespace), limit="1")
            except NotFoundError:
                continue
            except ForbiddenError:
                pass  # who may not list finds out by the object itself
            self._served = kind
            return kind
        raise _absent()


def _place(item: Json) -> Place:
    metadata = item.get("metadata", {})
    return str(metadata.get("namespace", "")), str(metadata.get("name", ""))


def _absent() -> TransientError:
    return TransientError("the cluster serves no VirtualServices of networking.istio.io: install Istio's definitions")
