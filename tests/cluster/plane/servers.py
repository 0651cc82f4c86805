"""Command lines of a control plane's parts."""

from __future__ import annotations

from dataclasses import dataclass

from engine.local.ports import LOOPBACK
from tests.cluster.plane import layout as users
from tests.cluster.plane import pins
from tests.cluster.plane.binaries import Binaries
from tests.cluster.plane.layout import Layout

_NODE_LEASE_S = 40


@dataclass(frozen=True, slots=True)
class Servers:
    """How each part is started. `api_qps` is what controllers and scheduler may ask of the API server each second."""

    binaries: Binaries
    layout: Layout
    api_qps: int

    def etcd(self) -> tuple[str, ...]:
        """The store. It does not wait for the disk: a test's objects need not outlive the machine."""
        peer = f"http://{LOOPBACK}:{self.layout.etcd_peer_port}"
        return (
            self._path(pins.ETCD),
            *("--data-dir", str(self.layout.etcd_data), "--unsafe-no-fsync"),
            *("--listen-client-urls", self.layout.etcd, "--advertise-client-urls", self.layout.etcd),
            *(
                "--listen-peer-urls",
                peer,
                "--initial-advertise-peer-urls",
                peer,
                "--initial-cluster",
                f"default={peer}",
            ),
            *("--quota-backend-bytes", str(4 * 2**30), "--log-level", "warn"),
        )

    def api_server(self) -> tuple[str, ...]:
        """The API server, with RBAC and an audit log."""
        here = self.layout
        return (
            self._path(pins.API_SERVER),
            *("--etcd-servers", here.etcd),
            *("--bind-address", LOOPBACK, "--secure-port", str(here.api_port), "--advertise-address", LOOPBACK),
            # It would publish its own address, and refuses to publish a loopback one.
            *("--endpoint-reconciler-type", "none"),
            *("--tls-cert-file", str(here.certificate), "--tls-private-key-file", str(here.key)),
            *("--service-account-issuer", here.server),
            *("--service-account-key-file", str(here.key), "--service-account-signing-key-file", str(here.key)),
            *("--authorization-mode", "RBAC", "--token-auth-file", str(here.token_file)),
            *("--service-cluster-ip-range", "10.96.0.0/16"),
            # No pod has a process that could use a token.
            *("--disable-admission-plugins", "ServiceAccount"),
            *("--audit-policy-file", str(here.audit_policy), "--audit-log-path", str(here.audit_log)),
            *("--audit-log-maxsize", "4000"),
            "--profiling=false",
        )

    def controllers(self) -> tuple[str, ...]:
        """All of Kubernetes' controllers: Deployments, HPAs, node life cycle, garbage collection, …"""
        return (
            self._path(pins.CONTROLLERS),
            *self._client(users.CONTROLLERS),
            *("--service-account-private-key-file", str(self.layout.key)),
            *("--root-ca-file", str(self.layout.certificate)),
            # A starved machine is no reason to declare its nodes dead.
            *("--node-monitor-grace-period", "180s"),
        )

    def scheduler(self) -> tuple[str, ...]:
        """The scheduler."""
        return (self._path(pins.SCHEDULER), *self._client(users.SCHEDULER))

    def kwok(self) -> tuple[str, ...]:
        """The kubelet of every node."""
        return (
            self._path(pins.KWOK),
            *("--kubeconfig", str(self.layout.kubeconfig(users.KWOK)), "--config", str(self.layout.stages)),
            "--manage-all-nodes=true",
            *("--node-lease-duration-seconds", str(_NODE_LEASE_S)),
            *("--node-ip", "10.0.0.1", "--cidr", "10.1.0.0/16"),
            *("--server-address", f"{LOOPBACK}:{self.layout.kwok_port}"),
        )

    def _path(self, program: pins.Program) -> str:
        return str(self.binaries.program(program))

    def _client(self, user: str) -> tuple[str, ...]:
        return (
            *("--kubeconfig", str(self.layout.kubeconfig(user))),
            *("--leader-elect=false", "--secure-port", "0"),
            *("--kube-api-qps", str(self.api_qps), "--kube-api-burst", str(2 * self.api_qps)),
        )
