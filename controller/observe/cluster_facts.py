"""What is kept of pods and nodes: the few fields that tell where a replica is in its life."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from sys import intern

from controller.cluster.client import Json
from controller.cluster.names import DELETION_COST_ANNOTATION
from controller.cluster.raw import at, instant, objects, text, texts, whole

GROUP_SIZE_ANNOTATION = "leaderworkerset.sigs.k8s.io/size"

_STUCK = frozenset(
    {
        "CrashLoopBackOff",
        "ImagePullBackOff",
        "ErrImagePull",
        "ErrImageNeverPull",
        "InvalidImageName",
        "CreateContainerConfigError",
        "CreateContainerError",
        "RunContainerError",
        "PostStartHookError",
    }
)
"""Why a container waits that has failed already."""
_LOOPING_RESTARTS = 3
"""From so many restarts on, a container that has not been ready yet is seen as crash-looping while it runs, too."""
_MOST_TEXT = 300

_NOTICES: Mapping[str, str] = {
    "aws-node-termination-handler/spot-itn": "its spot instance is about to be taken back",
    "aws-node-termination-handler/asg-lifecycle-termination": "its machine is about to be terminated",
    "aws-node-termination-handler/scheduled-maintenance": "its machine goes into maintenance",
    "cloud.google.com/impending-node-termination": "its machine is about to be terminated",
    "karpenter.sh/disrupted": "Karpenter removes its node",
    "karpenter.sh/disruption": "Karpenter removes its node",
    "ToBeDeletedByClusterAutoscaler": "the cluster autoscaler removes its node",
    "node.kubernetes.io/out-of-service": "its node is out of service",
}
"""Taints that announce the end of a node, by their key."""


@dataclass(frozen=True, slots=True)
class Standing:
    """One condition of an object."""

    true: bool
    since: float | None
    reason: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why a container does not run, or did not keep running."""

    detail: str
    stuck: bool
    """Whether it has failed, rather than being on its way."""


@dataclass(frozen=True, slots=True)
class PodFacts:
    """A pod, as far as it matters here. Times are UTC seconds by the cluster's clock."""

    namespace: str
    name: str
    uid: str
    labels: Mapping[str, str]
    owner: tuple[str, str]
    """Kind and name of the controller that made it; empty texts where nobody did."""
    created_at: float
    deleting: bool
    phase: str
    reason: str
    """Why the whole pod ended: "Evicted", "UnexpectedAdmissionError"."""
    message: str
    node: str
    taken_at: float | None
    """When the node's kubelet took it."""
    scheduled: Standing | None
    ready: Standing | None
    disruption: Standing | None
    trouble: Trouble | None
    restarts: int
    address: str
    """host:port, where both are known."""
    gpus: int
    deletion_cost: str
    group_size: int
    """Pods that make one replica together with it."""

    @property
    def ended(self) -> bool:
        """Whether all its containers have ended for good: its controller has replaced it, or will."""
        return self.phase in {"Succeeded", "Failed"}


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """A node, as far as it matters here."""

    cordoned: bool
    leaving: str
    """Why it is about to go; empty where nothing says so."""
    reachable: bool


def pod_facts(raw: Json) -> PodFacts:
    """Facts of a raw Pod."""
    containers = objects(raw, "spec", "containers")
    conditions = {text(each, "type"): each for each in objects(raw, "status", "conditions")}
    statuses = [*objects(raw, "status", "initContainerStatuses"), *objects(raw, "status", "containerStatuses")]
    return PodFacts(
        namespace=intern(text(raw, "metadata", "namespace")),
        name=text(raw, "metadata", "name"),
        uid=text(raw, "metadata", "uid"),
        labels=texts(raw, "metadata", "labels"),
        owner=_owner(raw),
        created_at=instant(raw, "metadata", "creationTimestamp") or 0.0,
        deleting=bool(text(raw, "metadata", "deletionTimestamp")),
        phase=intern(text(raw, "status", "phase")),
        reason=intern(text(raw, "status", "reason")),
        message=text(raw, "status", "message")[:_MOST_TEXT],
        node=intern(text(raw, "spec", "nodeName")),
        taken_at=instant(raw, "status", "startTime"),
        scheduled=_standing(conditions.get("PodScheduled")),
        ready=_standing(conditions.get("Ready")),
        disruption=_standing(conditions.get("DisruptionTarget")),
        trouble=_trouble(statuses),
        restarts=sum(whole(each, "restartCount") or 0 for each in statuses),
        address=_address(text(raw, "status", "podIP"), containers),
        gpus=sum(_gpus(each) for each in containers),
        deletion_cost=text(raw, "metadata", "annotations", DELETION_COST_ANNOTATION),
        group_size=_group_size(text(raw, "metadata", "annotations", GROUP_SIZE_ANNOTATION)),
    )


def node_facts(raw: Json) -> NodeFacts:
    """Facts of a raw Node."""
    notices = (_NOTICES.get(text(each, "key")) for each in objects(raw, "spec", "taints"))
    ready = [each for each in objects(raw, "status", "conditions") if text(each, "type") == "Ready"]
    return NodeFacts(
        cordoned=at(raw, "spec", "unschedulable") is True,
        leaving=next((notice for notice in notices if notice), ""),
        reachable=not any(text(each, "status") == "Unknown" for each in ready),
    )


def _owner(raw: Json) -> tuple[str, str]:
    owners = objects(raw, "metadata", "ownerReferences")
    owner = next((each for each in owners if at(each, "controller") is True), {})
    return intern(text(owner, "kind")), intern(text(owner, "name"))


def _standing(raw: Json | None) -> Standing | None:
    if raw is None:
        return None
    since = instant(raw, "lastTransitionTime")
    return Standing(text(raw, "status") == "True", since, intern(text(raw, "reason")), _message(raw))


def _message(raw: Json) -> str:
    """The server's words; what preemption would not help is left out."""
    return intern(text(raw, "message").split(" preemption:", 1)[0].rstrip()[:_MOST_TEXT])


def _trouble(statuses: Sequence[Json]) -> Trouble | None:
    """The worst of its containers' troubles."""
    found = [trouble for each in statuses if (trouble := _trouble_of(each)) is not None]
    return next((each for each in found if each.stuck), found[0] if found else None)


def _trouble_of(status: Json) -> Trouble | None:
    name, reason = text(status, "name"), text(status, "state", "waiting", "reason")
    restarts = whole(status, "restartCount") or 0
    if not reason and (restarts < _LOOPING_RESTARTS or at(status, "ready") is True):
        return None
    why = reason or "restarts again and again"
    # A back-off's message names the pod: it would make every replica's trouble look like another one.
    message = "" if reason == "CrashLoopBackOff" else text(status, "state", "waiting", "message")
    parts = [f"{name}: {why}", _last_end(status), message]
    detail = ", ".join(part for part in parts if part)[:_MOST_TEXT]
    return Trouble(intern(detail), reason in _STUCK or (not reason and bool(_last_end(status))))


def _last_end(status: Json) -> str:
    code = whole(status, "lastState", "terminated", "exitCode")
    if not code:
        return ""
    reason = text(status, "lastState", "terminated", "reason")
    return f"last exit {code} ({reason})" if reason and reason != "Error" else f"last exit {code}"


def _address(ip: str, containers: Sequence[Json]) -> str:
    ports = [port for each in containers for port in objects(each, "ports")]
    named = [port for port in ports if text(port, "name").startswith("http")]
    found = next((number for port in (*named, *ports) if (number := whole(port, "containerPort"))), None)
    if not ip or found is None:
        return ""
    return f"[{ip}]:{found}" if ":" in ip else f"{ip}:{found}"


def _gpus(container: Json) -> int:
    limits = at(container, "resources", "limits")
    found = limits if isinstance(limits, dict) else {}
    counts = (str(count) for name, count in found.items() if str(name).endswith("/gpu"))
    return sum(int(count) for count in counts if count.isdigit())


def _group_size(written: str) -> int:
    return int(written) if written.isdigit() and int(written) > 0 else 1
