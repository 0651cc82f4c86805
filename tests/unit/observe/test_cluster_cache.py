"""Whatever happens to lists and watches, a cache ends with exactly what the server has."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st

from controller.cluster.cache import ListWatch
from controller.cluster.client import ApiError, ClusterClient, ExpiredError, Json, UnreachableError
from controller.cluster.names import PODS
from controller.errors import TransientError
from tests.contract.cluster.api_store import RefusedError, Store, kind_of

KIND = kind_of(PODS)
_FATES = ("told", "bookmark", "break", "end", "compact", "confused", "busy")


@dataclass(frozen=True)
class Turn:
    """Some changes on the server, how many of them a watch is told, and what becomes of the watch, or of the list."""

    changes: tuple[tuple[str, int], ...]
    told: int
    fate: str


changes = st.tuples(st.sampled_from(["put", "remove"]), st.integers(0, 4))
turns = st.builds(Turn, st.lists(changes, max_size=4).map(tuple), st.integers(0, 4), st.sampled_from(_FATES))


@dataclass
class ScriptedServer:
    """Lists in pages of two and watches, as a script of turns says; without a fault once the script has ended."""

    script: list[Turn]
    store: Store = field(default_factory=Store)

    def pages(self, path: str, **query: Any) -> Iterator[Json]:
        found, version = self.store.list(KIND, "", "")
        pages = [found[at : at + 2] for at in range(0, len(found), 2)] or [[]]
        for page in pages:
            yield {"metadata": {"resourceVersion": str(version)}, "items": page}
            if self.script and page is not pages[-1]:
                turn = self._turn()
                if self.store.compacted > version:
                    raise ExpiredError(410, "Expired", "continue token")
                _ended_by(turn.fate)

    def watch(self, path: str, version: str, **query: Any) -> ScriptedWatch:
        return ScriptedWatch(self, int(version))

    def listed(self) -> dict[str, str]:
        found, _ = self.store.list(KIND, "", "")
        return {f"llm/{one['metadata']['name']}": one["metadata"]["resourceVersion"] for one in found}

    def _turn(self) -> Turn:
        turn = self.script.pop(0)
        for what, number in turn.changes:
            if what == "put":
                self.store.put(PODS, {"metadata": {"name": f"p{number}"}}, namespace="llm")
            elif ("llm", f"p{number}") in self.store.objects.get(KIND, {}):
                self.store.remove(PODS, "llm", f"p{number}")
        if turn.fate == "compact":
            self.store.compact()
        return turn

    def events(self, version: int) -> Iterator[Json]:
        while self.script:
            turn = self._turn()
            told = self._since(version)
            told = told if turn.fate in {"told", "bookmark"} else told[: turn.told]
            for event in told:
                yield event
                version = int(event["object"]["metadata"]["resourceVersion"])
            if turn.fate == "bookmark":
                version = self.store.version
                yield {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": str(version)}}}
            if turn.fate == "end":
                return
            _ended_by(turn.fate)
        yield from self._since(version)

    def _since(self, version: int) -> list[Json]:
        try:
            return self.store.since(version, KIND, "", "")[0]
        except RefusedError as error:
            raise ExpiredError(410, "Expired", str(error)) from error


class ScriptedWatch(Iterator[Json]):
    def __init__(self, server: ScriptedServer, version: int) -> None:
        self._events = server.events(version)

    def __next__(self) -> Json:
        return next(self._events)

    def close(self) -> None:
        """Nothing to let go of."""


def _ended_by(fate: str) -> None:
    if fate == "break":
        raise UnreachableError("the connection is gone")
    if fate == "confused":
        raise ApiError(500, "InternalError", "etcd event received with PrevKv=nil")
    if fate == "busy":
        raise ApiError(429, "TooManyRequests", "later")


@given(st.lists(turns, max_size=12))
def test_any_history_of_lists_and_watches_ends_with_exactly_the_servers_objects(script: list[Turn]) -> None:
    server = ScriptedServer(list(script))
    cache = ListWatch(cast("ClusterClient", server), PODS, lambda raw: str(raw["metadata"]["resourceVersion"]))
    for _ in range(2 * len(script) + 4):
        with suppress(TransientError):
            cache.step()
    assert not server.script
    assert dict(cache.objects()) == server.listed()
    assert cache.synced


@given(st.lists(turns, max_size=6))
def test_what_was_shown_once_never_changes_under_the_reader(script: list[Turn]) -> None:
    server = ScriptedServer(list(script))
    cache = ListWatch(cast("ClusterClient", server), PODS, lambda raw: str(raw["metadata"]["resourceVersion"]))
    shown = []
    for _ in range(len(script) + 2):
        with suppress(TransientError):
            cache.step()
        shown.append((cache.objects(), dict(cache.objects())))
    assert all(dict(mapping) == copied for mapping, copied in shown)


def test_a_change_that_concerns_nothing_that_is_kept_shows_nothing_new() -> None:
    server = ScriptedServer([])
    server.store.put(PODS, {"metadata": {"name": "p1"}}, namespace="llm")
    cache = ListWatch(cast("ClusterClient", server), PODS, lambda raw: str(raw["metadata"]["name"]))
    with suppress(TransientError):
        cache.step()
    before = cache.objects()
    server.script = [Turn((("put", 1),), 0, "told"), Turn((), 0, "end")]
    with suppress(TransientError):
        cache.step()
    assert cache.objects() is before
    assert dict(before) == {"llm/p1": "p1"}


def test_an_object_that_nothing_is_kept_of_is_not_there() -> None:
    server = ScriptedServer([])
    server.store.put(PODS, {"metadata": {"name": "p1"}}, namespace="llm")
    cache: ListWatch[str] = ListWatch(cast("ClusterClient", server), PODS, lambda _raw: None)
    with suppress(TransientError):
        cache.step()
    assert not cache.objects()
    assert cache.synced
