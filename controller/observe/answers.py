"""Prometheus's answers as tables: one pass over the rows, nothing kept but the numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from controller.observe.observation import Leg, Row
from controller.observe.queries import LEG, Query
from controller.settings import MetricLabels
from engine.metrics import ENVOY_CLUSTER_LABEL

DATE_TOLERANCE_S = 1.0
"""An answer's timestamp is the instant asked for, to the millisecond."""

_REMARK = "PromQL info:"
"""Begins what Prometheus remarks on a query since 2.48, as that a counter's name does not end in _total."""


class MalformedAnswerError(ValueError):
    """The answer has not the form that Prometheus's API promises."""


def notices(document: Any) -> tuple[str, ...]:
    """Why the answer may be incomplete, in its sender's words; empty where it is not.

    `warnings` come from Prometheus, Thanos and Mimir, `isPartial` from VictoriaMetrics. Remarks about the query, which
    leave the answer complete, are dropped: `infos`, and what servers without them put among the warnings.
    """
    if not isinstance(document, dict):
        return ()
    found = document.get("warnings") or []
    texts = [str(text) for text in (found if isinstance(found, list) else [found])]
    warnings = tuple(text[:300] for text in texts if not text.startswith(_REMARK))[:10]
    return (*warnings, "the answer is partial") if document.get("isPartial") is True else warnings


def scalar(result: Any) -> float:
    """The number of a scalar answer, positive and finite. Raises MalformedAnswerError."""
    try:
        number = float(result[1])
    except (TypeError, ValueError, LookupError) as error:
        raise MalformedAnswerError("the answer is no scalar") from error
    if not 0 < number < float("inf"):
        raise MalformedAnswerError(f"the answer is {number}")
    return number


def tables(query: Query, result: Any, labels: MetricLabels, at_s: float | None) -> dict[str, Leg]:
    """The query's legs filled from the rows of an instant vector evaluated at `at_s` (None: at the source's present).

    Raises MalformedAnswerError if the rows are none.
    """
    try:
        legs = _tables(query, result, labels)
        evaluated_at = {row["value"][0] for row in result}
        for leg in legs.values():
            _date(leg, evaluated_at, at_s)
        return legs
    except (TypeError, ValueError, LookupError, AttributeError) as error:
        raise MalformedAnswerError(f"the answer is no instant vector: {error!r:.200}") from error


def _tables(query: Query, result: Sequence[Any], labels: MetricLabels) -> dict[str, Leg]:
    if query.split == "le":
        return {query.name: _buckets(result, labels)}
    if query.split == "num_gpu_blocks":
        return {query.name: _capacity(result, labels)}
    return _legs(query, result, _grouping(query, labels))


def _date(leg: Leg, evaluated_at: set[float], at_s: float | None) -> None:
    """An answer about another instant than the one asked for: a cache's, or one by another clock."""
    if not evaluated_at or at_s is None:
        return
    if max(evaluated_at) > at_s + DATE_TOLERANCE_S:
        detail = f"evaluated {max(evaluated_at) - at_s:.1f} s in the future"
        leg.impossible = dict.fromkeys(leg.rows, detail)
    if min(evaluated_at) < at_s - DATE_TOLERANCE_S:
        leg.stale = f"evaluated {at_s - min(evaluated_at):.1f} s before it was asked for"


def _grouping(query: Query, labels: MetricLabels) -> tuple[str, ...]:
    if "refused" in query.legs:
        return (ENVOY_CLUSTER_LABEL,)
    by = (labels.namespace, labels.model_name, labels.variant)
    return by if query.split in ("", LEG) else (*by, query.split)


def _legs(query: Query, result: Sequence[Any], by: tuple[str, ...]) -> dict[str, Leg]:
    legs = {leg: Leg() for leg in query.legs}
    only = query.legs[0]
    split = query.split == LEG
    for row in result:
        metric = row["metric"]
        _, text = row["value"]
        key = _key(metric, by)
        leg = legs[metric[LEG] if split else only]
        rows = leg.rows
        if key in rows:
            leg.impossible[key] = "reported more than once"
        rows[key] = float(text)
    return legs


def _key(metric: Mapping[str, str], by: tuple[str, ...]) -> Row:
    """The row's values of the grouping labels; a label that is not there is empty."""
    if len(by) == 3:
        first, second, third = by
        get = metric.get
        return (get(first, ""), get(second, ""), get(third, ""))
    return tuple([metric.get(label, "") for label in by])


def _buckets(result: Sequence[Any], labels: MetricLabels) -> Leg:
    """Rates by bucket edge. Engines write an edge as "1" or as "1.0": both are one edge."""
    leg = Leg()
    rows = leg.rows
    namespace, model_name, variant = labels.namespace, labels.model_name, labels.variant
    for row in result:
        metric = row["metric"]
        _, text = row["value"]
        get = metric.get
        key = (get(namespace, ""), get(model_name, ""), get(variant, ""), float(metric["le"]))
        rows[key] = rows.get(key, 0.0) + float(text)
    return leg


def _capacity(result: Sequence[Any], labels: MetricLabels) -> Leg:
    """KV tokens of one engine: blocks x block size, the least of the variant's engines."""
    leg = Leg()
    for row in result:
        metric: Mapping[str, str] = row["metric"]
        key = (metric.get(labels.namespace, ""), metric.get(labels.model_name, ""), metric.get(labels.variant, ""))
        tokens = kv_tokens(metric)
        if tokens is not None:
            leg.rows[key] = min(tokens, leg.rows.get(key, tokens))
    return leg


def kv_tokens(labels: Mapping[str, str]) -> float | None:
    """Blocks x block size out of vllm:cache_config_info's labels; None where vLLM has not set them yet."""
    try:
        return float(labels["num_gpu_blocks"]) * float(labels["block_size"])
    except (KeyError, ValueError):
        return None
