"""Some twenty small fleets in all kinds of trouble, watched by a real Prometheus and by the scraper at once.

One run of about 14 s serves every test of the module: each fleet is one scenario, serving the model of its name.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from controller.model.fleet import Fleet
from controller.model.snapshot import ScaleTarget
from controller.observe.prometheus import PrometheusSignals
from controller.observe.scrape import ScrapeSignals
from controller.ports import FleetSignals
from tests.contract.observe.builders import NAMESPACE, STALE_AFTER_S, WINDOW_S, fleet, scope, target
from tests.contract.observe.real_prometheus import RealPrometheus, Target, prometheus
from tests.contract.observe.vllm_pages import PageServer, engine_server

CLOCK_ERROR_S = 600.0
"""So far is the daemon's clock ahead in this world."""
READ_AT_S = 13.0
NEWER_NAMES = {
    "vllm:kv_cache_usage_perc": "vllm:gpu_cache_usage_perc",
    "vllm:prompt_tokens_cached_total": "vllm:gpu_prefix_cache_hits_total",
    "vllm:inter_token_latency_seconds": "vllm:time_per_output_token_seconds",
}
"""Names of today and what vLLM 0.8.5 called them."""


@dataclass
class Scenario:
    """Servers by replica, how many of them are ready, and what happens when (seconds after the start)."""

    servers: list[PageServer]
    ready: int | None = None
    scraped: int | None = None
    """Only the first so many are scraped; the others are added by an event."""
    events: list[tuple[float, Callable[[], None]]] = field(default_factory=list)
    jobs: tuple[str, ...] = ("vllm",)
    labelled: bool = True
    listed: list[str] | None = None
    """Addresses that the cluster knows, where they are not the servers'."""


def _garbage(server: PageServer, text: str) -> Callable[[], None]:
    def spoil() -> None:
        server.page = lambda _age_s: text

    return spoil


def _twice(model: str) -> PageServer:
    """A page whose first gauge stands there twice, with different values."""
    server = engine_server(model)
    page = server.page
    again = f'vllm:num_requests_running{{engine="0",model_name="{model}"}} 99\n'
    server.page = lambda age_s: page(age_s) + again
    return server


def scenarios() -> dict[str, Scenario]:
    """Every scenario by its name, which is also its fleet's and its model's."""

    def pair(model: str) -> list[PageServer]:
        return [engine_server(model), engine_server(model)]

    found = {
        "steady": Scenario([engine_server("steady"), engine_server("steady", gpu_percent=80.0, kv_usage=0.75)]),
        "idle": Scenario(
            [engine_server("idle", running=0.0, waiting=0.0, finished=0.0, prompt=0.0, cached=0.0, generated=0.0)]
        ),
        "born": Scenario(pair("born"), scraped=1),
        "young": Scenario([engine_server("young")], scraped=0),
        "died": Scenario(pair("died"), ready=1),
        "reset": Scenario([engine_server("reset")]),
        "hanging": Scenario(pair("hanging")),
        "html": Scenario(pair("html")),
        "damaged": Scenario(pair("damaged")),
        "cut": Scenario(pair("cut")),
        "nan": Scenario([engine_server("nan", running=float("nan"))]),
        "negative": Scenario([engine_server("negative", waiting=-1.0)]),
        "infinite": Scenario([engine_server("infinite", generated=float("inf"))]),
        "twice": Scenario([_twice("twice")]),
        "old": Scenario([engine_server("old", rename=NEWER_NAMES, hidden=("vllm:request_time_per_output_token",))]),
        "other": Scenario([engine_server("another-model")]),
        "silent": Scenario([], listed=["127.0.0.1:9"]),
        "zero": Scenario([]),
        "doubled": Scenario([engine_server("doubled")], jobs=("vllm", "vllm-again")),
        "unlabelled": Scenario([engine_server("unlabelled")], labelled=False),
    }
    born, young, died = found["born"], found["young"], found["died"]
    born.events.append((8.5, lambda: _grow(born)))
    young.events.append((9.0, lambda: _grow(young)))
    died.events.append((9.5, lambda: _shrink(died)))
    found["reset"].events.append((10.0, found["reset"].servers[0].restart))
    found["hanging"].events.append((9.0, found["hanging"].servers[1].hangs.set))
    for name, text in (
        ("html", "<html><body>Bad gateway</body></html>\n"),
        ("damaged", 'vllm:num_requests_running{engine="0",model_name="damaged"} six\n'),
        ("cut", 'vllm:num_requests_running{engine="0",model_name="cut"} 6.0\nvllm:num_requests_wait'),
    ):
        found[name].events.append((9.0, _garbage(found[name].servers[1], text)))
    return found


def _grow(scenario: Scenario) -> None:
    for server in scenario.servers[scenario.scraped :]:
        server.restart()
    scenario.scraped = None


def _shrink(scenario: Scenario) -> None:
    scenario.servers.pop().close()


@dataclass(frozen=True)
class Seen:
    """What both sources said of every scenario, and of the world as a whole."""

    signals: Mapping[str, Mapping[str, FleetSignals]]
    """By source, by scenario."""
    pressure: Mapping[str, Mapping[str, float]]
    replica_load: Mapping[str, Mapping[tuple[str, str], Mapping[str, float]]]
    after_death: Mapping[str, FleetSignals]
    """What the source says once its Prometheus is killed."""


class World:
    """The scenarios in motion."""

    def __init__(self, stack: ExitStack, folder: Path) -> None:
        self.scenarios = scenarios()
        self.fleets: list[Fleet] = [fleet(name) for name in self.scenarios]
        for scenario in self.scenarios.values():
            for server in scenario.servers:
                stack.callback(_close_once(server))
        self._proxy = stack.enter_context(PageServer(_proxy_page))
        self.prometheus = stack.enter_context(prometheus(folder, ("vllm", "vllm-again", "envoy")))
        self.sources: dict[str, PrometheusSignals | ScrapeSignals] = {
            "prometheus": stack.enter_context(
                PrometheusSignals(self.prometheus.url, scope(), timeout_s=5.0, now=lambda: time.time() + CLOCK_ERROR_S)
            ),
            "scrape": stack.enter_context(
                ScrapeSignals(
                    window_s=WINDOW_S,
                    scrape_interval_s=1.0,
                    stale_after_s=STALE_AFTER_S,
                    timeout_s=0.9,
                    envoy_address=self._proxy.address,
                )
            ),
        }

    def run(self) -> Seen:
        """Play all events, then ask both sources."""
        events = sorted(
            ((at_s, happen) for scenario in self.scenarios.values() for at_s, happen in scenario.events),
            key=lambda event: event[0],
        )
        began = time.monotonic()
        self._announce()
        for at_s, happen in events:
            time.sleep(max(0.0, began + at_s - time.monotonic()))
            happen()
            self._announce()
        time.sleep(max(0.0, began + READ_AT_S - time.monotonic()))
        return self._ask()

    def _ask(self) -> Seen:
        targets = self._targets()
        names = {one.key: one.metadata.name for one in self.fleets}
        signals = {
            source: {names[key]: value for key, value in port.read(self.fleets, targets).items()}
            for source, port in self.sources.items()
        }
        pressure = {source: port.pressure(self.fleets) for source, port in self.sources.items()}
        load = {source: port.replica_load(self.fleets[:1]) for source, port in self.sources.items()}
        self.prometheus.kill()
        dead = self.sources["prometheus"].read(self.fleets, targets)
        return Seen(signals, pressure, load, {names[key]: value for key, value in dead.items()})

    def _announce(self) -> None:
        """Tell Prometheus and the scraper which replicas there are now."""
        _publish(self.prometheus, self.scenarios, self._proxy.address)
        self.sources["scrape"].read(self.fleets, self._targets())

    def _targets(self) -> dict[tuple[str, str], ScaleTarget]:
        return {
            (f"{NAMESPACE}/{name}", "v1"): target(
                *(s.address for s in scenario.servers[: scenario.scraped]), *(scenario.listed or ())
            )
            for name, scenario in self.scenarios.items()
        }


def _publish(server: RealPrometheus, all_scenarios: Mapping[str, Scenario], proxy: str) -> None:
    jobs: dict[str, list[Target]] = {"vllm": [], "vllm-again": [], "envoy": [(proxy, {})]}
    for name, scenario in all_scenarios.items():
        for at, one in enumerate(scenario.servers[: scenario.scraped]):
            labels = {"namespace": NAMESPACE, "fleet": name, "pod": f"{name}-{at}"}
            labels |= {"variant": "v1"} if scenario.labelled else {}
            for job in scenario.jobs:
                jobs[job].append((one.address, labels))
    for job, found in jobs.items():
        server.targets(job, found)


def _proxy_page(age_s: float) -> str:
    """Two requests a second are refused for the fleet at zero."""
    counter = "envoy_cluster_upstream_cx_none_healthy"
    return (
        f'{counter}{{envoy_cluster_name="{NAMESPACE}/zero/v1"}} {2 * age_s:.3f}\n'
        f'{counter}{{envoy_cluster_name="{NAMESPACE}/steady/v1"}} 0\n'
        f'{counter}{{envoy_cluster_name="somebody-else"}} {50 * age_s:.3f}\n'
    )


def _close_once(server: PageServer) -> Callable[[], None]:
    def close() -> None:
        if not server.closed:
            server.close()

    return close
