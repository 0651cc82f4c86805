"""Memory in ConfigMaps: orders are there before they are sent, learning follows, and nobody's write is lost unseen."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from random import Random

import pytest

from controller.errors import TransientError
from controller.model.decision import WeightWrite
from controller.model.memory import DemandPoint, TrafficMemory
from controller.model.weights import RouteRef
from controller.record.cluster_memory import ClusterMemory
from controller.record.memory_object import MAX_BYTES
from tests.contract.cluster.conditions import eventually
from tests.contract.cluster.object_server import ObjectServer
from tests.unit.record.cluster_stores import KEY, MAPS, ORDER, PATH, SteppedClock, a_memory, settled, stores


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


def writes(server: ObjectServer) -> int:
    return len(server.asked("POST")) + len(server.asked("PATCH"))


def test_what_one_saved_another_one_loads_bit_for_bit(new_store: Callable[..., ClusterMemory]) -> None:
    memories = {KEY: a_memory(KEY, 1.0, ORDER), "llm/other": a_memory("llm/other")}
    new_store().save(memories)

    assert new_store().load() == memories


def test_what_the_loop_remembers_no_more_leaves_the_cluster(
    server: ObjectServer, new_store: Callable[..., ClusterMemory]
) -> None:
    store = new_store()
    store.save({KEY: a_memory(KEY), "llm/gone": a_memory("llm/gone")})

    store.save({KEY: a_memory(KEY)})

    eventually(lambda: len(server.asked("DELETE")) == 1)
    assert list(new_store().load()) == [KEY]


def test_of_an_empty_cluster_there_is_no_memory(new_store: Callable[..., ClusterMemory]) -> None:
    store = new_store()

    assert store.load() == {}
    assert store.note == ""


def test_hundreds_of_fleets_are_read_page_by_page(
    server: ObjectServer, new_store: Callable[..., ClusterMemory]
) -> None:
    memories = {f"llm/f{n}": a_memory(f"llm/f{n}") for n in range(120)}
    new_store().save(memories)

    assert new_store().load() == memories
    assert len(server.asked("GET", "/configmaps")) == 3


def test_the_object_says_whose_it_is_and_other_config_maps_are_left_alone(
    server: ObjectServer, new_store: Callable[..., ClusterMemory]
) -> None:
    server.put(f"{MAPS}/settings", {"data": {"a": "b"}})
    new_store().save({KEY: a_memory()})

    metadata = server.objects[PATH]["metadata"]
    assert metadata["annotations"]["governor.dev/fleet"] == KEY
    assert metadata["labels"]["app.kubernetes.io/managed-by"] == "vllm-governor"
    assert new_store().load().keys() == {KEY}
    assert "resourceVersion" in server.objects[f"{MAPS}/settings"]["metadata"]


def test_an_order_is_in_the_cluster_when_save_returns(
    server: ObjectServer, new_store: Callable[..., ClusterMemory], clock: SteppedClock
) -> None:
    store = new_store()
    store.save({KEY: a_memory()})
    clock.at += 1

    store.save({KEY: a_memory(KEY, 2.0, ORDER)})

    assert new_store().load()[KEY].intent == (ORDER,)
    (patch,) = server.asked("PATCH")
    assert patch.body["metadata"]["resourceVersion"]


def test_an_order_to_move_traffic_is_an_order(new_store: Callable[..., ClusterMemory], clock: SteppedClock) -> None:
    route = RouteRef("llm", "routing", "primary", "vllm")
    before, after = (("v1", 100), ("v2", 0)), (("v1", 90), ("v2", 10))
    move = WeightWrite(KEY, route, before, after, "9")
    store = new_store()
    store.save({KEY: a_memory()})
    clock.at += 1

    store.save({KEY: replace(a_memory(), traffic=TrafficMemory(after, route, intent=move))})

    traffic = new_store().load()[KEY].traffic
    assert traffic is not None
    assert traffic.intent == move


def test_what_was_only_learned_is_written_once_a_minute(
    server: ObjectServer, new_store: Callable[..., ClusterMemory], clock: SteppedClock
) -> None:
    store = new_store()
    store.save({KEY: a_memory()})

    for second in range(0, 120, 5):
        clock.at = 1000.0 + second
        store.save({KEY: a_memory(KEY, 2.0 + second)})
        settled(store)

    assert len(server.asked("PATCH")) == 1
    assert new_store().load()[KEY].demand[0].arrival_rps == 62.0


def test_a_memory_that_did_not_change_is_never_written_again(
    server: ObjectServer, new_store: Callable[..., ClusterMemory], clock: SteppedClock
) -> None:
    store, memories = new_store(), {KEY: a_memory()}
    store.save(memories)
    clock.at += 600

    store.save(memories)
    settled(store)

    assert writes(server) == 1


def test_an_order_that_is_there_already_is_not_written_again(
    server: ObjectServer, new_store: Callable[..., ClusterMemory], clock: SteppedClock
) -> None:
    store = new_store()
    store.save({KEY: a_memory(KEY, 1.0, ORDER)})
    clock.at += 5

    store.save({KEY: a_memory(KEY, 2.0, ORDER)})
    settled(store)

    assert writes(server) == 1


def test_learning_of_many_fleets_is_spread_over_the_saves_of_a_minute(
    server: ObjectServer, new_store: Callable[..., ClusterMemory], clock: SteppedClock
) -> None:
    store = new_store()
    store.save({f"llm/f{n}": a_memory(f"llm/f{n}") for n in range(60)})
    begun = []

    for _ in range(7):
        clock.at += 60 if not begun else 5
        before = writes(server)
        store.save({f"llm/f{n}": a_memory(f"llm/f{n}", clock.at) for n in range(60)})
        settled(store)
        begun.append(writes(server) - before)

    assert begun == [10, 10, 10, 10, 10, 10, 0]


def test_what_was_learned_is_written_at_the_end(new_store: Callable[..., ClusterMemory], clock: SteppedClock) -> None:
    store = new_store()
    store.save({KEY: a_memory()})
    clock.at += 5
    store.save({KEY: a_memory(KEY, 9.0)})

    store.close()

    assert new_store().load()[KEY].demand[0].arrival_rps == 9.0


def test_an_order_that_cannot_be_saved_is_a_transient_error_naming_fleet_and_reason(
    server: ObjectServer, new_store: Callable[..., ClusterMemory], clock: SteppedClock
) -> None:
    store = new_store()
    store.save({KEY: a_memory()})
    server.fail("PATCH", "/configmaps/", 403, "configmaps is forbidden")

    with pytest.raises(TransientError, match=r"memory of llm/llama-8b was not saved.*configmaps is forbidden"):
        store.save({KEY: a_memory(KEY, 2.0, ORDER)})

    assert "forbidden" in store.error
    store.save({KEY: a_memory(KEY, 3.0, ORDER)})
    assert new_store().load()[KEY].intent == (ORDER,)
    assert store.error == ""


def test_learning_that_cannot_be_saved_is_no_error_and_tried_again(
    server: ObjectServer, new_store: Callable[..., ClusterMemory], clock: SteppedClock
) -> None:
    store = new_store()
    store.save({KEY: a_memory()})
    server.fail("PATCH", "/configmaps/", 500, "etcd is away")
    clock.at += 60
    store.save({KEY: a_memory(KEY, 2.0)})
    settled(store)
    said = store.error
    clock.at += 5

    store.save({KEY: a_memory(KEY, 3.0)})
    settled(store)

    assert "etcd is away" in said
    assert store.error == ""
    assert new_store().load()[KEY].demand[0].arrival_rps == 3.0


def test_a_save_takes_no_longer_than_its_budget(
    server: ObjectServer, new_store: Callable[..., ClusterMemory], clock: SteppedClock
) -> None:
    store = new_store(budget_s=0.2, timeout_s=2.0)
    store.save({KEY: a_memory()})
    released = server.hang("PATCH", "/configmaps/")

    with pytest.raises(TransientError, match=r"took more than 0\.2 s"):
        store.save({KEY: a_memory(KEY, 2.0, ORDER)})
    released.set()


def test_a_write_whose_answer_was_lost_is_found_in_the_cluster_and_written_again(
    server: ObjectServer, new_store: Callable[..., ClusterMemory], clock: SteppedClock
) -> None:
    store = new_store(timeout_s=0.2)
    store.save({KEY: a_memory()})
    released = server.hang("PATCH", "/configmaps/", effect=True)
    with pytest.raises(TransientError):
        store.save({KEY: a_memory(KEY, 2.0, ORDER)})
    released.set()

    store.save({KEY: a_memory(KEY, 3.0, ORDER)})

    assert new_store().load()[KEY].demand[0].arrival_rps == 3.0


def test_a_memory_that_another_instance_wrote_is_written_over_by_the_leader(
    new_store: Callable[..., ClusterMemory], clock: SteppedClock
) -> None:
    one, two = new_store(), new_store()
    one.save({KEY: a_memory()})
    two.load()
    one.save({KEY: a_memory(KEY, 2.0, ORDER)})

    two.save({KEY: a_memory(KEY, 3.0, replace(ORDER, replicas=4))})

    assert new_store().load()[KEY].intent == (replace(ORDER, replicas=4),)


def test_a_deposed_leader_writes_nothing_after_its_successors_first_write(
    server: ObjectServer, new_store: Callable[..., ClusterMemory], clock: SteppedClock
) -> None:
    leads = iter([True, True, False])
    old, new = new_store(held=lambda: next(leads, False)), new_store()
    old.save({KEY: a_memory()})

    def take_over(method: str, path: str) -> None:
        """Between the question whether it leads and its write, the old leader is frozen, and deposed."""
        if method == "PATCH":
            server.before = lambda _method, _path: None
            new.load()
            new.save({KEY: a_memory(KEY, 5.0, replace(ORDER, replicas=5))})

    server.before = take_over
    with pytest.raises(TransientError, match="not the leader any more"):
        old.save({KEY: a_memory(KEY, 2.0, ORDER)})

    assert new_store().load()[KEY].demand[0].arrival_rps == 5.0


def test_who_does_not_lead_saves_nothing(server: ObjectServer, new_store: Callable[..., ClusterMemory]) -> None:
    with pytest.raises(TransientError, match="not the leader"):
        new_store(held=lambda: False).save({KEY: a_memory()})

    assert not server.objects


def test_a_config_map_that_somebody_deleted_is_made_anew(
    server: ObjectServer, new_store: Callable[..., ClusterMemory], clock: SteppedClock
) -> None:
    store = new_store()
    store.save({KEY: a_memory()})
    del server.objects[PATH]

    store.save({KEY: a_memory(KEY, 2.0, ORDER)})

    assert new_store().load()[KEY].intent == (ORDER,)


def test_a_cluster_that_does_not_answer_is_a_transient_error_and_no_empty_memory(
    server: ObjectServer, new_store: Callable[..., ClusterMemory]
) -> None:
    server.fail("GET", "/configmaps", 503, "starting")

    with pytest.raises(TransientError, match="starting"):
        new_store().load()


def test_a_memory_that_does_not_fit_into_a_config_map_is_refused_before_it_is_sent(
    server: ObjectServer, new_store: Callable[..., ClusterMemory]
) -> None:
    noise = Random(1)
    points = tuple(DemandPoint(noise.random(), noise.random(), 1, 1, 1) for _ in range(60_000))

    with pytest.raises(TransientError, match=f"more than the {MAX_BYTES}"):
        new_store().save({KEY: replace(a_memory(), demand=points)})

    assert not server.asked("POST")


def test_a_fleet_that_is_gone_is_forgotten_and_not_written_again(
    server: ObjectServer, new_store: Callable[..., ClusterMemory]
) -> None:
    store, memories = new_store(), {KEY: a_memory()}
    store.save(memories)

    store.forget(KEY)
    store.save(memories)
    after = dict(server.objects)
    store.save({KEY: a_memory()})

    assert not after
    assert PATH in server.objects, "the fleet came back"
