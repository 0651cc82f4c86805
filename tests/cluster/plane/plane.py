"""One real control plane on loopback, held by this process."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from controller.cluster.client import ClusterClient, Resource
from controller.errors import GovernorError, TransientError
from engine.local.ports import is_free
from tests.cluster.plane import layout as users
from tests.cluster.plane import nodes, pins
from tests.cluster.plane.audit import AuditEvent, read_audit_log
from tests.cluster.plane.binaries import Binaries, installed
from tests.cluster.plane.istiod import ENVIRONMENT, NAMESPACE, Istiod
from tests.cluster.plane.layout import Layout
from tests.cluster.plane.parts import Parts, answers
from tests.cluster.plane.servers import Servers
from tests.cluster.plane.waiting import wait_until

_NAMESPACES = Resource("", "v1", "namespaces")
_ACCOUNTS = Resource("", "v1", "serviceaccounts")
_READY_S = 120.0
_KUBECTL_S = 60.0
_TIMEOUT_S = 15.0
_TOKEN_S = 24 * 3600
FIELD_MANAGER = "test"
Document = Mapping[str, Any]


class KubectlError(GovernorError):
    """kubectl refused; the message is what it said. `code` is its exit code."""

    def __init__(self, arguments: Sequence[str], code: int, said: str) -> None:
        super().__init__(f"kubectl {' '.join(arguments)}: {said.strip()}")
        self.code = code


class ControlPlane:
    """etcd, API server, controllers, scheduler and KWOK, and istiod where asked for, with all their files in `run_dir`.

    `api_qps` bounds what controllers and scheduler ask each second: 500 for thousands of pods. Entering it starts
    it, leaving it ends it; several can run at once. Raises GovernorError when a part is missing or does not start.
    """

    def __init__(
        self, run_dir: Path, *, istiod: bool = False, api_qps: int = 100, binaries: Binaries | None = None
    ) -> None:
        self.run_dir = run_dir.resolve()
        self.binaries = binaries or installed()
        self._layout = Layout(self.run_dir)
        self._servers = Servers(self.binaries, self._layout, api_qps)
        self._parts = Parts(self._layout.log)
        self._client: ClusterClient | None = None
        self._asked_for_istiod = istiod
        self.istiod = Istiod(
            self.binaries.program(pins.ISTIOD), self._layout.kubeconfig(users.ISTIOD), self.run_dir / "mesh.yaml"
        )
        """Where istiod serves, or would."""

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
        """End every process; logs stay, the database does not."""
        self._parts.end()
        shutil.rmtree(self._layout.etcd_data, ignore_errors=True)

    @property
    def kubeconfig(self) -> Path:
        """The admin's."""
        return self._layout.kubeconfig(users.ADMIN)

    @property
    def server(self) -> str:
        """Address of the API server."""
        return self._layout.server

    @property
    def certificate(self) -> Path:
        """The certificate that the API server is known by."""
        return self._layout.certificate

    @property
    def client(self) -> ClusterClient:
        """The API as the admin."""
        if self._client is None:
            self._client = ClusterClient.of_environment(self.kubeconfig, timeout_s=_TIMEOUT_S)
        return self._client

    def kubeconfig_for(self, namespace: str, service_account: str, lifetime_s: int = _TOKEN_S) -> Path:
        """A kubeconfig of a service account that exists, with a fresh token. Raises TransientError."""
        path = _ACCOUNTS.path(namespace, service_account, "token")
        asked = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest"}
        answer = self.client.create(path, {**asked, "spec": {"expirationSeconds": lifetime_s}})
        file = self.run_dir / f"kubeconfig-{namespace}-{service_account}"
        self._layout.write_kubeconfig(file, service_account, str(answer["status"]["token"]), namespace)
        return file

    def client_for(self, namespace: str, service_account: str) -> ClusterClient:
        """The API as a service account that exists. Raises TransientError."""
        return ClusterClient.of_environment(self.kubeconfig_for(namespace, service_account), timeout_s=_TIMEOUT_S)

    def kubectl(self, *arguments: str, stdin: str | None = None, kubeconfig: Path | None = None) -> str:
        """What kubectl prints, as the admin unless told otherwise. Raises KubectlError."""
        caller = ("--kubeconfig", str(kubeconfig or self.kubeconfig), "--cache-dir", str(self.run_dir / "kubectl"))
        argv = [str(self.binaries.program(pins.KUBECTL)), *caller, *arguments]
        try:
            answer = subprocess.run(argv, input=stdin, capture_output=True, text=True, timeout=_KUBECTL_S, check=False)
        except subprocess.TimeoutExpired as error:
            raise TransientError(f"kubectl {' '.join(arguments)}: no end after {_KUBECTL_S:g} s") from error
        if answer.returncode:
            raise KubectlError(arguments, answer.returncode, answer.stderr)
        return answer.stdout

    def apply(self, what: Path | Document | Sequence[Document], namespace: str = "") -> None:
        """Server-side apply of a file, a folder, a kustomization, or documents. Raises KubectlError."""
        where = ("--namespace", namespace) if namespace else ()
        apply = ("apply", "--server-side", "--force-conflicts", "--field-manager", FIELD_MANAGER, *where)
        if isinstance(what, Path):
            kind = "-k" if (what / "kustomization.yaml").is_file() else "-f"
            self.kubectl(*apply, kind, str(what))
            return
        documents = [what] if isinstance(what, Mapping) else list(what)
        self.kubectl(*apply, "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": documents}))

    def install_crds(self, *names: str) -> None:
        """Custom resource definitions, served when this returns: istio, prometheus-operator, gateway-api.

        Raises GovernorError.
        """
        for name in names:
            folder = self.binaries.definition(name)
            self.apply(folder)
            self.kubectl("wait", "--for=condition=Established", "--timeout=50s", "-f", str(folder))

    def add_namespace(self, name: str) -> None:
        """A namespace that takes objects. Raises TransientError, or AssertionError when its account never comes."""
        self.client.create(_NAMESPACES.path(), {"metadata": {"name": name}})
        account = _ACCOUNTS.path(name, "default")
        wait_until(f"the default service account of {name}", lambda: self.client.get(account))

    def add_node(
        self,
        name: str,
        gpus: int = 4,
        accelerator: str = "l40s",
        pods: int = 110,
        labels: Mapping[str, str] | None = None,
    ) -> None:
        """A node that pods can be scheduled on when this returns. Raises TransientError or AssertionError."""
        node = nodes.gpu_node(name, gpus=gpus, accelerator=accelerator, pods=pods, labels=labels or {})
        self.client.create(nodes.NODES.path(), node)
        path = nodes.NODES.path(name=name)
        wait_until(f"node {name} is schedulable", lambda: nodes.is_schedulable(self.client.get(path)))

    def remove_node(self, name: str) -> None:
        """Take a node away; its pods are lost. Raises TransientError."""
        self.client.delete(nodes.NODES.path(name=name))

    def start_api_server(self) -> None:
        """Start it where it was, until it is ready. Raises PermanentError."""
        self._parts.start("kube-apiserver", self._servers.api_server())
        ready = f"{self.server}/readyz"
        self._parts.wait_for("kube-apiserver", lambda: answers(ready, self._layout.certificate), _READY_S)

    def stop_api_server(self) -> None:
        """Kill it, as an outage does; nothing listens on its port when this returns."""
        self._parts.end("kube-apiserver")
        wait_until("the API server's port is free", lambda: is_free(self._layout.api_port))

    def audit(self) -> list[AuditEvent]:
        """Every write but the plane's book-keeping, and all that service accounts asked; wait for what must come."""
        return read_audit_log(self._layout.audit_log)

    def check(self) -> None:
        """Raise PermanentError with the end of its log if a part has ended."""
        self._parts.check()

    def _start(self) -> None:
        self._layout.prepare()
        self._parts.start("etcd", self._servers.etcd())
        self._parts.wait_for("etcd", lambda: answers(f"{self._layout.etcd}/health"), _READY_S)
        self.start_api_server()
        self._parts.start("kube-controller-manager", self._servers.controllers())
        self._parts.start("kube-scheduler", self._servers.scheduler())
        self._parts.start("kwok", self._servers.kwok())
        kwok_health = f"http://127.0.0.1:{self._layout.kwok_port}/healthz"
        if self._asked_for_istiod:
            self._start_istiod()
        self._parts.wait_for("kwok", lambda: answers(kwok_health), _READY_S)
        self._parts.wait_for("kube-controller-manager", self._makes_accounts, _READY_S)
        self.check()

    def _makes_accounts(self) -> bool:
        try:
            return bool(self.client.get(_ACCOUNTS.path("default", "default")))
        except TransientError:
            return False

    def _start_istiod(self) -> None:
        self.client.create(_NAMESPACES.path(), {"metadata": {"name": NAMESPACE}})
        self.install_crds("istio")
        self._parts.start("istiod", self.istiod.command(), ENVIRONMENT)
        self._parts.wait_for("istiod", lambda: answers(self.istiod.ready_url), _READY_S)
