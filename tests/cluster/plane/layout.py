"""Files, ports and identities of one control plane."""

from __future__ import annotations

import json
import secrets
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from controller.errors import PermanentError, UsageError
from engine.local.ports import LOOPBACK, free_port
from tests.cluster.plane import audit, stages

ADMIN = "admin"
CONTROLLERS = "system:kube-controller-manager"
SCHEDULER = "system:kube-scheduler"
KWOK = "kwok"
ISTIOD = "istiod"
_USERS = (ADMIN, CONTROLLERS, SCHEDULER, KWOK, ISTIOD)
_OPENSSL_S = 30


@dataclass(frozen=True, slots=True)
class Layout:
    """Where everything of one plane lies. Ports are free when it is made."""

    run_dir: Path
    api_port: int = field(default_factory=free_port)
    etcd_port: int = field(default_factory=free_port)
    etcd_peer_port: int = field(default_factory=free_port)
    kwok_port: int = field(default_factory=free_port)
    tokens: Mapping[str, str] = field(default_factory=lambda: {user: secrets.token_hex(16) for user in _USERS})

    @property
    def server(self) -> str:
        """Address of the API server."""
        return f"https://{LOOPBACK}:{self.api_port}"

    @property
    def etcd(self) -> str:
        """Address of etcd."""
        return f"http://{LOOPBACK}:{self.etcd_port}"

    @property
    def certificate(self) -> Path:
        """The API server's certificate, which is its own authority."""
        return self.run_dir / "server.crt"

    @property
    def key(self) -> Path:
        """Private key of the certificate, and of service account tokens."""
        return self.run_dir / "server.key"

    @property
    def token_file(self) -> Path:
        """Who is known by which static token."""
        return self.run_dir / "tokens.csv"

    @property
    def audit_policy(self) -> Path:
        """What is audited."""
        return self.run_dir / "audit-policy.yaml"

    @property
    def audit_log(self) -> Path:
        """One JSON object a line for each audited request."""
        return self.run_dir / "audit.log"

    @property
    def stages(self) -> Path:
        """KWOK's stages."""
        return self.run_dir / "stages.yaml"

    @property
    def etcd_data(self) -> Path:
        """The database, gone with the plane."""
        return self.run_dir / "etcd"

    def kubeconfig(self, user: str) -> Path:
        """Kubeconfig of one of the plane's own users."""
        name = "kubeconfig" if user == ADMIN else f"kubeconfig-{user.removeprefix('system:')}"
        return self.run_dir / name

    def log(self, part: str) -> Path:
        """Where a part logs."""
        return self.run_dir / "logs" / f"{part}.log"

    def prepare(self) -> None:
        """Write everything that the parts read; what an earlier plane left is removed. Raises GovernorError."""
        shutil.rmtree(self.etcd_data, ignore_errors=True)
        shutil.rmtree(self.run_dir / "logs", ignore_errors=True)
        self.audit_log.unlink(missing_ok=True)
        try:
            self.log("any").parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"the run folder {self.run_dir} cannot be made: {error.strerror}") from error
        _make_certificate(self.certificate, self.key)
        rows = [f'{token},{user},{user},"system:masters"\n' for user, token in self.tokens.items()]
        write_secret(self.token_file, "".join(rows))
        for user, token in self.tokens.items():
            self.write_kubeconfig(self.kubeconfig(user), user, token)
        self.audit_policy.write_text(json.dumps(audit.POLICY))
        self.stages.write_text(yaml.safe_dump_all(stages.STAGES))

    def write_kubeconfig(self, file: Path, user: str, token: str, namespace: str = "default") -> None:
        """Write a kubeconfig that says who one is by a token."""
        cluster = {"server": self.server, "certificate-authority": str(self.certificate)}
        document: dict[str, Any] = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "test", "cluster": cluster}],
            "users": [{"name": user, "user": {"token": token}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": user, "namespace": namespace}}],
            "current-context": "test",
        }
        write_secret(file, yaml.safe_dump(document, sort_keys=False))


def write_secret(file: Path, text: str) -> None:
    """Write a file that only its owner reads."""
    file.touch(mode=0o600)
    file.write_text(text)


def _make_certificate(certificate: Path, key: Path) -> None:
    argv = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj", "/CN=test-cluster"]
    names = f"subjectAltName=IP:{LOOPBACK},DNS:localhost,DNS:kubernetes.default.svc"
    argv += ["-addext", names, "-keyout", str(key), "-out", str(certificate)]
    try:
        subprocess.run(argv, check=True, capture_output=True, text=True, timeout=_OPENSSL_S)
    except FileNotFoundError as error:
        raise UsageError("openssl is not on the PATH: install the package openssl") from error
    except subprocess.CalledProcessError as error:
        raise PermanentError(f"openssl made no certificate: {error.stderr.strip()}") from error
    except subprocess.TimeoutExpired as error:
        raise PermanentError(f"openssl made no certificate in {_OPENSSL_S} s") from error
    key.chmod(0o600)
