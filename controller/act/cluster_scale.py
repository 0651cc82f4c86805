"""Replicas of a cluster's scalable objects, written through their scale sub-resource."""

from __future__ import annotations

import time
from collections.abc import Callable

from controller.act.victims import Victims
from controller.cluster.client import ApiError, ClusterClient, ConflictError, Json, Resource, UnreachableError
from controller.cluster.names import FIELD_MANAGER, HONOURS_DELETION_COST, WELL_KNOWN
from controller.errors import GovernorError
from controller.model.decision import Outcome, OutcomeStatus, ScaleWrite
from controller.model.variant import ScaleTargetRef
from controller.ports import VariantKey

TargetLookup = Callable[[str, str], tuple[str, ScaleTargetRef] | None]
"""Namespace and scale target of (fleet key, variant name); None for one that is not known."""
KindLookup = Callable[[str, str], str]
"""Plural name of (apiVersion, kind). Raises TransientError or PermanentError where the cluster has no such kind."""

_UNSURE = "whether the order took effect shows in the next reading"


class ClusterReplicaWriter:
    """`controller.ports.ReplicaWriter` on Kubernetes: absolute orders, each against the version it was planned on.

    Before a reduction of a Deployment or ReplicaSet the victims get the lowest deletion costs; Kubernetes takes
    unscheduled, pending and unready pods even before those. Other kinds choose for themselves.
    """

    def __init__(
        self,
        client: ClusterClient,
        targets: TargetLookup,
        plural: KindLookup,
        held: Callable[[], bool] = lambda: True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`held`: whether we still lead, asked once more after the pods were read (see `controller.cluster.lease`)."""
        self._client = client
        self._targets = targets
        self._plural = plural
        self._held = held
        self._victims = Victims(client, clock)
        self._marked: set[VariantKey] = set()
        """Targets on whose pods there may be marks of ours."""

    def scale(self, write: ScaleWrite) -> Outcome:
        """Send one order: Applied; Conflict when object or victims are not any more what they were when it was planned
        (nothing was scaled); else Failed with the API server's words.
        """
        found = self._targets(write.fleet, write.variant)
        if found is None:
            return _failed(write, f"no scale target is known for {write.fleet}/{write.variant}")
        if not write.resource_version:
            return _failed(write, "the order names no resource version: there is nothing to write it against")
        namespace, ref = found
        try:
            resource, chooses = self._resource(ref)
        except GovernorError as error:
            return _failed(write, str(error))
        path = resource.path(namespace, ref.name, "scale")
        reducing = chooses and write.replicas < write.current
        refusal = self._prepared(write, namespace, path) if reducing else None
        outcome = refusal or self._put(write, path, namespace, ref)
        if outcome.status is OutcomeStatus.APPLIED and not reducing:
            self._tidy(write, namespace, path)
        return outcome

    def _resource(self, ref: ScaleTargetRef) -> tuple[Resource, bool]:
        """The kind of object in paths, and whether its pods leave in the order of their deletion cost."""
        group, _, version = ref.api_version.rpartition("/")
        plural = WELL_KNOWN.get((group, ref.kind)) or self._plural(ref.api_version, ref.kind)
        return Resource(group, version, plural), (group, ref.kind) in HONOURS_DELETION_COST

    def _prepared(self, write: ScaleWrite, namespace: str, path: str) -> Outcome | None:
        """Mark the victims, and only them. What became of the order where that could not be done."""
        key = (write.fleet, write.variant)
        self._marked.add(key)
        try:
            scale = self._client.get(path)
            if _version(scale) != write.resource_version:
                text = f"it is at resource version {_version(scale)}, the order was planned on {write.resource_version}"
                return Outcome(write, OutcomeStatus.CONFLICT, text)
            pods = self._victims.pods(namespace, _selector(scale))
            gone = [name for name in write.victims if name not in pods]
            if gone:
                return Outcome(write, OutcomeStatus.CONFLICT, f"{', '.join(gone)} left already")
            if not self._held():
                return Outcome(write, OutcomeStatus.REFUSED, "not the leader any more: another instance may be writing")
            self._victims.mark(namespace, pods, write.victims)
        except ConflictError as error:
            return Outcome(write, OutcomeStatus.CONFLICT, f"a pod changed while it was marked to leave: {error}")
        except GovernorError as error:
            return _failed(write, f"the replicas to leave first could not be marked, so nothing was scaled: {error}")
        return None

    def _put(self, write: ScaleWrite, path: str, namespace: str, ref: ScaleTargetRef) -> Outcome:
        metadata = {"name": ref.name, "namespace": namespace, "resourceVersion": write.resource_version}
        body = {
            "apiVersion": "autoscaling/v1",
            "kind": "Scale",
            "metadata": metadata,
            "spec": {"replicas": write.replicas},
        }
        try:
            answer = self._client.replace(path, body, fieldManager=FIELD_MANAGER)
        except ConflictError as error:
            return Outcome(write, OutcomeStatus.CONFLICT, str(error))
        except UnreachableError as error:
            return _failed(write, f"{error}: {_UNSURE}")
        except ApiError as error:
            return _failed(write, f"{error}: {_UNSURE}" if error.code >= 500 else str(error))
        taken = (answer.get("spec") or {}).get("replicas", 0)
        if taken != write.replicas:
            return _failed(
                write, f"something in the API server's way made {taken} of it: look for an admission webhook"
            )
        return Outcome(write, OutcomeStatus.APPLIED)

    def _tidy(self, write: ScaleWrite, namespace: str, path: str) -> None:
        """After growth nobody is to leave. What fails here is done before the next reduction."""
        key = (write.fleet, write.variant)
        if key not in self._marked:
            return
        try:
            pods = self._victims.pods(namespace, _selector(self._client.get(path)))
            if self._held():
                self._victims.mark(namespace, pods, ())
                self._marked.discard(key)
        except GovernorError:
            return


def _failed(write: ScaleWrite, detail: str) -> Outcome:
    return Outcome(write, OutcomeStatus.FAILED, detail)


def _version(scale: Json) -> str:
    return str(scale.get("metadata", {}).get("resourceVersion") or "")


def _selector(scale: Json) -> str:
    return str((scale.get("status") or {}).get("selector") or "")
