"""A memory in the cluster that cannot be read is lost for its fleet alone, and kept for whoever can read it."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from controller.model.memory import FleetMemory
from controller.record.cluster_memory import ClusterMemory
from controller.record.memory_object import packed
from tests.contract.cluster.object_server import ObjectServer
from tests.unit.record.cluster_stores import KEY, MAPS, PATH, SteppedClock, a_memory, stores


@pytest.fixture
def server() -> Iterator[ObjectServer]:
    with ObjectServer() as server:
        yield server


@pytest.fixture
def clock() -> SteppedClock:
    return SteppedClock()


@pytest.fixture
def new_store(server: ObjectServer, clock: SteppedClock) -> Iterator[Callable[..., ClusterMemory]]:
    with stores(server, clock) as new:
        yield new


def content(text: bytes) -> dict[str, str]:
    return {"memory": base64.b64encode(zlib.compress(text)).decode()}


@pytest.mark.parametrize(
    ("spoilt", "why"),
    [
        pytest.param({}, "is damaged", id="empty"),
        pytest.param({"memory": "%%%"}, "is damaged", id="no base64"),
        pytest.param({"memory": base64.b64encode(b"x" * 99).decode()}, "is damaged", id="not compressed"),
        pytest.param(content(b'{"kind":"governor-memory","version":1,"crc32":1}\n{}'), "checksum", id="edited"),
        pytest.param(
            content(b'{"kind":"governor-memory","version":1,"crc32":%d}\n{}' % zlib.crc32(b"{}")),
            "does not fit",
            id="a field missing",
        ),
        pytest.param(
            content(b'{"kind":"governor-memory","version":99,"crc32":1}\n{}'), "of version 99", id="a newer version"
        ),
        pytest.param({"memory": packed("a/b", b'{"fleet":"a/b"}').decode()}, "that of a/b", id="another fleet's"),
    ],
)
def test_a_memory_that_cannot_be_read_is_begun_anew_for_its_fleet_and_the_old_one_kept(
    server: ObjectServer,
    new_store: Callable[..., ClusterMemory],
    clock: SteppedClock,
    spoilt: dict[str, str],
    why: str,
) -> None:
    new_store().save({KEY: a_memory(), "llm/other": a_memory("llm/other")})
    server.objects[PATH]["binaryData"] = spoilt
    store = new_store()

    loaded = store.load()

    assert loaded == {KEY: replace(FleetMemory.empty(KEY), lost_at=clock.now()), "llm/other": a_memory("llm/other")}
    assert why in store.note
    store.save({**loaded, KEY: a_memory()})
    kept = [path for path in server.objects if "-unreadable-" in path]
    assert [server.objects[path]["binaryData"] for path in kept] == [spoilt]
    assert new_store().load()[KEY] == a_memory()


def test_a_copy_of_a_memory_under_another_name_is_passed_over(
    server: ObjectServer, new_store: Callable[..., ClusterMemory]
) -> None:
    new_store().save({KEY: a_memory()})
    copy = {k: v for k, v in server.objects[PATH].items() if k != "metadata"}
    metadata = {k: server.objects[PATH]["metadata"][k] for k in ("labels", "annotations")}
    server.put(f"{MAPS}/memory-copy", {**copy, "metadata": metadata})
    store = new_store()

    assert store.load() == {KEY: a_memory()}
    assert "memory-copy is passed over" in store.note
