"""How the proxy names what belongs to a fleet."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from controller.errors import UsageError
from controller.model.fleet import Fleet


def proxy_clusters(pattern: str) -> Callable[[Fleet], Iterable[str]]:
    """Names of a fleet's proxy clusters, one for each subset.

    `pattern` may hold {namespace}, {fleet}, {subset} and {host}: the local stack's is "{namespace}/{fleet}/{subset}",
    Istio's "outbound|8000|{subset}|{host}.{namespace}.svc.cluster.local". Raises UsageError for other fields.
    """
    try:
        pattern.format(namespace="", fleet="", subset="", host="")
    except (LookupError, ValueError) as error:
        raise UsageError(
            f"proxy cluster name {pattern!r}: use only the fields {{namespace}}, {{fleet}}, {{subset}} and {{host}}"
        ) from error

    def clusters(fleet: Fleet) -> Iterable[str]:
        meta = fleet.metadata
        subsets = {variant.subset for variant in fleet.spec.variants}
        return [
            pattern.format(namespace=meta.namespace, fleet=meta.name, subset=subset, host=fleet.spec.host)
            for subset in subsets
        ]

    return clusters
