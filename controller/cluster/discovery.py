"""What kinds of object are called in paths, as the API server tells."""

from __future__ import annotations

from controller.cluster.client import ClusterClient, NotFoundError, Resource
from controller.cluster.names import WELL_KNOWN
from controller.cluster.raw import objects, text
from controller.errors import TransientError


class Plurals:
    """Plural names of kinds: known ones, and others asked of the server once. Thread-safe."""

    def __init__(self, client: ClusterClient) -> None:
        self._client = client
        self._found: dict[tuple[str, str], str] = {}

    def __call__(self, api_version: str, kind: str) -> str:
        """The plural of a kind. Raises TransientError where the cluster has no such API, or no such kind in it."""
        group, _, version = api_version.rpartition("/")
        known = WELL_KNOWN.get((group, kind)) or self._found.get((api_version, kind))
        if known:
            return known
        try:
            answer = self._client.get(Resource(group, version, "").path())
        except NotFoundError as error:
            raise TransientError(
                f"this cluster has no API {api_version}; install its CRD, or mend scaleTargetRef"
            ) from error
        named = (text(each, "name") for each in objects(answer, "resources") if text(each, "kind") == kind)
        plural = next((name for name in named if "/" not in name), "")
        if not plural:
            raise TransientError(f"{api_version} has no kind {kind}; mend scaleTargetRef")
        self._found[api_version, kind] = plural
        return plural
