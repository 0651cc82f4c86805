"""The single path of every write, with what must hold before it.

intents = SavedIntents(FileMemoryStore(path))     # the store that the loop is given
targets = SeenTargets(reader)                     # the reader that the loop is given
gate = Gate(writer, [leading(lease.held), targets.opposed, intents.unsaved])
routes = SeenWeights(weight_reader)               # the reader of weights that the loop is given
weights = WeightGate(weight_writer, [leading(lease.held), routes.opposed, intents.unsaved])
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from controller.model.decision import Outcome, OutcomeStatus, ScaleWrite, WeightWrite, Write
from controller.model.fleet import Fleet
from controller.model.memory import FleetMemory
from controller.model.snapshot import ScaleTarget
from controller.model.weights import WeightReading
from controller.ports import MemoryStore, ReplicaReader, ReplicaWriter, VariantKey, WeightReader, WeightWriter

Precondition = Callable[[ScaleWrite], str | None]
"""Why a write must not happen now; None when it may."""
WeightPrecondition = Callable[[WeightWrite], str | None]
"""The same for weights."""


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


class WeightGate:
    """A `WeightWriter` that refuses an order unless every precondition holds at the moment of writing."""

    def __init__(self, writer: WeightWriter, preconditions: Sequence[WeightPrecondition]) -> None:
        self._writer = writer
        self._preconditions = tuple(preconditions)

    def set_weights(self, write: WeightWrite) -> Outcome:
        """Pass the order on, or refuse it with the first reason."""
        for objection in self._preconditions:
            reason = objection(write)
            if reason is not None:
                return Outcome(write, OutcomeStatus.REFUSED, reason)
        return self._writer.set_weights(write)


def leading(is_leader: Callable[[], bool]) -> Callable[[Write], str | None]:
    """Only the leader writes. Asked for each write: leadership may end between two."""

    def objection(_write: Write) -> str | None:
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


class SeenWeights:
    """A `WeightReader` that remembers its last reading, to object to writes against it."""

    def __init__(self, reader: WeightReader) -> None:
        self._reader = reader
        self._seen: Mapping[str, WeightReading] = {}

    def weights(self, fleets: Sequence[Fleet]) -> Mapping[str, WeightReading]:
        """What the reader reads. Raises TransientError; then nothing is known any more."""
        self._seen = {}
        self._seen = self._reader.weights(fleets)
        return self._seen

    def opposed(self, write: WeightWrite) -> str | None:
        """Objects to a route that was not read in this cycle, or is not what the order was planned on."""
        seen = self._seen.get(write.fleet)
        if seen is None or not seen.weights:
            return f"the weights of {write.fleet} were not read in this cycle"
        if seen.resource_version != write.resource_version:
            return f"the weights of {write.fleet} were read again since the order was planned"
        return None


class SavedIntents:
    """A `MemoryStore` that remembers which orders it has saved, to object to others.

    What was loaded does not count: an order from before a crash is planned afresh, never sent again blindly.
    """

    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self._saved: frozenset[Write] = frozenset()
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
        self._saved = frozenset(write for memory in memories.values() for write in _intents(memory))

    def unsaved(self, write: Write) -> str | None:
        """Objects to an order that would be forgotten by a crash.

        While the store refuses to save, growth passes, and traffic may leave a version without a ready replica: both
        are absolute and planned again from live state, so nothing is lost with them, and a full disk must not keep a
        fleet from its capacity. Everything else waits.
        """
        if write in self._saved or (self._refusing and write.safe_to_repeat):
            return None
        what = f"{write.fleet}/{write.variant}" if isinstance(write, ScaleWrite) else f"the weights of {write.fleet}"
        return f"the order for {what} was not saved before"


def _intents(memory: FleetMemory) -> tuple[Write, ...]:
    traffic = memory.traffic.intent if memory.traffic is not None else None
    return memory.intent if traffic is None else (*memory.intent, traffic)
