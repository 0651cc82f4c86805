"""How KWOK plays the kubelet: stages that a node or a pod goes through, with their delays.

Pods are told apart by annotations: see `COLD_START`, `DRAIN` and `KUBELET`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

COLD_START = "governor.dev/test-cold-start"
"""On a pod: how long it runs before it is ready, as Go writes durations ("30s"). Without it: ready at once."""
DRAIN = "governor.dev/test-drain"
"""On a pod: how long it takes to end after it was deleted. Without it: gone at once."""
KUBELET = "governor.dev/test-kubelet"
"""On a pod: "true" leaves its status, and its end, to the test."""

_HEARTBEAT_MS = 600_000
"""Leases, which are renewed often, say that a node lives; the status is only refreshed."""

_CONDITIONS = """
{{ $now := Now }}
conditions:
{{ range NodeConditions }}
- type: {{ .type | Quote }}
  status: {{ .status | Quote }}
  reason: {{ .reason | Quote }}
  message: {{ .message | Quote }}
  lastHeartbeatTime: {{ $now | Quote }}
  lastTransitionTime: {{ or $.metadata.creationTimestamp $now | Quote }}
{{ end }}
"""
_NODE = (
    _CONDITIONS
    + """
addresses:
- {type: InternalIP, address: {{ NodeIP | Quote }}}
- {type: Hostname, address: {{ NodeName | Quote }}}
nodeInfo:
  architecture: amd64
  bootID: ""
  containerRuntimeVersion: kwok
  kernelVersion: kwok
  kubeProxyVersion: kwok
  kubeletVersion: kwok
  machineID: ""
  operatingSystem: linux
  osImage: kwok
  systemUUID: ""
phase: Running
"""
)
_POD = """
{{ $now := Now }}
conditions:
{{ range $type := list "PodReadyToStartContainers" "Initialized" }}
- {type: {{ $type }}, status: "True", lastTransitionTime: {{ $now | Quote }}}
{{ end }}
{{ range $type := list "ContainersReady" "Ready" }}
- {type: {{ $type }}, status: "@READY@", lastTransitionTime: {{ $now | Quote }}}
{{ end }}
containerStatuses:
{{ range .spec.containers }}
- name: {{ .name | Quote }}
  image: {{ .image | Quote }}
  imageID: ""
  ready: @ready@
  started: @ready@
  restartCount: 0
  state: {running: {startedAt: {{ or $.status.startTime $now | Quote }}}}
{{ end }}
"""
_ADDRESSES = """
{{ with NodeIPsWith .spec.nodeName }}
hostIP: {{ index . 0 | Quote }}
hostIPs:
{{ range . }}
- ip: {{ . | Quote }}
{{ end }}
{{ end }}
{{ with PodIPsWith .spec.nodeName ( or .spec.hostNetwork false ) .metadata.uid .metadata.name .metadata.namespace }}
podIP: {{ index . 0 | Quote }}
podIPs:
{{ range . }}
- ip: {{ . | Quote }}
{{ end }}
{{ end }}
phase: Running
startTime: {{ $now | Quote }}
"""
_COMPLETED = """
{{ $now := Now }}
containerStatuses:
{{ range .spec.containers }}
- name: {{ .name | Quote }}
  image: {{ .image | Quote }}
  imageID: ""
  ready: false
  started: false
  restartCount: 0
  state: {terminated: {exitCode: 0, reason: Completed, startedAt: {{ $now | Quote }}, finishedAt: {{ $now | Quote }}}}
{{ end }}
phase: Succeeded
"""


def _pod(*, ready: bool) -> str:
    said = "true" if ready else "false"
    return _POD.replace("@READY@", said.title()).replace("@ready@", said)


def _annotation(name: str) -> str:
    return f'.metadata.annotations["{name}"]'


def _match(key: str, operator: str, *values: str) -> dict[str, Any]:
    return {"key": key, "operator": operator, **({"values": list(values)} if values else {})}


_KWOK_KEEPS = _match(_annotation(KUBELET), "NotIn", "true")
_STAYS = _match(".metadata.deletionTimestamp", "DoesNotExist")
_FRESH = _match(".status.podIP", "DoesNotExist")
_READY = '.status.conditions.[] | select( .type == "Ready" ) | .status'


def _stage(
    name: str, kind: str, matches: Sequence[Mapping[str, Any]], following: Mapping[str, Any], **more: Any
) -> dict[str, Any]:
    return {
        "apiVersion": "kwok.x-k8s.io/v1alpha1",
        "kind": "Stage",
        "metadata": {"name": name},
        "spec": {
            "resourceRef": {"apiGroup": "v1", "kind": kind},
            "selector": {"matchExpressions": [dict(match) for match in matches]},
            "next": dict(following),
            **more,
        },
    }


def _pod_stage(name: str, matches: Sequence[Mapping[str, Any]], status: str, **more: Any) -> dict[str, Any]:
    return _stage(name, "Pod", (_KWOK_KEEPS, _STAYS, *matches), {"statusTemplate": status}, **more)


def _delay_of(annotation: str) -> dict[str, Any]:
    return {"durationMilliseconds": 0, "durationFrom": {"expressionFrom": _annotation(annotation)}}


STAGES: Sequence[Mapping[str, Any]] = (
    _stage("node-initialize", "Node", [_match(_READY, "NotIn", "True")], {"statusTemplate": _NODE}),
    _stage(
        "node-heartbeat",
        "Node",
        [_match(_READY, "In", "True")],
        {"statusTemplate": _CONDITIONS},
        delay={"durationMilliseconds": _HEARTBEAT_MS, "jitterDurationMilliseconds": _HEARTBEAT_MS + 10_000},
    ),
    _pod_stage("pod-ready", [_FRESH, _match(_annotation(COLD_START), "DoesNotExist")], _pod(ready=True) + _ADDRESSES),
    _pod_stage("pod-start", [_FRESH, _match(_annotation(COLD_START), "Exists")], _pod(ready=False) + _ADDRESSES),
    _pod_stage(
        "pod-warm",
        [_match(".status.phase", "In", "Running"), _match(_READY, "In", "False")],
        _pod(ready=True),
        delay=_delay_of(COLD_START),
    ),
    _pod_stage(
        "pod-complete",
        [
            _match(".status.phase", "In", "Running"),
            _match(_READY, "In", "True"),
            _match(".metadata.ownerReferences.[].kind", "In", "Job"),
        ],
        _COMPLETED,
    ),
    _stage(
        "pod-delete",
        "Pod",
        [_KWOK_KEEPS, _match(".metadata.deletionTimestamp", "Exists")],
        {"delete": True},
        delay=_delay_of(DRAIN),
    ),
)
