"""Real traffic by real weights: VirtualService → istiod → a plain Envoy → servers on loopback.

    with Backends(("v1", "v2")) as backends, MeshGateway(plane, namespace, backends.ports) as gateway:
        plane.apply(gateway.virtual_service({"v1": 90, "v2": 10}))
        gateway.wait_for_weights({"v1": 90, "v2": 10})
        gateway.shares(300)          # Counter({"v1": 271, "v2": 29})

Kubernetes takes no loopback addresses for endpoints and no pod here has a process, so the servers are the endpoints
of a ServiceEntry, each labelled with its version; the subsets of a DestinationRule select by that label.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import requests

from controller.cluster.client import PatchKind, Resource
from controller.errors import PermanentError, TransientError
from engine.local.envoy import envoy_binary
from engine.local.files import replace_json
from engine.local.ports import LOOPBACK, free_port
from tests.cluster.plane.backends import VERSION_HEADER
from tests.cluster.plane.envoy_bootstrap import bootstrap
from tests.cluster.plane.parts import Parts, answers
from tests.cluster.plane.plane import FIELD_MANAGER, ControlPlane
from tests.cluster.plane.waiting import wait_until

API = "networking.istio.io/v1"
_SERVICE_ENTRIES = Resource("networking.istio.io", "v1", "serviceentries")
_READY_S = 60.0
_REQUEST_S = 10.0
Document = dict[str, Any]


class MeshGateway:
    """An Envoy at the edge of a namespace, and one host behind it. The plane must have been started with istiod.

    `endpoints` are loopback ports by version, which is also the subset's name; `publish` changes them. `service` is
    the short name that VirtualServices of the namespace call the host by. Entering it applies the ServiceEntry, the
    DestinationRule and the Gateway and starts the Envoy; the VirtualService is the test's. Raises GovernorError or
    AssertionError.
    """

    def __init__(
        self,
        plane: ControlPlane,
        namespace: str,
        endpoints: Mapping[str, Sequence[int]],
        *,
        service: str = "vllm-server",
        service_port: int = 8000,
    ) -> None:
        self.plane = plane
        self.namespace = namespace
        self.service = service
        self.host = f"{service}.{namespace}.svc.cluster.local"
        self.port, self.admin_port = free_port(), free_port()
        # One Gateway's selector must not find the Envoy of another test.
        self.labels = {"istio": f"ingressgateway-{namespace}"}
        self._endpoints, self._subsets = endpoints, tuple(endpoints)
        self._service_port = service_port
        self._name = f"envoy-{namespace}"
        logs = plane.run_dir / "logs"
        self._parts = Parts(lambda name: logs / f"{name}.log")
        self._session = requests.Session()

    @property
    def url(self) -> str:
        """Where clients ask."""
        return f"http://{LOOPBACK}:{self.port}"

    @property
    def admin_url(self) -> str:
        """Envoy's administration: /stats/prometheus, /config_dump, /clusters."""
        return f"http://{LOOPBACK}:{self.admin_port}"

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the Envoy. Its objects stay in the namespace."""
        self._session.close()
        self._parts.end()

    def publish(self, endpoints: Mapping[str, Sequence[int]]) -> None:
        """Other loopback ports by version, from istiod's next push on. Raises TransientError."""
        self._endpoints = endpoints
        entry = self._service_entry()
        path = _SERVICE_ENTRIES.path(self.namespace, self.service)
        self.plane.client.patch(path, entry, PatchKind.APPLY, fieldManager=FIELD_MANAGER, force="true")

    def endpoints(self, subset: str) -> set[int]:
        """Ports that the Envoy sends a subset's requests to, now."""
        name = f"outbound|{self._service_port}|{subset}|{self.host}"
        clusters = self._admin("/clusters?format=json").json().get("cluster_statuses", ())
        hosts = [host for cluster in clusters if cluster["name"] == name for host in cluster.get("host_statuses", ())]
        return {int(host["address"]["socket_address"]["port_value"]) for host in hosts}

    def virtual_service(
        self, weights: Mapping[str, int], name: str = "vllm-routing", route: str = "primary"
    ) -> Document:
        """A VirtualService with one named route over the subsets."""
        split = [{"destination": self.destination(subset), "weight": weight} for subset, weight in weights.items()]
        spec = {"hosts": ["*"], "gateways": [self.service], "http": [{"name": route, "route": split}]}
        return self.document("VirtualService", name, spec)

    def destination(self, subset: str) -> Document:
        """A subset of the host, as routes name it."""
        return {"host": self.service, "subset": subset, "port": {"number": self._service_port}}

    def document(self, kind: str, name: str, spec: Mapping[str, Any]) -> Document:
        """An object of Istio's networking API in the namespace."""
        metadata = {"name": name, "namespace": self.namespace}
        return {"apiVersion": API, "kind": kind, "metadata": metadata, "spec": dict(spec)}

    def ask(self, path: str = "/", headers: Mapping[str, str] | None = None) -> str:
        """Which version answers one request; the status where none does. Raises requests' errors."""
        answer = self._session.get(self.url + path, headers=headers, timeout=_REQUEST_S)
        return answer.headers.get(VERSION_HEADER, str(answer.status_code))

    def shares(self, requests_count: int) -> Counter[str]:
        """How many of so many requests each version answered."""
        return Counter(self.ask() for _ in range(requests_count))

    def weights(self, route: str = "primary") -> dict[str, int] | None:
        """Weights by subset as the Envoy has them now; None while it has no such route.

        istiod leaves out subsets of weight zero, and says nothing of the weight of one that is alone: that is 100.
        """
        for entry in self._routes():
            if entry.get("name") == route:
                return _weights(entry.get("route", {}))
        return None

    def wait_for_weights(self, wanted: Mapping[str, int], route: str = "primary") -> None:
        """Until the Envoy splits so. Raises AssertionError with what it does instead."""
        carried = {subset: weight for subset, weight in wanted.items() if weight}
        alone = dict.fromkeys(carried, 100) if len(carried) == 1 else carried

        def reached() -> bool:
            seen = self.weights(route)
            if seen != alone:
                raise TransientError(f"weights are {seen}, not {alone}")
            return True

        wait_until(f"the Envoy of {self.namespace} has the weights", reached)
        # Its worker takes a change over in between requests: after this one at the latest.
        self._listens()

    def statistics(self) -> str:
        """Envoy's page of metrics, as Prometheus reads it."""
        return self._admin("/stats/prometheus").text

    def _start(self) -> None:
        self.plane.apply([self._service_entry(), self._destination_rule(), self._gateway()])
        folder = self.plane.run_dir / self._name
        folder.mkdir(exist_ok=True)
        file = folder / "bootstrap.json"
        document = bootstrap(
            istiod_port=self.plane.istiod.grpc_port,
            admin_port=self.admin_port,
            namespace=self.namespace,
            labels=self.labels,
        )
        replace_json(file, document)
        argv = (str(envoy_binary()), "--config-path", str(file), "--concurrency", "1", "--disable-hot-restart")
        self._parts.start(self._name, (*argv, "--log-level", "warning"))
        self._parts.wait_for(self._name, lambda: answers(f"{self.admin_url}/ready"), _READY_S)
        self._parts.wait_for(self._name, self._listens, _READY_S)

    def _listens(self) -> bool:
        try:
            self.ask()
        except requests.RequestException:
            return False
        return True

    def _service_entry(self) -> Document:
        endpoints = [
            {"address": LOOPBACK, "ports": {"http": port}, "labels": {"version": version}}
            for version, ports in self._endpoints.items()
            for port in ports
        ]
        port = {"number": self._service_port, "name": "http", "protocol": "HTTP"}
        spec = {"hosts": [self.host], "location": "MESH_INTERNAL", "resolution": "STATIC", "ports": [port]}
        return self.document("ServiceEntry", self.service, {**spec, "endpoints": endpoints})

    def _destination_rule(self) -> Document:
        subsets = [{"name": version, "labels": {"version": version}} for version in self._subsets]
        return self.document("DestinationRule", self.service, {"host": self.service, "subsets": subsets})

    def _gateway(self) -> Document:
        port = {"number": self.port, "name": "http", "protocol": "HTTP"}
        servers = [{"port": port, "hosts": ["*"], "bind": LOOPBACK}]
        return self.document("Gateway", self.service, {"selector": self.labels, "servers": servers})

    def _routes(self) -> list[Document]:
        dump = self._admin("/config_dump").json()
        return [
            route
            for section in dump["configs"]
            for configured in section.get("dynamic_route_configs", ())
            for host in configured.get("route_config", {}).get("virtual_hosts", ())
            for route in host.get("routes", ())
        ]

    def _admin(self, path: str) -> requests.Response:
        try:
            answer = self._session.get(self.admin_url + path, timeout=_REQUEST_S)
        except requests.RequestException as error:
            self._parts.check()
            raise TransientError(f"the Envoy of {self.namespace} does not answer: {error}") from error
        if not answer.ok:
            raise PermanentError(f"the Envoy of {self.namespace} answered {path} with {answer.status_code}")
        return answer


def _weights(action: Mapping[str, Any]) -> dict[str, int]:
    """Weights by subset; a cluster is called `outbound|port|subset|host`."""
    split = action.get("weighted_clusters", {}).get("clusters")
    if split is None:
        return {_subset(action["cluster"]): 100} if "cluster" in action else {}
    return {_subset(each["name"]): int(each.get("weight", 0)) for each in split}


def _subset(cluster: str) -> str:
    return cluster.split("|")[2]
