"""A `PrometheusSignals` before a server that answers what a test says."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from controller.model.fleet import Fleet
from controller.observe.prometheus import PrometheusSignals
from controller.ports import FleetSignals
from tests.contract.observe.answering_server import NOW_S, AnsweringServer, Rows, SteadyAnswers
from tests.contract.observe.builders import fleet, scope, targets

FLEETS = [fleet("chat")]
Respond = Callable[[str, float], tuple[int, bytes]]


@contextmanager
def source(
    respond: Respond, timeout_s: float = 5.0, **more: Any
) -> Iterator[tuple[PrometheusSignals, AnsweringServer]]:
    with (
        AnsweringServer(respond) as server,
        PrometheusSignals(server.url, scope(), timeout_s=timeout_s, now=lambda: NOW_S, **more) as signals,
    ):
        yield signals, server


def read(respond: Respond, fleets: list[Fleet] = FLEETS, timeout_s: float = 5.0, **more: Any) -> FleetSignals:
    with source(respond, timeout_s, **more) as (signals, _):
        return signals.read(fleets, targets(fleets))[fleets[0].key]


def steady(**more: Any) -> SteadyAnswers:
    return SteadyAnswers(FLEETS, scope(), **more)


def only(name: str, change: Callable[[Rows], Rows]) -> Callable[[str, Rows], Rows]:
    """Spoil the rows of one query."""
    return lambda query, rows: change(rows) if query == name else rows
