"""A fleet that lives on the test cluster: pods with processes behind them, a mesh before them, a Prometheus, clients.

Everything is real but the GPU and the kubelet: Deployments, scheduler, istiod, Envoy, Prometheus, the controller as a
process of its own under its service account.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from controller.cluster.client import PatchKind, Resource
from controller.cluster.names import DEPLOYMENTS, FLEETS, STATEFUL_SETS
from engine.load.records import Results, read_results
from engine.local.files import replace_json
from engine.local.ports import LOOPBACK, free_port
from engine.local.process import Process
from engine.local.prometheus import prometheus_binary, prometheus_command, write_prometheus_config
from tests.cluster.kubelet import MARK, Endpoint, Kubelet
from tests.cluster.plane.mesh import MeshGateway
from tests.cluster.plane.parts import answers
from tests.cluster.plane.plane import ControlPlane
from tests.cluster.plane.waiting import wait_until

ROOT = Path(__file__).parents[2]
MODEL = "meta-llama/Meta-Llama-3.1-8B-Instruct"
OWN = "vllm-governor"
SERVICE_ENTRIES = Resource("networking.istio.io", "v1", "serviceentries")
SCRAPE_S = 2.0
COLD_START_S = 10.0
"""Of the pods that come after the first ones."""
PATHS = {"Deployment": DEPLOYMENTS, "StatefulSet": STATEFUL_SETS}
ONE = {"v1": "Deployment"}
Document = dict[str, Any]


def workload(version: str, replicas: int, node: Mapping[str, str], kind: str = "Deployment") -> Document:
    """A Deployment or StatefulSet of one-GPU pods; the test kubelet gives each a simulated L40S."""
    labels = {"app": f"vllm-server-{version}", "version": version, "governor.dev/variant": version}
    annotations = {
        MARK: "true",
        "governor.dev/test-profile": "l40s-8b",
        "governor.dev/test-model": MODEL,
    }
    container = {"name": "vllm", "image": "vllm", "resources": {"limits": {"nvidia.com/gpu": "1"}}}
    template = {
        "metadata": {"labels": labels, "annotations": annotations},
        "spec": {"nodeSelector": dict(node), "containers": [container], "terminationGracePeriodSeconds": 60},
    }
    spec: Document = {"replicas": replicas, "selector": {"matchLabels": {"app": labels["app"]}}, "template": template}
    if kind == "StatefulSet":
        spec |= {"serviceName": labels["app"], "podManagementPolicy": "Parallel"}
    metadata = {"name": f"vllm-server-{version}"}
    return {"apiVersion": "apps/v1", "kind": kind, "metadata": metadata, "spec": spec}


def fleet(namespace: str, kinds: Mapping[str, str] = ONE, **spec: Any) -> Document:
    """A Fleet of L40S variants by version, cold start 10 s."""
    variants = [
        {
            "name": version,
            "scaleTargetRef": {"kind": kind, "name": f"vllm-server-{version}"},
            "subset": version,
            "accelerator": "l40s",
            "costPerHour": 1.86,
            "replicas": {"min": 1, "max": 4},
        }
        for version, kind in kinds.items()
    ]
    scaling = {"coldStart": "10s", "stabilization": {"down": "30s"}}
    found = {"modelName": MODEL, "host": "vllm-server", "variants": variants, "scaling": scaling, **spec}
    metadata = {"name": "llama-8b", "namespace": namespace}
    return {"apiVersion": "governor.dev/v1alpha1", "kind": "Fleet", "metadata": metadata, "spec": found}


@dataclass
class LivingFleet:
    """Handles of a fleet that lives. `folder` has every log."""

    plane: ControlPlane
    namespace: str
    folder: Path
    gateway: MeshGateway
    kubelet: Kubelet
    prometheus_url: str

    def ready(self) -> int:
        """Pods whose process answers and that take requests."""
        return sum(endpoint.ready for endpoint in self.kubelet.endpoints())

    def read(self) -> Document:
        """The Fleet as the API server has it."""
        return self.plane.client.get(FLEETS.path(self.namespace, "llama-8b"))

    def condition(self, kind: str) -> Document:
        """A condition of its status; empty where there is none."""
        found = self.read().get("status", {}).get("conditions", [])
        return next((each for each in found if each["type"] == kind), {})

    @contextmanager
    def controller(self, name: str = "controller", **options: str) -> Iterator[Process]:
        """`governor run` as the service account of deploy/controller; ended with SIGTERM."""
        kubeconfig = self.plane.kubeconfig_for(OWN, OWN)
        argv = [sys.executable, "-m", "controller", "run", "--kubeconfig", str(kubeconfig), "--own-namespace", OWN]
        argv += ["--prometheus", self.prometheus_url, "--scrape-interval", f"{SCRAPE_S:g}", "--port", "0"]
        argv += ["--state-dir", str(self.folder / f"{name}-state"), "--log-format", "json", "--verbose"]
        argv += ["--proxy-cluster", "outbound|8000|{subset}|{host}.{namespace}.svc.cluster.local"]
        argv += [part for key, value in options.items() for part in (f"--{key.replace('_', '-')}", value)]
        process = Process(name, argv, self.folder / f"{name}.log")
        try:
            yield process
        finally:
            process.end(10.0)

    @contextmanager
    def loading(self, phases: Sequence[tuple[float, float]], seed: int = 1) -> Iterator[Loading]:
        """Conversations by Poisson arrivals through the gateway: (seconds, requests/s) one after the other."""
        scenario = yaml.safe_load((ROOT / "engine" / "load" / "scenarios" / "calm.yaml").read_text())
        scenario["phases"] = [
            {"name": f"p{i}", "kind": "constant", "duration": f"{seconds:g}s", "rps": rps}
            for i, (seconds, rps) in enumerate(phases)
        ]
        file, results = self.folder / "scenario.yaml", self.folder / "requests.jsonl"
        file.write_text(yaml.safe_dump(scenario))
        argv = [sys.executable, "-m", "engine.load", "--target", self.gateway.url, "--scenario", str(file)]
        argv += ["--results", str(results), "--model", MODEL, "--seed", str(seed), "--stdin-lifeline"]
        process = Process("load", argv, self.folder / "load.log")
        try:
            yield Loading(process, results, sum(seconds for seconds, _ in phases) + 120)
        finally:
            process.end(1.0)


@dataclass(frozen=True)
class Loading:
    """A load that goes on. `limit_s` bounds the wait for its end."""

    process: Process
    file: Path
    limit_s: float

    def results(self) -> Results:
        """What became of every request, once the load has ended."""
        assert self.process.wait(self.limit_s), "the load did not end"
        assert self.process.exit_code() == 0, self.process.last_words()
        return read_results(self.file)


@contextmanager
def living_fleet(
    plane: ControlPlane,
    namespace: str,
    folder: Path,
    node: Mapping[str, str],
    replicas: Mapping[str, int],
    kinds: Mapping[str, str] = ONE,
) -> Iterator[LivingFleet]:
    """Workloads with so many replicas by version, all ready; gateway, kubelet, Prometheus. No Fleet yet."""
    targets = folder / "prometheus" / "targets.json"

    def changed(endpoints: Sequence[Endpoint]) -> None:
        """What a mesh and a Prometheus learn of pods."""
        entry = [
            {"address": LOOPBACK, "ports": {"http": e.port}, "labels": {"version": e.labels["version"]}}
            for e in endpoints
            if e.ready
        ]
        path = SERVICE_ENTRIES.path(namespace, "vllm-server")
        plane.client.patch(path, {"spec": {"endpoints": entry}}, PatchKind.MERGE)
        replace_json(targets, [_target(endpoint, namespace) for endpoint in endpoints if endpoint.scraped])

    with MeshGateway(plane, namespace, dict.fromkeys(replicas, ())) as gateway:
        binary = prometheus_binary()
        assert binary is not None, "Prometheus is not installed: apt-get install prometheus"
        config = write_prometheus_config(targets.parent, targets, gateway.admin_port, SCRAPE_S)
        port = free_port()
        prometheus = Process("prometheus", prometheus_command(binary, config, port), folder / "prometheus.log")
        url = f"http://{LOOPBACK}:{port}"
        kubelet = Kubelet(plane.client, namespace, folder / "pods", changed)
        found = LivingFleet(plane, namespace, folder, gateway, kubelet, url)
        try:
            with kubelet:
                first = next(iter(replicas))
                split = {version: 100 if version == first else 0 for version in replicas}
                plane.apply(gateway.virtual_service(split))
                for version, count in replicas.items():
                    # Created, not applied: whoever applies a count drives it, and is not fought.
                    document = workload(version, count, node, kinds[version])
                    plane.client.create(PATHS[kinds[version]].path(namespace), document)
                wait_until("all pods are ready", lambda: found.ready() == sum(replicas.values()), timeout_s=60)
                wait_until("Prometheus answers", lambda: answers(f"{url}/-/ready"))
                kubelet.cold_start_s = COLD_START_S
                yield found
        finally:
            prometheus.end(2.0)


def _target(endpoint: Endpoint, namespace: str) -> Document:
    """As a PodMonitor with the relabelling of docs/cluster.md labels a pod."""
    labels = {"namespace": namespace, "variant": endpoint.labels["governor.dev/variant"], "pod": endpoint.pod}
    return {"targets": [endpoint.address], "labels": labels}
