"""Replicas as a Kubernetes cluster has them: scale targets, their pods, and who else writes them.

    with ClusterCaches(client) as caches:
        reader = ClusterReplicas(client, caches)
        reader.read(fleets)

A tick costs no request, except for targets of kinds that are not kept by watching.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from controller.clock import Clock, SystemClock
from controller.cluster.client import ClusterClient
from controller.cluster.names import HONOURS_DELETION_COST
from controller.errors import TransientError
from controller.model.fleet import Fleet
from controller.model.snapshot import Replica, ScaleTarget
from controller.model.variant import ScaleTargetRef
from controller.observe.cluster_caches import ClusterCaches, distrust, optional_distrust
from controller.observe.cluster_facts import PodFacts
from controller.observe.cluster_scalables import Scalable
from controller.observe.cluster_scales import ScaleAddress, Scales
from controller.observe.pod_index import PodIndex
from controller.observe.pods import Nodes, replicas_of
from controller.observe.second_writers import (
    Autoscaler,
    TakenBack,
    TargetRef,
    by_target,
    foreign_owner,
    hand_of,
)
from controller.ports import VariantKey

QUIET_LIMIT_S = 45.0
"""A cache that has heard nothing for longer is not the truth any more: half as long again as a watch lasts."""

T = TypeVar("T")
Found = Scalable | str
"""A target, or the sentence that says why there is none."""


@dataclass(frozen=True, slots=True)
class _Counted:
    """The replicas of a target, and what they were made from."""

    pods: Sequence[PodFacts]
    desired: int
    nodes: Nodes
    replicas: tuple[Replica, ...]


@dataclass(frozen=True, slots=True)
class _World:
    """What one reading of all targets has in common."""

    nodes: Nodes
    horizontal: Mapping[TargetRef, Autoscaler]
    vertical: Mapping[TargetRef, Autoscaler]
    shared: Mapping[VariantKey, str]
    """Who else among the fleets names the same target."""
    now: float


class ClusterReplicas:
    """`controller.ports.ReplicaReader` over caches of the cluster.

    `declared` tells all fleets there are: one reading may be of some of them only, and two that name the same target
    must know of each other all the same.
    """

    def __init__(
        self,
        client: ClusterClient,
        caches: ClusterCaches,
        *,
        declared: Callable[[], Sequence[Fleet]] | None = None,
        quiet_limit_s: float = QUIET_LIMIT_S,
        clock: Clock | None = None,
    ) -> None:
        self._server = client.server
        self._caches = caches
        self._scales = Scales(client)
        self._declared = declared
        self._limit_s = quiet_limit_s
        self._clock = clock or SystemClock()
        self._taken_back = TakenBack()
        self._counted: dict[TargetRef, _Counted] = {}
        self._index: tuple[Mapping[str, PodFacts], PodIndex] | None = None
        self._problems: Mapping[VariantKey, str] = {}
        self._warnings: Mapping[VariantKey, tuple[str, ...]] = {}
        self._by_hand: Mapping[VariantKey, str] = {}

    @property
    def problems(self) -> Mapping[VariantKey, str]:
        """Why a target was not read the last time, by (fleet, variant)."""
        return self._problems

    @property
    def warnings(self) -> Mapping[VariantKey, tuple[str, ...]]:
        """What else disturbs a target: a VerticalPodAutoscaler, a manifest that sets replicas at each apply."""
        return self._warnings

    @property
    def by_hand(self) -> Mapping[VariantKey, str]:
        """Targets whose count a person set last, by a command: not opposed, worth telling."""
        return self._by_hand

    def close(self) -> None:
        """Let go of threads. The caches are their owner's to close."""
        self._scales.close()

    def read(self, fleets: Sequence[Fleet]) -> Mapping[VariantKey, ScaleTarget]:
        """Scale targets by (fleet, variant); those that cannot be read are missing and have a problem.

        Raises TransientError where nothing can be read: since when, and why.
        """
        wanted = _addresses(fleets)
        if not wanted:
            return {}
        self._trust()
        all_wanted = wanted if self._declared is None else {**_addresses(self._declared()), **wanted}
        found = self._found(wanted)
        problems = {key: one for key, address in wanted.items() if isinstance(one := found[address.ref], str)}
        scalables = {key: one for key, address in wanted.items() if isinstance(one := found[address.ref], Scalable)}
        blind = {
            key: f"{one.ref} has no selector that tells its pods" for key, one in scalables.items() if not one.selector
        }
        seen = {key: scalable for key, scalable in scalables.items() if key not in blind}
        world = self._world(all_wanted)
        by_hand = {key: hand for key, one in seen.items() if (hand := hand_of(one.owners))}
        warnings = {key: told for key, one in seen.items() if (told := _warnings(one, world))}
        others = all_wanted.keys() - wanted.keys()
        self._problems = _renewed(self._problems, {**problems, **blind}, others)
        self._by_hand = _renewed(self._by_hand, by_hand, others)
        self._warnings = _renewed(self._warnings, warnings, others)
        if not scalables and all(self._unread(address.ref) for address in wanted.values()):
            raise TransientError(next(iter(problems.values())))
        return {key: self._target(key, scalable, world) for key, scalable in seen.items()}

    def _trust(self) -> None:
        """Whether pods and other writers are known. Raises TransientError."""
        caches = self._caches
        doubt = distrust(caches.pods, self._limit_s) or distrust(caches.horizontal, self._limit_s)
        doubt = doubt or optional_distrust(caches.scaled_objects, self._limit_s)
        if doubt:
            raise TransientError(f"the cluster at {self._server} cannot be read: {doubt}")

    def _unread(self, ref: TargetRef) -> bool:
        """Whether a target is missing because its kind could not be read, rather than because it is not there."""
        cache = self._caches.scalable(ref.kind) if ref.group == "apps" else None
        return cache is None or bool(distrust(cache, self._limit_s))

    def _found(self, wanted: Mapping[VariantKey, ScaleAddress]) -> Mapping[TargetRef, Found]:
        found: dict[TargetRef, Found] = {}
        others: list[ScaleAddress] = []
        for address in wanted.values():
            cached = self._cached(address.ref)
            if cached is None:
                others.append(address)
            else:
                found[address.ref] = cached
        return {**found, **self._scales.read(others)} if others else found

    def _cached(self, ref: TargetRef) -> Found | None:
        """From a cache; None where the kind has none."""
        cache = self._caches.scalable(ref.kind) if ref.group == "apps" else None
        if cache is None:
            return None
        doubt = distrust(cache, self._limit_s)
        if doubt:
            return f"{ref} cannot be read: {doubt}"
        found = cache.objects().get(f"{ref.namespace}/{ref.name}")
        return found or f"{ref} does not exist: create it, or mend scaleTargetRef"

    def _world(self, wanted: Mapping[VariantKey, ScaleAddress]) -> _World:
        caches = self._caches
        writers = [*caches.horizontal.objects().values(), *caches.scaled_objects.objects().values()]
        kept = {address.ref for address in wanted.values()}
        self._counted = {ref: counted for ref, counted in self._counted.items() if ref in kept}
        return _World(
            nodes=caches.node_facts(self._limit_s),
            horizontal=by_target(writers),
            vertical=by_target(caches.vertical.objects().values()),
            shared=_shared({key: address.ref for key, address in wanted.items()}),
            now=self._clock.monotonic(),
        )

    def _target(self, key: VariantKey, scalable: Scalable, world: _World) -> ScaleTarget:
        ref = scalable.ref
        return ScaleTarget(
            desired=scalable.desired,
            resource_version=scalable.resource_version,
            replicas=self._replicas(scalable, world.nodes),
            foreign_writer=self._foreign_writer(scalable, world) or world.shared.get(key, ""),
            chooses_victims=(ref.group, ref.kind) in HONOURS_DELETION_COST,
        )

    def _foreign_writer(self, scalable: Scalable, world: _World) -> str:
        autoscaler = world.horizontal.get(scalable.ref)
        again = self._taken_back.look(scalable.ref, scalable.owners, world.now)
        return str(autoscaler) if autoscaler is not None else foreign_owner(scalable.owners) or again

    def _replicas(self, scalable: Scalable, nodes: Nodes) -> tuple[Replica, ...]:
        """Made anew only where a pod, a node or the count has changed."""
        if scalable.selector is None:
            return ()
        selected = self._pods().selected(scalable.ref.namespace, scalable.selector)
        pods = [pod for pod in selected if scalable.owns(pod)]
        known = self._counted.get(scalable.ref)
        if known is not None and (known.desired, known.pods) == (scalable.desired, pods) and known.nodes is nodes:
            return known.replicas
        replicas = replicas_of(pods, scalable.desired, nodes)
        self._counted[scalable.ref] = _Counted(pods, scalable.desired, nodes, replicas)
        return replicas

    def _pods(self) -> PodIndex:
        pods = self._caches.pods.objects()
        if self._index is None or self._index[0] is not pods:
            self._index = pods, PodIndex(pods.values())
        return self._index[1]


def _addresses(fleets: Sequence[Fleet]) -> Mapping[VariantKey, ScaleAddress]:
    """Where the target of every variant is."""
    return {
        (fleet.key, variant.name): _address(fleet, variant.scale_target_ref)
        for fleet in fleets
        for variant in fleet.spec.variants
    }


def _address(fleet: Fleet, ref: ScaleTargetRef) -> ScaleAddress:
    group, _, version = ref.api_version.rpartition("/")
    return ScaleAddress(TargetRef(group, ref.kind, fleet.metadata.namespace, ref.name), version)


def _renewed(
    before: Mapping[VariantKey, T], now: Mapping[VariantKey, T], others: Collection[VariantKey]
) -> Mapping[VariantKey, T]:
    """What is known now, and what was known before of those that were not looked at."""
    return {**{key: one for key, one in before.items() if key in others}, **now}


def _shared(refs: Mapping[VariantKey, TargetRef]) -> Mapping[VariantKey, str]:
    """Two fleets, or two variants, that scale one target would undo each other's orders for ever."""
    users: dict[TargetRef, list[VariantKey]] = {}
    for key, ref in refs.items():
        users.setdefault(ref, []).append(key)
    return {
        key: f"variant {other[1]} of fleet {other[0]}"
        for keys in users.values()
        for key in keys
        if (other := next((each for each in keys if each != key), None)) is not None
    }


def _warnings(scalable: Scalable, world: _World) -> tuple[str, ...]:
    found = []
    vertical = world.vertical.get(scalable.ref)
    if vertical is not None:
        found.append(
            f"{vertical} (updateMode {vertical.mode}) may evict the pods of {scalable.ref} to resize them, and a model "
            'takes minutes to load: set its updateMode to "Off"'
        )
    if scalable.applies_replicas:
        found.append(
            f"the manifest of {scalable.ref} holds spec.replicas: each apply sets them back; remove the field there"
        )
    return tuple(found)
