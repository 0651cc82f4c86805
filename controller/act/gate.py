"""The single path of every write, with what must hold before it.

intents = SavedIntents(FileMemoryStore(path))     # the store that the loop is given
targets = SeenTargets(reader)                     # the reader that the loop is given
gate = Gate(writer, [leading(lease.held), targets.opposed, intents.unsaved])
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from controller.model.decision import Outcome, OutcomeStatus, ScaleWrite
from controller.model.fleet import Fleet
from controller.model.memory import FleetMemory
from controller.model.snapshot import ScaleTarget
from controller.ports import MemoryStore, ReplicaReader, ReplicaWriter, VariantKey

Precondition = Callable[[ScaleWrite], str | None]
"""Why a write must not happen now; None when it may."""


class Gate:
    """A `ReplicaWriter` that refuses an order unless every precondition holds at the moment of writing."""

    def __init__(self, writer: ReplicaWriter, preconditions: Sequence[Precondition]) -> None:
        self._writer = writer
        self._preconditions = tuple(preconditions)

    def scale(self, write: ScaleWrite) -> Outcome:
        """Pass the order on, or refuse it with the first reason."""
        for objection in self._preconditions:
            reason = objection(write)
            if reason is not None:
                return Outcome(write, OutcomeStatus.REFUSED, reason)
        return self._writer.scale(write)


def leading(is_leader: Callable[[], bool]) -> Precondition:
    """Only the leader writes. Asked for each write: leadership may end between two."""

    def objection(_write: ScaleWrite) -> str | None:
        return None if is_leader() else "not the leader: another instance may be writing"

    return objection


class SeenTargets:
    """A `ReplicaReader` that remembers its last reading, to object to writes against it."""

    def __init__(self, reader: ReplicaReader) -> None:
        self._reader = reader
        self._seen: Mapping[VariantKey, ScaleTarget] = {}

    def read(self, fleets: Sequence[Fleet]) -> Mapping[VariantKey, ScaleTarget]:
        """What the reader reads. Raises TransientError; then nothing is known any more."""
        self._seen = {}
        self._seen = self._reader.read(fleets)
        return self._seen

    def opposed(self, write: ScaleWrite) -> str | None:
        """Objects to a target that was not read, or that somebody else drives."""
        target = self._seen.get((write.fleet, write.variant))
        if target is None:
            return f"{write.fleet}/{write.variant} was not read in this cycle"
        if target.foreign_writer:
            return f"{write.fleet}/{write.variant} is driven by {target.foreign_writer}: one of the two has to go"
        return None


class SavedIntents:
    """A `MemoryStore` that remembers which orders it has saved, to object to others.

    What was loaded does not count: an order from before a crash is planned afresh, never sent again blindly.
    """

    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self._saved: frozenset[ScaleWrite] = frozenset()
        self._refusing = False
        """Whether the store refused the last save."""

    def load(self) -> Mapping[str, FleetMemory]:
        """What the store has. Raises PermanentError as it does."""
        return self._store.load()

    def set_aside(self) -> str:
        """As the store does. Raises TransientError."""
        return self._store.set_aside()

    def save(self, memories: Mapping[str, FleetMemory]) -> None:
        """Save, then remember the orders in it. Raises TransientError as the store does; then no order is saved."""
        self._saved, self._refusing = frozenset(), True
        self._store.save(memories)
        self._refusing = False
        self._saved = frozenset(write for memory in memories.values() for write in memory.intent)

    def unsaved(self, write: ScaleWrite) -> str | None:
        """Objects to an order that would be forgotten by a crash.

        While the store refuses to save, growth passes: it is absolute and planned again from live state, so nothing
        is lost with it, and a full disk must not keep a fleet from its capacity. Reductions wait.
        """
        if write in self._saved or (self._refusing and write.replicas > write.current):
            return None
        return f"the order for {write.fleet}/{write.variant} was not saved before"
