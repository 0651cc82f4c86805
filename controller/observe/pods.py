"""Pods as replicas: which of them make one, and where it is in its life. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from controller.model.snapshot import Replica, ReplicaPhase
from controller.observe.cluster_facts import NodeFacts, PodFacts

GROUP_LABELS = ("leaderworkerset.sigs.k8s.io/name", "leaderworkerset.sigs.k8s.io/group-index")
WORKER_LABEL = "leaderworkerset.sigs.k8s.io/worker-index"
_REVISION_LABELS = (
    "leaderworkerset.sigs.k8s.io/template-revision-hash",
    "pod-template-hash",
    "controller-revision-hash",
    "rollouts-pod-template-hash",
)
_SAME_MOMENT_S = 2.0
"""A pod is not ready from the moment on that its node takes it; later than this, it had been ready."""

Nodes = Mapping[str, NodeFacts] | None
"""Nodes by name; None where they are not read."""
_WORST_FIRST = (ReplicaPhase.FAILED, ReplicaPhase.PENDING, ReplicaPhase.STARTING, ReplicaPhase.READY)


def replicas_of(pods: Iterable[PodFacts], desired: int, nodes: Nodes) -> tuple[Replica, ...]:
    """The replicas that the pods of one target make, oldest first.

    Pods of one LeaderWorkerSet group are one replica, named like its leader. Pods that ended are none; one that
    failed before it was ready counts only as long as nothing has taken its place among the `desired`.
    """
    everything = list(pods)
    groups = _grouped(pod for pod in everything if not pod.ended)
    revisions = {_revision(leader) for leader, _ in groups} - {""}
    found = [_replica(leader, members, nodes, named=len(revisions) > 1) for leader, members in groups]
    missing = desired - sum(replica.phase is not ReplicaPhase.DRAINING for replica in found)
    failed = sorted((pod for pod in everything if _failed_at_start(pod)), key=lambda pod: -pod.created_at)
    found += [_of_failed(pod) for pod in failed[: max(0, missing)]]
    return tuple(sorted(found, key=lambda replica: (replica.created_at, replica.name)))


def group_of(pod: PodFacts) -> tuple[str, str] | None:
    """Name and index of the LeaderWorkerSet group that the pod belongs to, if any."""
    name, index = (pod.labels.get(label, "") for label in GROUP_LABELS)
    return (name, index) if name and index else None


def _grouped(pods: Iterable[PodFacts]) -> list[tuple[PodFacts, Sequence[PodFacts]]]:
    """Every leader with all members of its group; a pod without a group leads itself."""
    alone: list[tuple[PodFacts, Sequence[PodFacts]]] = []
    groups: dict[tuple[str, str], list[PodFacts]] = {}
    for pod in pods:
        group = group_of(pod)
        if group is None:
            alone.append((pod, (pod,)))
        else:
            groups.setdefault(group, []).append(pod)
    return [*alone, *((_leader(members), members) for members in groups.values())]


def _leader(members: Sequence[PodFacts]) -> PodFacts:
    return min(members, key=lambda pod: (pod.labels.get(WORKER_LABEL) != "0", pod.created_at, pod.name))


def _replica(leader: PodFacts, members: Sequence[PodFacts], nodes: Nodes, *, named: bool) -> Replica:
    phase, detail = _life(leader, nodes)
    if phase is not ReplicaPhase.DRAINING:
        phase, detail = _life_of_group(leader, members, nodes)
    revision = f"revision {_revision(leader)}" if named and _revision(leader) else ""
    return Replica(
        name=leader.name,
        phase=phase,
        created_at=leader.created_at,
        ready_at=_ready_at(members),
        detail="; ".join(part for part in (detail, revision) if part),
        address=leader.address,
    )


def _life_of_group(leader: PodFacts, members: Sequence[PodFacts], nodes: Nodes) -> tuple[ReplicaPhase, str]:
    """The worst of its members: one pod that does not serve keeps the whole replica from serving."""
    lives = [_life_of_member(pod, nodes) for pod in members]
    if len(members) < leader.group_size:
        lives.append((ReplicaPhase.STARTING, f"{len(members)} of its {leader.group_size} pods are there"))
    leaving = next((life for life in lives if life[0] is ReplicaPhase.DRAINING), None)
    return leaving or min(lives, key=lambda life: _WORST_FIRST.index(life[0]))


def _life_of_member(pod: PodFacts, nodes: Nodes) -> tuple[ReplicaPhase, str]:
    """A worker that ends under a leader that stays is about to be replaced: its replica is on its way again."""
    if pod.deleting:
        return ReplicaPhase.STARTING, f"{pod.name} is being replaced"
    return _life(pod, nodes)


def _life(pod: PodFacts, nodes: Nodes) -> tuple[ReplicaPhase, str]:
    leaving = _leaving(pod, nodes)
    if leaving:
        return ReplicaPhase.DRAINING, leaving
    if not pod.node:
        return ReplicaPhase.PENDING, pod.scheduled.message if pod.scheduled is not None else ""
    if pod.ready is not None and pod.ready.true:
        return ReplicaPhase.READY, ""
    trouble = pod.trouble.detail if pod.trouble is not None else ""
    if _was_ready(pod):
        return ReplicaPhase.STARTING, f"was ready before{f'; {trouble}' if trouble else ''}"
    stuck = pod.trouble is not None and pod.trouble.stuck
    return (ReplicaPhase.FAILED if stuck else ReplicaPhase.STARTING), trouble


def _leaving(pod: PodFacts, nodes: Nodes) -> str:
    """Why the pod is on its way out; empty where it stays."""
    node = nodes.get(pod.node) if nodes is not None else None
    if pod.disruption is not None and pod.disruption.true:
        return pod.disruption.message or pod.disruption.reason or "it is being evicted"
    if pod.deleting:
        return f"node {pod.node} is drained" if node is not None and node.cordoned else "it was asked to leave"
    if node is not None:
        return _lost(pod.node, node)
    # A pod that is on its way may have been seen before its node was.
    ready = pod.ready is not None and pod.ready.true
    return f"node {pod.node} is gone" if nodes is not None and ready else ""


def _lost(name: str, node: NodeFacts) -> str:
    if node.leaving:
        return f"node {name}: {node.leaving}"
    return "" if node.reachable else f"node {name} does not answer"


def _was_ready(pod: PodFacts) -> bool:
    """Whether a pod that is not ready had been: it turned so later than the moment its node took it."""
    if pod.ready is None or pod.ready.true or pod.ready.since is None or pod.taken_at is None:
        return False
    return pod.ready.since - pod.taken_at > _SAME_MOMENT_S


def _ready_at(members: Sequence[PodFacts]) -> float | None:
    """When the last of them became ready; None unless all are."""
    since = [pod.ready.since for pod in members if pod.ready is not None and pod.ready.true]
    known = [at for at in since if at is not None]
    return max(known) if len(known) == len(members) else None


def _failed_at_start(pod: PodFacts) -> bool:
    return pod.phase == "Failed" and not pod.deleting and pod.reason != "Evicted" and not _was_ready(pod)


def _of_failed(pod: PodFacts) -> Replica:
    detail = ": ".join(part for part in (pod.reason or "its containers ended", pod.message) if part)
    return Replica(pod.name, ReplicaPhase.FAILED, pod.created_at, detail=detail)


def _revision(pod: PodFacts) -> str:
    return next((pod.labels[label] for label in _REVISION_LABELS if label in pod.labels), "")
