"""Signals from Prometheus (or Thanos, Mimir, VictoriaMetrics): a fixed number of aggregated queries a tick.

Every query of a tick is evaluated at one instant of the source's own clock, so the daemon's clock does not matter.
Whatever the source does (silence, slowness, errors, nonsense) ends up in readings and warnings, never as an error.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import requests
from prometheus_api_client.exceptions import PrometheusApiClientException
from prometheus_api_client.prometheus_connect import PrometheusConnect
from urllib3.util.retry import Retry

from controller.model.fleet import Fleet
from controller.model.snapshot import ScaleTarget
from controller.observe import queries
from controller.observe.answers import MalformedAnswerError, notices, scalar, tables
from controller.observe.assemble import Rules, assemble
from controller.observe.bounded_http import Answer, BoundedSession
from controller.observe.observation import LEGS, Key, Leg, Observation, Row
from controller.observe.proxy_clusters import proxy_clusters
from controller.observe.queries import Query, Scope
from controller.ports import FleetSignals, VariantKey
from engine.metrics import PREFIX, family_markers, family_of

SOURCE = "prometheus"
MAX_ANSWER_BYTES = 32 * 2**20
"""1,000 fleets of two variants need about 2 MB for the largest answer."""
FEW_FLEETS = 30
"""Up to so many fleets are named in a query's matchers."""
NAMES_EVERY_S = 60.0
"""vLLM's version changes with a deployment, not with a tick."""
NAMES_TRIES = 5
"""How many ticks in a row are asked again for the names of variants that report and have none."""


@dataclass(frozen=True, slots=True)
class _Answered:
    """One query's fate: its tables (or its number, for a scalar), or why there are none; and the source's warnings."""

    legs: Mapping[str, Leg] = field(default_factory=dict)
    number: float | None = None
    failed: str = ""
    warnings: tuple[str, ...] = ()


class PrometheusSignals:
    """`controller.ports.SignalSource` on Prometheus's HTTP API.

    `timeout_s` bounds a whole tick, not one query. `now` is the daemon's wall clock, used for nothing but the
    difference to the source's. `proxy_cluster` is how the proxy names a subset's cluster, with the fields
    {namespace}, {fleet}, {subset} and {host}. `session` carries what the source wants to see (see `access`).
    """

    def __init__(
        self,
        url: str,
        scope: Scope,
        *,
        timeout_s: float,
        concurrency: int = 4,
        now: Callable[[], float] = time.time,
        proxy_cluster: str = "{namespace}/{fleet}/{subset}",
        session: BoundedSession | None = None,
    ) -> None:
        self._scope = scope
        self._timeout_s = timeout_s
        self._now = now
        self._rules = Rules(scope.stale_after_s, proxy_clusters(proxy_cluster), scope.labels.variant)
        self._session = session or BoundedSession(MAX_ANSWER_BYTES)
        self._client = PrometheusConnect(url=url, session=self._session, retry=Retry(total=0, read=False))
        self._pool = ThreadPoolExecutor(max_workers=concurrency, thread_name_prefix="prometheus")
        self._families: Mapping[Key, str] = {}
        self._names_due_at = 0.0
        self._unnamed: frozenset[Key] = frozenset()
        self._names_tries = 0
        self._most_fleets = 0
        self._counting = threading.Lock()
        self.asked, self.refused = 0, 0
        """Queries sent since the start, and those without a usable answer."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give up what is under way and close the connections."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._session.close()

    def read(self, fleets: Sequence[Fleet], targets: Mapping[VariantKey, ScaleTarget]) -> Mapping[str, FleetSignals]:
        """Signals of all fleets by at most 14 queries, within `timeout_s`. Never raises for what the source does."""
        seen = self._look(fleets, time.monotonic() + self._timeout_s)
        return assemble(fleets, targets, seen, self._rules)

    def pressure(self, fleets: Sequence[Fleet]) -> Mapping[str, float]:
        """Running + waiting by fleet: one light query. Fleets that nobody reports on are missing."""
        rows = self._now_rows(queries.pressure(self._scope))
        sums = {fleet.key: _total(rows, (key for _, key in _keys(fleet))) for fleet in fleets}
        return {fleet: total for fleet, total in sums.items() if total is not None}

    def replica_load(self, fleets: Sequence[Fleet]) -> Mapping[VariantKey, Mapping[str, float]]:
        """Running + waiting by replica name for the few fleets that ask: one query more. Silent ones are missing."""
        wanted = {(fleet.metadata.namespace, fleet.spec.model_name) for fleet in fleets}
        if not wanted:
            return {}
        by_key: dict[Key, dict[str, float]] = {}
        for row, value in self._now_rows(queries.replica_load(self._scope, wanted)).items():
            if 0 <= value < float("inf"):
                by_key.setdefault(row[:3], {})[row[3]] = value
        variants = ((fleet.key, name, key) for fleet in fleets for name, key in _keys(fleet))
        return {(fleet, name): by_key[key] for fleet, name, key in variants if key in by_key}

    def _now_rows(self, query: Query) -> Mapping[Row, float]:
        """Rows of a query at the source's present; none when it cannot be had."""
        answered = self._all({query.name: query}, None, time.monotonic() + self._timeout_s)[query.name]
        return {} if answered.failed else answered.legs[query.legs[0]].rows

    def _look(self, fleets: Sequence[Fleet], ends_at: float) -> Observation:
        clock = queries.source_time()
        began = self._now()
        answered = self._all({clock.name: clock}, None, ends_at)[clock.name]
        if answered.number is None:
            return self._nothing(answered.failed)
        skew_s = answered.number - (began + self._now()) / 2
        asked = self._questions(fleets)
        seen = self._observation(asked, self._all(asked, answered.number, ends_at), skew_s)
        seen.at_s = answered.number
        self._expect_names({key for fleet in fleets for _, key in _keys(fleet)}, seen.legs["engines"])
        return seen

    def _scope_of(self, fleets: Sequence[Fleet]) -> Scope:
        """All series, or those of a few fleets when a woken cycle asks for a few among many."""
        self._most_fleets = max(self._most_fleets, len(fleets))
        if len(fleets) > FEW_FLEETS or 2 * len(fleets) > self._most_fleets:
            return self._scope
        return queries.narrowed(self._scope, ((f.metadata.namespace, f.spec.model_name) for f in fleets))

    def _questions(self, fleets: Sequence[Fleet]) -> dict[str, Query]:
        ttft = {fleet.spec.objectives.ttft.threshold for fleet in fleets}
        tpot = {fleet.spec.objectives.tpot.threshold for fleet in fleets}
        scope = self._scope_of(fleets)
        asked = {query.name: query for query in queries.tick_queries(scope, ttft, tpot)}
        if scope is self._scope and time.monotonic() >= self._names_due_at:
            names = queries.exposed_names(self._scope)
            asked[names.name] = names
        return asked

    def _all(self, asked: Mapping[str, Query], at_s: float | None, ends_at: float) -> dict[str, _Answered]:
        """Every query's answer, or that it did not come in time."""
        futures = {name: self._pool.submit(self._answer, query, at_s, ends_at) for name, query in asked.items()}
        wait(futures.values(), timeout=max(0.0, ends_at - time.monotonic()))
        late = _Answered(failed=f"no answer within {self._timeout_s:g} s")
        return {name: future.result() if _done(future) else late for name, future in futures.items()}

    def _answer(self, query: Query, at_s: float | None, ends_at: float) -> _Answered:
        """Ask, and keep of the answer only its numbers: the documents of a tick would be ten times larger."""
        result, failed = self._ask(query.promql, at_s, ends_at)
        self._count(failed)
        answer = self._session.take_answer()
        if failed:
            return _Answered(failed=failed)
        warnings = notices(answer.document if answer else None)
        try:
            if query.name == queries.source_time().name:
                return _Answered(number=scalar(result), warnings=warnings)
            legs = tables(query, result, self._scope.labels, at_s)
        except MalformedAnswerError as error:
            return _Answered(failed=str(error), warnings=warnings)
        for leg in legs.values():
            leg.stale = warnings[0] if warnings else leg.stale
        return _Answered(legs, warnings=warnings)

    def _count(self, failed: str) -> None:
        with self._counting:
            self.asked += 1
            self.refused += bool(failed)

    def _ask(self, promql: str, at_s: float | None, ends_at: float) -> tuple[Any, str]:
        """The result of a query, or why there is none."""
        late = f"no answer within {self._timeout_s:g} s"
        left_s = ends_at - time.monotonic()
        if left_s <= 0:
            return None, late
        params = {"timeout": f"{left_s:.3f}"} | ({} if at_s is None else {"time": f"{at_s:.3f}"})
        try:
            return self._client.custom_query(promql, params=params, timeout=left_s), ""  # type: ignore[arg-type]
        except PrometheusApiClientException:
            return None, _refusal(self._session.take_answer())
        except requests.Timeout:
            return None, late
        except requests.RequestException as error:
            return None, f"not reachable: {_cause(error)}"
        except (ValueError, LookupError, TypeError):
            return None, "the answer is not Prometheus's JSON: is this the address of its API?"

    def _nothing(self, failed: str) -> Observation:
        """What is seen when the source cannot be asked."""
        legs = dict.fromkeys(LEGS, Leg(failed=failed))
        warning = f"Prometheus at {self._client.url}: {failed}"
        return Observation(SOURCE, self._scope.window_s, legs, self._families, None, (warning,))

    def _observation(self, asked: Mapping[str, Query], answers: Mapping[str, _Answered], skew_s: float) -> Observation:
        legs: dict[str, Leg] = {}
        warnings: dict[str, None] = {}
        for name, query in asked.items():
            answered = answers[name]
            legs.update(answered.legs)
            warnings.update(dict.fromkeys(answered.warnings))
            if answered.failed:
                legs.update({leg: Leg(failed=answered.failed) for leg in query.legs})
                warnings[f"query {name}: {answered.failed}"] = None
        self._remember_names(legs.get("names"))
        return Observation(SOURCE, self._scope.window_s, legs, self._families, skew_s, tuple(warnings))

    def _remember_names(self, names: Leg | None) -> None:
        if names is None or names.failed:
            return
        exposed: dict[Key, set[str]] = {}
        for *key, name in names.rows:
            exposed.setdefault((key[0], key[1], key[2]), set()).add(_vllm_name(name, self._scope.labels.metric_prefix))
        self._families = {key: family_of(seen, family_markers()) for key, seen in exposed.items()}
        self._names_due_at = time.monotonic() + NAMES_EVERY_S

    def _expect_names(self, wanted: Iterable[Key], engines: Leg) -> None:
        """Ask for the names again at the next tick when a variant reports whose version is not known yet."""
        unnamed = frozenset(key for key in wanted if key in engines.rows and not self._families.get(key))
        if unnamed - self._unnamed:
            self._names_tries = 0
        self._unnamed = unnamed
        if unnamed and self._names_tries < NAMES_TRIES:
            self._names_tries += 1
            self._names_due_at = 0.0


def _vllm_name(name: str, prefix: str) -> str:
    return PREFIX + name.removeprefix(prefix)


def _done(future: Future[_Answered]) -> bool:
    """Whether the answer is there; one that has not been asked for yet is given up."""
    return future.done() or (not future.cancel() and future.done())


def _refusal(answer: Answer | None) -> str:
    """An HTTP error in one line, with the API's own words where it has any."""
    if answer is None:
        return "refused"
    try:
        words = str(answer.json()["error"])[:300]
    except (ValueError, LookupError, TypeError):
        words = answer.reason or "no explanation"
    return f"HTTP {answer.status_code}: {words}"


def _cause(error: requests.RequestException) -> str:
    """The innermost reason, without the client library's wrapping."""
    reason = getattr(error.args[0] if error.args else error, "reason", error)
    return str(reason).rpartition("): ")[2][:300]


def _keys(fleet: Fleet) -> Iterable[tuple[str, Key]]:
    """(variant name, its key in the tables)."""
    where = (fleet.metadata.namespace, fleet.spec.model_name)
    return ((variant.name, (*where, variant.name)) for variant in fleet.spec.variants)


def _total(rows: Mapping[Row, float], keys: Iterable[Key]) -> float | None:
    """Sum of plausible rows; None when there is none."""
    values = [value for value in map(rows.get, keys) if value is not None and 0 <= value < float("inf")]
    return sum(values) if values else None
