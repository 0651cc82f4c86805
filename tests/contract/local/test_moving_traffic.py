"""The daemon's writer moves real requests: an order to the supervisor reaches Envoy, and no request fails meanwhile."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import requests

from controller.act.local import LocalWeightWriter
from controller.model.decision import OutcomeStatus, WeightWrite
from controller.model.weights import RouteRef
from controller.observe.local import LocalWeightReader
from engine.local.config import FleetConfig
from engine.local.stack import LocalStack, StackOptions
from tests.contract.local.rigs import tiny_config, tiny_fleet, until

FLEET = tiny_fleet("tiny-3.1")
ROUTE = RouteRef("llm", "vllm-routing", "primary", "tiny-3.1.llm")


def order(before: tuple[int, int], after: tuple[int, int]) -> WeightWrite:
    split = [tuple(zip(("v1", "v2"), weights, strict=True)) for weights in (before, after)]
    return WeightWrite(FLEET.key, ROUTE, split[0], split[1], "")


def test_an_order_of_the_daemon_moves_requests_and_none_fails(tmp_path: Path) -> None:
    config = tiny_config(FleetConfig.of(FLEET, replicas={"v1": 1, "v2": 1}))
    with (
        LocalStack(config, StackOptions(run_dir=tmp_path / "run", prometheus=False)) as stack,
        requests.Session() as client,
    ):
        stack.wait_until_ready(20)
        writer, reader = LocalWeightWriter(stack.addresses.supervisor), LocalWeightReader(stack.addresses.supervisor)

        def ask(count: int) -> Counter[str]:
            answers = [client.get(stack.addresses.proxy, timeout=5) for _ in range(count)]
            return Counter(a.text if a.ok else str(a.status_code) for a in answers)

        until(lambda: "503" not in ask(1))
        (old,) = ask(100)
        assert writer.set_weights(order((100, 0), (70, 30))).status is OutcomeStatus.APPLIED
        until(lambda: len(ask(20)) == 2)
        (new,) = set(ask(100)) - {old}
        split = ask(500)
        assert set(split) == {old, new}
        assert 0.2 < split[new] / 500 < 0.4  # five standard deviations
        assert reader.weights([FLEET])[FLEET.key].weights == {"v1": 70, "v2": 30}

        assert writer.set_weights(order((70, 30), (0, 100))).status is OutcomeStatus.APPLIED
        until(lambda: old not in ask(20))
        assert ask(100) == {new: 100}
