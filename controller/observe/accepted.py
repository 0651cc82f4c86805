"""The fleets that can be driven, whoever declares them.

A version without a capacity profile, or one that claims what is another fleet's, is no better than one that cannot
be read: the last good version stays in force, and what is wrong is said.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import structlog

from controller.errors import GovernorError
from controller.model.fleet import Fleet
from controller.observe.clashes import clashes
from controller.ports import FleetSource

_log = structlog.get_logger("governor")
_NOTHING: Mapping[str, str] = MappingProxyType({})


class AcceptedFleets:
    """`controller.ports.FleetSource` over another one. Safe for several threads.

    `check` raises GovernorError for a fleet that cannot be planned. Every problem, the other source's included, is
    logged when it appears or changes, and once more when it is mended.
    """

    def __init__(self, source: FleetSource, check: Callable[[Fleet], object]) -> None:
        self._source, self._check = source, check
        self._lock = threading.Lock()
        self._newest: tuple[Fleet, ...] = ()
        self._accepted: Mapping[str, Fleet] = {}
        self._refused: Mapping[str, str] = _NOTHING
        self._problems: Mapping[str, str] = _NOTHING

    def fleets(self) -> Sequence[Fleet]:
        """Every fleet that has a good version, in its newest one."""
        with self._lock:
            newest = tuple(self._source.fleets())
            # What was refused may be good by now without a change in the fleet: a profile is a file of its own.
            if self._refused or not _same(newest, self._newest):
                self._take(newest)
            self._say({**self._refused, **self._source.problems()})
            return tuple(self._accepted.values())

    def problems(self) -> Mapping[str, str]:
        """What is wrong with the newest versions, as of the last call of `fleets`. Waits for nobody."""
        return self._problems

    def _take(self, newest: tuple[Fleet, ...]) -> None:
        refused: dict[str, str] = {}
        chosen: dict[str, Fleet] = {}
        for fleet in newest:
            fault = "" if self._accepted.get(fleet.key) is fleet else self._fault(fleet)
            chosen[fleet.key] = fleet
            if fault:
                self._refuse(fleet.key, fault, chosen, refused)
        while self._part(chosen, refused):
            continue
        self._newest, self._accepted, self._refused = newest, chosen, MappingProxyType(refused)

    def _fault(self, fleet: Fleet) -> str:
        try:
            self._check(fleet)
        except GovernorError as error:
            return " ".join(str(error).split())
        return ""

    def _part(self, chosen: dict[str, Fleet], refused: dict[str, str]) -> bool:
        """Refuse the new versions of fleets that claim the same. Returns whether there were any.

        It comes to an end: versions that were in force together share nothing.
        """
        found = clashes(tuple(chosen.values()))
        if not found:
            return False
        names = {key: f"fleet {key}" for key in chosen}
        for key in [key for key in found[0].places if chosen[key] is not self._accepted.get(key)]:
            self._refuse(key, f"fleet {key}: {found[0].sentence(key, names)}", chosen, refused)
        return True

    def _refuse(self, key: str, why: str, chosen: dict[str, Fleet], refused: dict[str, str]) -> None:
        refused[key] = why
        if key in self._accepted:
            chosen[key] = self._accepted[key]
        else:
            del chosen[key]

    def _say(self, problems: Mapping[str, str]) -> None:
        before, self._problems = self._problems, MappingProxyType(dict(problems))
        new: dict[str, list[str]] = {}
        for name, text in problems.items():
            if before.get(name) != text:
                new.setdefault(text, []).append(name)
        for text, names in new.items():
            kept = [name for name in names if name in self._accepted]
            _log.warning("fleet refused", fleets=names, on_last_good_version=kept, problem=text)
        mended = [name for name in before if name not in problems]
        if mended:
            _log.info("fleet accepted again", fleets=mended)


def _same(one: Sequence[Fleet], other: Sequence[Fleet]) -> bool:
    return len(one) == len(other) and all(a is b for a, b in zip(one, other, strict=True))
