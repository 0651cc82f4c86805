"""VirtualServices with defaults: a test names only what matters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from controller.model.weights import RouteRef

Document = dict[str, Any]
REF = RouteRef("llm", "vllm-routing", "primary", "vllm-server.llm")
SUBSETS = ("v1", "v2")


def a_destination(subset: str | None, weight: int | None = None, host: str = "vllm-server", **more: Any) -> Document:
    place = {"host": host} | ({} if subset is None else {"subset": subset}) | {"port": {"number": 8000}}
    return {"destination": place} | ({} if weight is None else {"weight": weight}) | more


def a_route(*destinations: Document, name: str | None = "primary", **more: Any) -> Document:
    return ({} if name is None else {"name": name}) | {"route": list(destinations)} | more


def a_virtual_service(*routes: Document, version: str = "7", managers: Sequence[Document] = ()) -> Document:
    """v1 90, v2 10 on route primary unless routes are given."""
    split = a_route(a_destination("v1", 90), a_destination("v2", 10))
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": {
            "name": "vllm-routing",
            "namespace": "llm",
            "resourceVersion": version,
            "managedFields": list(managers),
        },
        "spec": {"hosts": ["*"], "http": list(routes) or [split]},
    }


def split_between(*weights: int | None) -> Document:
    """v1, v2 and a third destination of another host, each with its weight; None leaves one out."""
    hosts = [("v1", "vllm-server"), ("v2", "vllm-server"), (None, "other.shop.svc.cluster.local")]
    given = [a_destination(s, w, h) for (s, h), w in zip(hosts, weights, strict=False)]
    return a_virtual_service(a_route(*given))


def written_by(name: str, time: str, fields: Document | None = None) -> Document:
    """An entry of managedFields."""
    owned = {"f:spec": {"f:http": {}}} if fields is None else fields
    return {"manager": name, "operation": "Update", "time": time, "fieldsType": "FieldsV1", "fieldsV1": owned}
