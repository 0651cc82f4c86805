"""Scale targets of kinds that are not kept by watching: one GET of the scale subresource for each, in bounded time."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass

from controller.cluster.client import ClusterClient, NotFoundError, Resource
from controller.cluster.discovery import Plurals
from controller.cluster.raw import version_of
from controller.errors import TransientError
from controller.observe.cluster_scalables import Fields, Scalable, fields_of, scalable_of_scale
from controller.observe.second_writers import TargetRef

MOST_TARGETS = 500
"""Targets of such kinds that are read in one cycle, at most."""
_WORKERS = 4


@dataclass(frozen=True, slots=True)
class ScaleAddress:
    """A target and the version of the API by which its fleet names it."""

    ref: TargetRef
    version: str

    @property
    def api_version(self) -> str:
        """As in `scaleTargetRef`."""
        return f"{self.ref.group}/{self.version}" if self.ref.group else self.version


class Scales:
    """Reads scale subresources. `budget_s` bounds one reading of all of them."""

    def __init__(self, client: ClusterClient, budget_s: float = 3.0) -> None:
        self._client = client
        self._budget_s = budget_s
        self._plurals = Plurals(client)
        self._fields: dict[TargetRef, tuple[str, Fields]] = {}
        self._pool = ThreadPoolExecutor(_WORKERS, thread_name_prefix="scales")

    def close(self) -> None:
        """Let go of the threads; what is under way ends by its own time-out."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def read(self, wanted: Collection[ScaleAddress]) -> Mapping[TargetRef, Scalable | str]:
        """What was found, or the sentence that says why it was not."""
        some = sorted(set(wanted), key=lambda address: str(address.ref))
        asked = {address.ref: self._pool.submit(self._one, address) for address in some[:MOST_TARGETS]}
        wait(asked.values(), timeout=self._budget_s)
        found = {ref: _outcome(ref, future) for ref, future in asked.items()}
        if len(self._fields) > 2 * MOST_TARGETS:
            self._fields = {ref: kept for ref, kept in list(self._fields.items()) if ref in found}
        many = f"is one of {len(some)} targets of kinds that are not watched; at most {MOST_TARGETS} are read"
        return {**found, **{address.ref: f"{address.ref} {many}" for address in some[MOST_TARGETS:]}}

    def _one(self, address: ScaleAddress) -> Scalable:
        ref = address.ref
        resource = Resource(ref.group, address.version, self._plural(address))
        try:
            scale = self._client.get(resource.path(ref.namespace, ref.name, "scale"))
        except NotFoundError as error:
            raise TransientError(f"{ref} has no scale subresource, or is not there: {error}") from error
        return scalable_of_scale(scale, ref, self._fields_of(ref, resource, version_of(scale)))

    def _fields_of(self, ref: TargetRef, resource: Resource, version: str) -> Fields:
        """A Scale does not say who owns its fields: the object does, and is read again when it has changed."""
        known = self._fields.get(ref)
        if known is not None and known[0] == version:
            return known[1]
        fields = fields_of(self._client.get(resource.path(ref.namespace, ref.name)))
        self._fields[ref] = (version, fields)
        return fields

    def _plural(self, address: ScaleAddress) -> str:
        try:
            return self._plurals(address.api_version, address.ref.kind)
        except TransientError as error:
            raise TransientError(f"{address.ref}: {error}") from error


def _outcome(ref: TargetRef, future: Future[Scalable]) -> Scalable | str:
    if not future.done():
        future.cancel()
        return f"{ref} was not read in time"
    error = future.exception()
    if error is None:
        return future.result()
    if isinstance(error, TransientError):
        return str(error)
    raise error
