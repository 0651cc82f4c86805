"""Leader election as a state machine: what was seen, what may be written now, how long leading is certain.

No clock, no network: it is told what reads and writes answered, and `now` by the clock of its own process, which
never stops or goes back (and counts suspension). Clocks of different machines are never compared.

Why never two lead at once. A holder is certain of itself only until `start + duration - margin`, where `start` is its
clock before it sent its last successful write. A contender writes over another's lease only after it has seen one and
the same resource version for that lease's whole duration by its own clock, and only onto that version. The version
cannot be seen before it was written, and it was not written before `start`: the contender's wait ends after
`start + duration`. The margin is for clocks that run at different rates. A write whose answer was lost proves nothing
and counts for nothing; if it took effect late, the version moved and the contender waits anew.

What it does not cover: somebody who empties or deletes the Lease by hand while it is held.
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds. Raises ValueError where the holder could not renew in time."""

    duration_s: int = 15
    """How long a lease counts after its last renewal; whole seconds, for that is how it is written."""
    renew_s: float = 5.0
    """Between two renewals."""
    margin_s: float = 3.0
    """So much before the lease ends its holder stops writing."""
    poll_s: float = 1.0
    """Between two looks of one who does not hold it, and before another try at what failed."""

    def __post_init__(self) -> None:
        if not 0 < self.poll_s <= self.renew_s < self.renew_s + self.poll_s <= self.duration_s - self.margin_s:
            raise ValueError(
                f"a lease of {self.duration_s:g} s with a margin of {self.margin_s:g} s cannot be renewed every "
                f"{self.renew_s:g} s with a second try after {self.poll_s:g} s: lengthen it, or renew it oftener"
            )


@dataclass(frozen=True, slots=True)
class LeaseRecord:
    """The Lease as it was read."""

    version: str
    """Resource version: any write changes it."""
    holder: str
    """Empty: released."""
    duration_s: float
    transitions: int
    """How often it changed hands."""


@dataclass(frozen=True, slots=True)
class Bid:
    """A write to be sent: onto `version` and no other; None: only where there is no Lease."""

    version: str | None
    holder: str
    transitions: int
    started: float
    """The clock before it was sent."""
    takes_over: bool = False
    """Whether it begins a new term of its holder; else it goes on with the old one."""


class Election:
    """One contender. Reads and writes one after the other, from one thread; `held` and `close` from any.

    election.observe(record, now)               # after each read
    bid = election.bid(now)                     # send it, if there is one
    election.won(bid, version) or election.missed()
    """

    def __init__(self, identity: str, timing: Timing) -> None:
        """`identity` belongs to this process alone, not to its successor of the same name."""
        self.identity = identity
        self.timing = timing
        self.generation = 0
        """Terms before ours, at the last time that we took over. Grows from holder to holder."""
        self._seen: LeaseRecord | None = None
        self._since = -math.inf
        """When the version that was last seen was first seen."""
        self._current = False
        """Whether a bid may be based on what was seen: nothing failed since."""
        self._certain_until = -math.inf
        self._renew_at = -math.inf
        self._orphaned_s = 0.0
        """How long to wait where there is no Lease any more, for one who may still count on it."""
        self._transitions = -1
        self._closed = False

    def held(self, now: float) -> bool:
        """Whether leading is certain at `now`."""
        return now < self._certain_until and not self._closed

    @property
    def holder(self) -> str:
        """Who held it when last looked; empty where nobody did."""
        return self._seen.holder if self._seen is not None else ""

    @property
    def must_look(self) -> bool:
        """Whether to read before the next bid: we do not hold it, or something failed."""
        return not self._current or self.holder != self.identity

    def observe(self, record: LeaseRecord | None, now: float) -> None:
        """What a read answered; None: there is no Lease. `now` is when the answer was there."""
        if self._since == -math.inf or _version(record) != _version(self._seen):
            self._since = now
            if record is None and self.holder not in ("", self.identity):
                self._orphaned_s = self._seen.duration_s if self._seen is not None else 0.0
        self._seen, self._current = record, True
        if record is not None:
            self._transitions = max(self._transitions, record.transitions)
            if record.holder != self.identity:
                self._certain_until = -math.inf

    def bid(self, now: float) -> Bid | None:
        """The write to send now; None while there is nothing to do but to wait."""
        if self._closed or not self._current or not self._free(now):
            return None
        seen = self._seen
        if seen is not None and seen.holder == self.identity:
            return Bid(seen.version, self.identity, seen.transitions, now)
        return Bid(_version(seen), self.identity, self._transitions + 1, now, takes_over=True)

    def won(self, bid: Bid, version: str) -> None:
        """The bid took effect, and made this resource version."""
        self._seen = LeaseRecord(version, bid.holder, self.timing.duration_s, bid.transitions)
        self._transitions, self._current, self._orphaned_s = bid.transitions, True, 0.0
        if self._closed or bid.holder != self.identity:
            return
        self.generation = bid.transitions
        self._renew_at = bid.started + self.timing.renew_s
        self._certain_until = bid.started + self.timing.duration_s - self.timing.margin_s

    def missed(self) -> None:
        """A read or bid was refused or not answered: nothing follows from it but to look again."""
        self._current = False

    def close(self) -> None:
        """Never hold it again. From any thread."""
        self._closed = True

    def release(self, now: float) -> Bid | None:
        """After `close`: the write that lets a successor start at once; None where it is not ours."""
        seen = self._seen
        if not self._closed or not self._current or seen is None or seen.holder != self.identity:
            return None
        return Bid(seen.version, "", seen.transitions, now)

    def wait_s(self, now: float) -> float:
        """How long until there is something to do."""
        if not self.must_look:
            return max(0.0, self._renew_at - now)
        if not self._current:
            return self.timing.poll_s
        return min(self.timing.poll_s, max(0.0, self._expires_at() - now))

    def _free(self, now: float) -> bool:
        """Whether the Lease as it was seen is there for us to write."""
        if self.holder == self.identity:
            return now >= self._renew_at
        return now >= self._expires_at()

    def _expires_at(self) -> float:
        if self._seen is None:
            return self._since + self._orphaned_s
        return self._since + self._seen.duration_s if self._seen.holder else self._since


def _version(record: LeaseRecord | None) -> str | None:
    return record.version if record is not None else None
