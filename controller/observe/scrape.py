"""Signals straight from the replicas, for a fleet without Prometheus: the same readings from the same pages.

Each replica has a thread of its own, so one that hangs delays nobody. Windows are kept in memory: after a start the
rates are Stale until a window has passed. A page with a damaged line is rejected as a whole, as by Prometheus.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from types import TracebackType
from typing import Self

import requests

from controller.errors import UsageError
from controller.model.fleet import Fleet
from controller.model.snapshot import Replica, ReplicaPhase, ScaleTarget
from controller.observe.assemble import Rules, assemble
from controller.observe.bounded_http import BoundedSession
from controller.observe.history import WANTED, WANTED_OF_PROXY, History, Numbers, engine_numbers, proxy_numbers
from controller.observe.observation import Key, Observation
from controller.observe.proxy_clusters import proxy_clusters
from controller.observe.scraped import tables
from controller.ports import FleetSignals, VariantKey
from engine.exposition import Page, read_page
from engine.metrics import ENVOY_NONE_HEALTHY, PREFIX

SOURCE = "scrape"
MOST_REPLICAS = 50
"""So many can be scraped by the daemon itself: 50 pages of 500 lines a second or two are a tenth of a core."""
_TOO_MANY = (
    f"{{}} replicas have pages, and the daemon scrapes {MOST_REPLICAS} of them: "
    "give it a Prometheus that scrapes them all (setting prometheus_url)"
)
MAX_PAGE_BYTES = 8 * 2**20
_SCRAPED = (ReplicaPhase.READY, ReplicaPhase.DRAINING, ReplicaPhase.STARTING)
_ACCEPT = {"Accept": "text/plain;version=0.0.4"}

Read = Callable[[str], Page]
Compact = Callable[[Page], Numbers]
Which = tuple[Key, str, str]
"""(its variant's key, replica name, address)."""


class Scraper:
    """One target's thread: a page every `interval_s`, each within `timeout_s`, into its history."""

    def __init__(
        self, url: str, read: Read, compact: Compact, history: History, *, interval_s: float, timeout_s: float
    ) -> None:
        self.history = history
        self._url = url
        self._read = read
        self._compact = compact
        self._interval_s = interval_s
        self._timeout_s = min(timeout_s, interval_s)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"scrape {url}", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ask the thread to end; it does after the scrape that is under way."""
        self._stop.set()

    def join(self) -> None:
        """Wait for the thread's end."""
        self._thread.join(self._timeout_s + 1)

    def _run(self) -> None:
        due_s = time.monotonic()
        with BoundedSession(MAX_PAGE_BYTES) as session:
            session.headers.update(_ACCEPT)
            while not self._stop.wait(max(0.0, due_s - time.monotonic())):
                began_s = time.monotonic()
                self.history.add(began_s, self._scrape(session))
                due_s = max(due_s + self._interval_s, time.monotonic())
        self.history.add(time.monotonic(), None)

    def _scrape(self, session: BoundedSession) -> Numbers | None:
        try:
            answer = session.request("GET", self._url, timeout=self._timeout_s)
        except requests.RequestException as error:
            self.history.problem = "does not answer" if not isinstance(error, requests.Timeout) else "hangs"
            return None
        if answer.status_code != requests.codes.ok:
            self.history.problem = f"answers HTTP {answer.status_code}"
            return None
        page = self._read(answer.content.decode("utf-8", "replace"))
        self.history.family = page.family or self.history.family
        self.history.problem = "; ".join((*page.damage, *(f"doubtful {name}" for name in page.doubtful)))
        return None if page.damage else self._compact(page)


class ScrapeSignals:
    """`controller.ports.SignalSource` by scraping each replica's `address`, and Envoy's when given its address.

    `timeout_s` bounds one scrape. Nothing is scraped before the first `read`, which names the replicas.
    """

    def __init__(
        self,
        *,
        window_s: float,
        scrape_interval_s: float,
        stale_after_s: float,
        timeout_s: float,
        prefix: str = PREFIX,
        envoy_address: str = "",
        proxy_cluster: str = "{namespace}/{fleet}/{subset}",
    ) -> None:
        self._window_s = window_s
        self._interval_s = scrape_interval_s
        self._timeout_s = timeout_s
        self._prefix = prefix
        self._keep_s = window_s + stale_after_s + 2 * scrape_interval_s
        self._rules = Rules(stale_after_s, proxy_clusters(proxy_cluster))
        self._edges: frozenset[float] = frozenset()
        # Replaced, never changed: the light look reads it from a thread of its own.
        self._scrapers: Mapping[Which, Scraper] = {}
        self._ended: dict[Which, Scraper] = {}
        self._proxies = [self._proxy(envoy_address)] if envoy_address else []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End all threads."""
        scrapers = [*self._scrapers.values(), *self._ended.values(), *self._proxies]
        for scraper in scrapers:
            scraper.stop()
        for scraper in scrapers:
            scraper.join()

    def read(self, fleets: Sequence[Fleet], targets: Mapping[VariantKey, ScaleTarget]) -> Mapping[str, FleetSignals]:
        """Signals of all fleets from what has been scraped so far; waits for nothing.

        Of more than MOST_REPLICAS the rest is not scraped: what is missing makes readings Stale, and is said.
        """
        self._edges = frozenset(
            threshold
            for fleet in fleets
            for threshold in (fleet.spec.objectives.ttft.threshold, fleet.spec.objectives.tpot.threshold)
        )
        wanted = _wanted(fleets, targets)
        self._follow(wanted[:MOST_REPLICAS])
        seen = self._look(time.monotonic())
        if len(wanted) > MOST_REPLICAS:
            seen.warnings = (_TOO_MANY.format(len(wanted)), *seen.warnings)
        return assemble(fleets, targets, seen, self._rules)

    def pressure(self, fleets: Sequence[Fleet]) -> Mapping[str, float]:
        """Running + waiting by fleet, from the newest scrapes. Fleets that nobody reports on are missing."""
        loads = self.replica_load(fleets)
        sums: dict[str, float] = {}
        for (fleet, _), replicas in loads.items():
            sums[fleet] = sums.get(fleet, 0.0) + sum(replicas.values())
        return sums

    def replica_load(self, fleets: Sequence[Fleet]) -> Mapping[VariantKey, Mapping[str, float]]:
        """Running + waiting by replica name. Silent replicas are missing."""
        now_s = time.monotonic()
        by_key: dict[Key, dict[str, float]] = {}
        for (key, name, _), scraper in self._scrapers.items():
            load = _load(scraper.history, now_s)
            if load is not None:
                by_key.setdefault(key, {})[name] = load
        pairs = ((fleet, variant.name) for fleet in fleets for variant in fleet.spec.variants)
        return {
            (fleet.key, name): by_key[key]
            for fleet, name in pairs
            if (key := (fleet.metadata.namespace, fleet.spec.model_name, name)) in by_key
        }

    def _look(self, now_s: float) -> Observation:
        scrapers = {**self._ended, **self._scrapers}
        histories: dict[Key, list[History]] = {}
        for (key, _, _), scraper in scrapers.items():
            histories.setdefault(key, []).append(scraper.history)
        proxies = [proxy.history for proxy in self._proxies]
        legs = tables(histories, proxies, now_s, self._window_s, self._rules.stale_after_s)
        families = {key: _family(all_of_it) for key, all_of_it in histories.items()}
        problems = tuple(
            f"replica {name} of {key[2]}: {scraper.history.problem}"
            for (key, name, _), scraper in self._scrapers.items()
            if scraper.history.problem
        )
        return Observation(SOURCE, self._window_s, legs, families, 0.0, problems, time.time())

    def _follow(self, wanted: Collection[Which]) -> None:
        """Scrape exactly the wanted replicas; keep those that left until no window reaches them."""
        gone = {which: scraper for which, scraper in self._scrapers.items() if which not in wanted}
        for scraper in gone.values():
            scraper.stop()
        self._ended |= gone
        self._scrapers = {which: scraper for which, scraper in self._scrapers.items() if which not in gone}
        for which in wanted:
            if which not in self._scrapers:
                before = self._ended.pop(which, None)
                scraper = self._scraper(which, before.history if before else History(self._keep_s))
                self._scrapers = {**self._scrapers, which: scraper}
        horizon_s = time.monotonic() - self._keep_s
        for which in [w for w, scraper in self._ended.items() if scraper.history.ended_at_s < horizon_s]:
            self._ended.pop(which).join()

    def _scraper(self, which: Which, history: History) -> Scraper:
        (_, model_name, _), _, address = which
        return Scraper(
            _metrics_url(address),
            self._page,
            partial(engine_numbers, model_name=model_name),
            history,
            interval_s=self._interval_s,
            timeout_s=self._timeout_s,
        )

    def _page(self, text: str) -> Page:
        return read_page(text, prefix=self._prefix, wanted=WANTED, edges=self._edges)

    def _proxy(self, address: str) -> Scraper:
        url = f"{_base(address)}/stats/prometheus?filter={ENVOY_NONE_HEALTHY.removeprefix('envoy_cluster_')}"
        read = partial(read_page, wanted=WANTED_OF_PROXY)
        return Scraper(
            url,
            read,
            proxy_numbers,
            History(self._keep_s),
            interval_s=self._interval_s,
            timeout_s=self._timeout_s,
        )


def check_reach(fleets: Sequence[Fleet]) -> None:
    """Refuse fleets that may outgrow direct scraping. Raises UsageError with the remedy."""
    most = sum(variant.replicas.max for fleet in fleets for variant in fleet.spec.variants)
    if most > MOST_REPLICAS:
        raise UsageError(
            f"the fleets may grow to {most} replicas (the sum of replicas.max), and the daemon scrapes at most "
            f"{MOST_REPLICAS} itself: give it a Prometheus (setting prometheus_url), or lower the bounds"
        )


def _wanted(fleets: Sequence[Fleet], targets: Mapping[VariantKey, ScaleTarget]) -> list[Which]:
    """Every replica that may have a page, ready ones first."""
    found: list[tuple[int, Which]] = []
    for fleet in fleets:
        for variant in fleet.spec.variants:
            target = targets.get((fleet.key, variant.name))
            key = (fleet.metadata.namespace, fleet.spec.model_name, variant.name)
            found += [(_SCRAPED.index(r.phase), (key, r.name, r.address)) for r in _reachable(target)]
    return [which for _, which in sorted(found)]


def _reachable(target: ScaleTarget | None) -> Sequence[Replica]:
    return [r for r in target.replicas if r.address and r.phase in _SCRAPED] if target else []


def _base(address: str) -> str:
    return address.rstrip("/") if "://" in address else f"http://{address}"


def _metrics_url(address: str) -> str:
    return f"{_base(address)}/metrics"


def _load(history: History, now_s: float) -> float | None:
    newest = history.at(now_s)
    if newest is None:
        return None
    values = [n for series, n in (newest.numbers or {}).items() if series[0] in ("running", "waiting")]
    return sum(values) if values and all(0 <= value < float("inf") for value in values) else None


def _family(histories: Sequence[History]) -> str:
    return next((history.family for history in reversed(histories) if history.family), "")
