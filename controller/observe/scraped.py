"""Tables out of histories of scrapes: the same tables that Prometheus's answers fill."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from controller.observe.history import History, Scrape
from controller.observe.observation import LEGS, Key, Leg
from engine.metrics import ENVOY_CLUSTER_LABEL

_EDGED = ("ttft", "tpot")


def tables(
    histories: Mapping[Key, Sequence[History]],
    proxies: Sequence[History],
    now_s: float,
    window_s: float,
    stale_after_s: float,
) -> dict[str, Leg]:
    """Every table at one instant."""
    legs = {name: Leg() for name in LEGS}
    for key, replicas in histories.items():
        newest = _reporting(replicas, now_s)
        _vitals(legs, key, newest, now_s, stale_after_s)
        _instant(legs, key, newest, now_s)
        _before(legs, key, _reporting(replicas, now_s - window_s), now_s - window_s)
        for history in replicas:
            _rates(legs, key, history, now_s - window_s, now_s)
    for history in proxies:
        _proxy(legs, history, now_s, window_s)
    return legs


def _reporting(replicas: Iterable[History], instant_s: float) -> list[Scrape]:
    """The newest scrapes at an instant of those replicas that serve the model."""
    return [scrape for history in replicas if (scrape := history.at(instant_s)) and _of(scrape, "running")]


def _of(scrape: Scrape, table: str) -> list[float]:
    return [number for series, number in (scrape.numbers or {}).items() if series[0] == table]


def _vitals(legs: Mapping[str, Leg], key: Key, newest: Sequence[Scrape], now_s: float, stale_after_s: float) -> None:
    recent = [scrape for scrape in newest if now_s - scrape.at_s <= stale_after_s]
    if recent:
        engines = float(sum(len(_of(scrape, "running")) for scrape in recent))
        legs["engines"].rows[key] = legs["distinct"].rows[key] = engines
        legs["replicas"].rows[key] = float(len(recent))
    if newest:
        legs["age"].rows[key] = now_s - min(scrape.at_s for scrape in newest)


def _instant(legs: Mapping[str, Leg], key: Key, newest: Sequence[Scrape], now_s: float) -> None:
    gauges: tuple[tuple[str, str, Callable[[Iterable[float]], float]], ...] = (
        ("running", "running", sum),
        ("waiting", "waiting", sum),
        ("kv", "kv_avg", _mean),
        ("kv", "kv_max", max),
        ("kv_tokens", "kv_capacity", min),
        ("gpu", "gpu", _mean),
    )
    for table, leg, how in gauges:
        values = [number for scrape in newest for number in _of(scrape, table)]
        if values:
            legs[leg].rows[key] = how(values)
    used, free = (sum(n for scrape in newest for n in _of(scrape, table)) for table in ("gpu_used", "gpu_free"))
    if used + free > 0:
        legs["gpu_memory"].rows[key] = used / (used + free)
    ages = [now_s - scrape.at_s for scrape in newest if _of(scrape, "gpu")]
    if ages:
        legs["gpu_age"].rows[key] = max(ages)


def _mean(values: Iterable[float]) -> float:
    numbers = list(values)
    return sum(numbers) / len(numbers)


def _before(legs: Mapping[str, Leg], key: Key, then: Sequence[Scrape], then_s: float) -> None:
    if then:
        legs["before"].rows[key] = sum(sum(_of(scrape, "running")) + sum(_of(scrape, "waiting")) for scrape in then)
        legs["before_replicas"].rows[key] = float(len(then))
        legs["before_age"].rows[key] = then_s - max(scrape.at_s for scrape in then)


def _rates(legs: Mapping[str, Leg], key: Key, history: History, start_s: float, end_s: float) -> None:
    for (table, edge, _), value in history.rates(start_s, end_s).items():
        row = (*key, edge) if table in _EDGED else key
        rows = legs[table].rows
        rows[row] = rows.get(row, 0.0) + value


def _proxy(legs: Mapping[str, Leg], history: History, now_s: float, window_s: float) -> None:
    refused, ages = legs["refused"].rows, legs["refused_age"].rows
    for (_, _, labels), value in history.rates(now_s - window_s, now_s).items():
        row = (dict(labels).get(ENVOY_CLUSTER_LABEL, ""),)
        refused[row] = refused.get(row, 0.0) + value
    newest = history.at(now_s)
    for _, _, labels in newest.numbers or {} if newest else {}:
        row = (dict(labels).get(ENVOY_CLUSTER_LABEL, ""),)
        ages[row] = max(ages.get(row, 0.0), now_s - (newest.at_s if newest else now_s))
