"""istiod out of its cluster, for Envoys without Istio's own filters and certificates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from engine.local.ports import LOOPBACK, free_port

NAMESPACE = "istio-system"

MESH: Mapping[str, Any] = {
    # With it clusters wait for certificates for ever, and no listener comes.
    "enableAutoMtls": False,
    # Istio's telemetry is a filter that the plain Envoy lacks.
    "defaultProviders": {},
    "enablePrometheusMerge": False,
    "accessLogFile": "",
}
ENVIRONMENT: Mapping[str, str] = {
    "POD_NAMESPACE": NAMESPACE,
    "POD_NAME": "istiod-test",
    "INJECT_ENABLED": "false",
    "ENABLE_CA_SERVER": "false",
    "PILOT_CERT_PROVIDER": "none",
    "VALIDATION_WEBHOOK_CONFIG_NAME": "",
    "INJECTION_WEBHOOK_CONFIG_NAME": "",
    "PILOT_ENABLE_METADATA_EXCHANGE": "false",
    "PILOT_ENABLE_ALPN_FILTER": "false",
}


@dataclass(frozen=True, slots=True)
class Istiod:
    """One istiod: what it is started with, and where it serves."""

    binary: Path
    kubeconfig: Path
    mesh_config: Path
    grpc_port: int = field(default_factory=free_port)
    http_port: int = field(default_factory=free_port)
    monitoring_port: int = field(default_factory=free_port)

    @property
    def ready_url(self) -> str:
        """Answers 200 when it has read the cluster."""
        return f"http://{LOOPBACK}:{self.http_port}/ready"

    def command(self) -> tuple[str, ...]:
        """Write the mesh's configuration; the command line. Raises OSError."""
        self.mesh_config.write_text(yaml.safe_dump(dict(MESH)))
        return (
            *(str(self.binary), "discovery", "--kubeconfig", str(self.kubeconfig)),
            *("--meshConfig", str(self.mesh_config)),
            *("--httpAddr", f"{LOOPBACK}:{self.http_port}", "--httpsAddr", ""),
            *("--grpcAddr", f"{LOOPBACK}:{self.grpc_port}", "--secureGRPCAddr", ""),
            *("--monitoringAddr", f"{LOOPBACK}:{self.monitoring_port}", "--ctrlz_port", "0"),
        )
