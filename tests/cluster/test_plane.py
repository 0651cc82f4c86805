"""The control plane of this tier is a real one: it schedules, refuses, remembers, moves traffic, and leaves nothing."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil
import pytest

from controller.cluster.client import ForbiddenError, PatchKind, Resource, UnreachableError
from controller.errors import PermanentError
from tests.cluster.conftest import AddNode
from tests.cluster.plane.backends import Backends
from tests.cluster.plane.binaries import installed
from tests.cluster.plane.mesh import MeshGateway
from tests.cluster.plane.plane import ControlPlane
from tests.cluster.plane.stages import COLD_START, DRAIN, KUBELET
from tests.cluster.plane.waiting import wait_until

Document = dict[str, Any]
PODS = Resource("", "v1", "pods")
CONFIG_MAPS = Resource("", "v1", "configmaps")
DEPLOYMENTS = Resource("apps", "v1", "deployments")
VIRTUAL_SERVICES = Resource("networking.istio.io", "v1", "virtualservices")


def pod_spec(node: Mapping[str, str], gpus: int = 0) -> Document:
    limits = {"nvidia.com/gpu": str(gpus)} if gpus else {}
    return {
        "nodeSelector": dict(node),
        "containers": [{"name": "vllm", "image": "vllm", "resources": {"limits": limits}}],
    }


def pod(name: str, node: Mapping[str, str], **annotations: str) -> Document:
    metadata = {"name": name, "annotations": annotations}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": pod_spec(node)}


def deployment(name: str, replicas: int, template: Document) -> Document:
    labels = {"app": name}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": template},
        },
    }


def condition(of: Document, kind: str) -> Document:
    found = [each for each in of.get("status", {}).get("conditions", []) if each["type"] == kind]
    return found[0] if found else {}


def is_ready(of: Document) -> bool:
    return condition(of, "Ready").get("status") == "True"


def pods_of(plane: ControlPlane, namespace: str) -> list[Document]:
    return list(plane.client.get(PODS.path(namespace))["items"])


def instant(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def test_six_pods_of_one_gpu_on_a_node_of_four_leave_two_pending(
    plane: ControlPlane, namespace: str, gpu_node: AddNode
) -> None:
    node = gpu_node(gpus=4)
    plane.apply(deployment("chat", 6, pod_spec(node, gpus=1)), namespace)

    def settled() -> list[Document] | None:
        found = pods_of(plane, namespace)
        judged = [each for each in found if is_ready(each) or condition(each, "PodScheduled").get("status") == "False"]
        return found if len(judged) == 6 else None

    pods = wait_until("six pods run or were refused", settled)
    running = [each for each in pods if each["status"]["phase"] == "Running"]
    pending = [each for each in pods if each["status"]["phase"] == "Pending"]
    assert (len(running), len(pending)) == (4, 2)
    assert len({each["status"]["podIP"] for each in running}) == 4
    for each in pending:
        assert "Insufficient nvidia.com/gpu" in condition(each, "PodScheduled")["message"]
    wait_until(
        "the Deployment counts them",
        lambda: plane.client.get(DEPLOYMENTS.path(namespace, "chat"))["status"].get("readyReplicas") == 4,
    )


def seconds_until_ready(plane: ControlPlane, path: str) -> float:
    wait_until(f"{path} is ready", lambda: is_ready(plane.client.get(path)))
    found = plane.client.get(path)
    return instant(condition(found, "Ready")["lastTransitionTime"]) - instant(found["status"]["startTime"])


def test_a_pod_with_a_cold_start_runs_before_it_is_ready(
    plane: ControlPlane, namespace: str, gpu_node: AddNode
) -> None:
    node = gpu_node()
    plane.client.create(PODS.path(namespace), pod("warm", node))
    plane.client.create(PODS.path(namespace), pod("cold", node, **{COLD_START: "4s"}))
    waited = {name: seconds_until_ready(plane, PODS.path(namespace, name)) for name in ("cold", "warm")}
    # Both instants are cut to whole seconds.
    assert waited["warm"] == 0
    assert waited["cold"] >= 3


def test_a_pod_that_drains_is_there_until_it_has(plane: ControlPlane, namespace: str, gpu_node: AddNode) -> None:
    path = PODS.path(namespace, "busy")
    plane.client.create(PODS.path(namespace), pod("busy", gpu_node(), **{DRAIN: "2s"}))
    wait_until("it is ready", lambda: is_ready(plane.client.get(path)))
    begun = time.monotonic()
    leaving = plane.client.delete(path)
    assert leaving["metadata"]["deletionTimestamp"]
    wait_until("it is gone", lambda: not pods_of(plane, namespace))
    assert time.monotonic() - begun >= 2


def test_a_pod_with_a_kubelet_of_the_tests_is_left_alone(
    plane: ControlPlane, namespace: str, gpu_node: AddNode
) -> None:
    node = gpu_node()
    path = PODS.path(namespace, "told")
    plane.client.create(PODS.path(namespace), pod("told", node, **{KUBELET: "true"}))
    plane.client.create(PODS.path(namespace), pod("other", node))
    wait_until("the other is ready", lambda: is_ready(plane.client.get(PODS.path(namespace, "other"))))
    wait_until("it is scheduled", lambda: plane.client.get(path)["spec"].get("nodeName"))
    assert plane.client.get(path)["status"]["phase"] == "Pending"
    status = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
    plane.client.patch(f"{path}/status", {"status": status}, PatchKind.MERGE)
    assert is_ready(plane.client.get(path))


def test_a_service_account_may_what_its_role_grants_and_nothing_else(plane: ControlPlane, namespace: str) -> None:
    api = "rbac.authorization.k8s.io"
    plane.apply(
        [
            {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "reader"}},
            {
                "apiVersion": f"{api}/v1",
                "kind": "Role",
                "metadata": {"name": "reader"},
                "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]}],
            },
            {
                "apiVersion": f"{api}/v1",
                "kind": "RoleBinding",
                "metadata": {"name": "reader"},
                "roleRef": {"apiGroup": api, "kind": "Role", "name": "reader"},
                "subjects": [{"kind": "ServiceAccount", "name": "reader"}],
            },
        ],
        namespace,
    )
    reader = plane.client_for(namespace, "reader")
    wait_until("the role is in force", lambda: reader.get(PODS.path(namespace)))
    with pytest.raises(ForbiddenError, match=f"system:serviceaccount:{namespace}:reader"):
        reader.create(CONFIG_MAPS.path(namespace), {"metadata": {"name": "mine"}})
    with pytest.raises(ForbiddenError):
        reader.get(PODS.path("default"))

    def audited() -> set[tuple[str, str, int]]:
        own = [event for event in plane.audit() if event.user == f"system:serviceaccount:{namespace}:reader"]
        seen = {(event.verb, event.resource, event.code) for event in own}
        return seen if len(seen) > 2 else set()

    wanted = {("list", "pods", 200), ("create", "configmaps", 403), ("list", "pods", 403)}
    assert wait_until("the audit log has it", audited) == wanted


def test_objects_outlive_an_outage_of_the_api_server(plane: ControlPlane, namespace: str, gpu_node: AddNode) -> None:
    node = gpu_node(gpus=4)
    plane.apply(deployment("chat", 1, pod_spec(node, gpus=1)), namespace)
    wait_until("its pod is ready", lambda: [each for each in pods_of(plane, namespace) if is_ready(each)])
    before = plane.client.get(DEPLOYMENTS.path(namespace, "chat"))
    plane.stop_api_server()
    with pytest.raises(UnreachableError):
        plane.client.get(DEPLOYMENTS.path(namespace, "chat"))
    plane.start_api_server()
    after = plane.client.get(DEPLOYMENTS.path(namespace, "chat"))
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    scale = {"spec": {"replicas": 3}}
    plane.client.patch(DEPLOYMENTS.path(namespace, "chat", "scale"), scale, PatchKind.MERGE)
    wait_until(
        "controllers, scheduler and kubelets go on",
        lambda: len([each for each in pods_of(plane, namespace) if is_ready(each)]) == 3,
        timeout_s=90,
    )
    plane.check()


def within_four_sigma(count: int, of: int, share: float) -> bool:
    return abs(count - of * share) <= 4 * math.sqrt(of * share * (1 - share))


def test_a_weight_in_a_virtual_service_moves_real_requests(plane: ControlPlane, namespace: str) -> None:
    asked = 400
    with Backends(("v1", "v2")) as backends, MeshGateway(plane, namespace, backends.ports) as gateway:
        plane.apply(gateway.virtual_service({"v1": 90, "v2": 10}))
        gateway.wait_for_weights({"v1": 90, "v2": 10})
        assert within_four_sigma(gateway.shares(asked)["v2"], asked, 0.1)

        change = [
            {"op": "replace", "path": f"/spec/http/0/route/{at}/weight", "value": w} for at, w in ((0, 30), (1, 70))
        ]
        plane.client.patch(VIRTUAL_SERVICES.path(namespace, "vllm-routing"), change, PatchKind.JSON)
        gateway.wait_for_weights({"v1": 30, "v2": 70})
        shares = gateway.shares(asked)
        assert within_four_sigma(shares["v2"], asked, 0.7)
        assert shares.total() == shares["v1"] + shares["v2"] == asked

        plane.apply(gateway.virtual_service({"v1": 0, "v2": 100}))
        gateway.wait_for_weights({"v1": 0, "v2": 100})
        assert gateway.shares(50) == {"v2": 50}
        assert f'cluster_name="outbound|8000|v2|{gateway.host}"' in gateway.statistics()


def test_requests_follow_the_endpoints_that_are_published(plane: ControlPlane, namespace: str) -> None:
    with Backends(("v1", "v2")) as backends:
        first, second = (backends.ports[version] for version in ("v1", "v2"))
        with MeshGateway(plane, namespace, {"v1": first}) as gateway:
            plane.apply(gateway.virtual_service({"v1": 100}))
            gateway.wait_for_weights({"v1": 100})
            assert gateway.ask() == "v1"
            gateway.publish({"v1": second})
            wait_until("the Envoy has the endpoint", lambda: gateway.endpoints("v1") == set(second))
            assert wait_until("it is asked", lambda: gateway.ask() == "v2")
            gateway.publish({})
            wait_until("the Envoy has none", lambda: not gateway.endpoints("v1"))
            assert wait_until("requests are refused", lambda: gateway.ask() == "503")


def test_a_part_that_does_not_start_is_named_with_its_last_words(tmp_path: Path) -> None:
    broken = tmp_path / "etcd-without-room"
    broken.write_text("#!/bin/sh\necho the disk is full\nexit 3\n")
    broken.chmod(0o755)
    there = installed()
    parts = replace(there, programs={**there.programs, "etcd": broken})
    with pytest.raises(PermanentError, match=r"etcd ended with code 3: the disk is full .*etcd\.log"):
        ControlPlane(tmp_path / "run", binaries=parts).__enter__()


HOLDER = """
import sys, time
from pathlib import Path
from tests.cluster.plane.plane import ControlPlane
with ControlPlane(Path(sys.argv[1])) as plane:
    print("up", flush=True)
    sys.stdin.read()
"""


def processes_naming(folder: Path) -> list[str]:
    """Command lines that name the folder, the asking processes left out."""
    own = {os.getpid(), os.getppid()}
    seen = [each.info for each in psutil.process_iter(["pid", "cmdline"]) if each.pid not in own]
    return [" ".join(each["cmdline"]) for each in seen if any(str(folder) in word for word in each["cmdline"] or ())]


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds a plane of its own in `tmp_path`, up."""
    argv = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "up\n"
            yield process
        finally:
            process.kill()


def is_alone(folder: Path) -> bool:
    return not processes_naming(folder)


def test_a_plane_that_was_left_leaves_no_process(holder: subprocess.Popen[str], tmp_path: Path) -> None:
    assert len(processes_naming(tmp_path)) > 5
    assert holder.stdin is not None
    holder.stdin.close()
    assert holder.wait(60) == 0
    wait_until("nothing is left", lambda: is_alone(tmp_path))
    assert not (tmp_path / "etcd").exists()


def test_a_plane_whose_holder_is_killed_leaves_no_process(holder: subprocess.Popen[str], tmp_path: Path) -> None:
    assert len(processes_naming(tmp_path)) > 5
    holder.send_signal(signal.SIGKILL)
    holder.wait(10)
    wait_until("nothing is left", lambda: is_alone(tmp_path))
