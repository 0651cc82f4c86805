"""How a plain Envoy finds its istiod, and how it names its statistics."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine.local.ports import LOOPBACK

_XDS = "xds-grpc"
_HTTP = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_STATS_TAGS: Mapping[str, str] = {
    # Names have dots in them: istiod ends those that it makes by a semicolon, for its proxies' bootstrap to find.
    "cluster_name": r"^cluster(\.(.+);)",
    "response_code_class": r"_rq(_(\dxx))$",
    "response_code": r"_rq(_(\d{3}))$",
    "http_conn_manager_prefix": r"^http(\.(.+?);)",
}


def bootstrap(*, istiod_port: int, admin_port: int, namespace: str, labels: Mapping[str, str]) -> dict[str, Any]:
    """Envoy's bootstrap as a gateway with these labels in a namespace: what the selectors of Gateways look for."""
    ads = {"ads": {}, "resource_api_version": "V3", "initial_fetch_timeout": "0s"}
    return {
        "node": {
            # Whose address it is matters to nobody, but it has to be one.
            "id": f"router~127.0.0.2~gateway-0.{namespace}~{namespace}.svc.cluster.local",
            "cluster": f"gateway.{namespace}",
            "metadata": {
                "NAMESPACE": namespace,
                "LABELS": dict(labels),
                "ISTIO_VERSION": "1.31.0",
                "UNPRIVILEGED_POD": "true",
            },
        },
        "admin": {"address": _address(admin_port)},
        "stats_config": {
            "use_all_default_tags": False,
            "stats_tags": [{"tag_name": name, "regex": regex} for name, regex in _STATS_TAGS.items()],
        },
        "dynamic_resources": {
            "ads_config": {
                "api_type": "GRPC",
                "transport_api_version": "V3",
                "set_node_on_first_message_only": True,
                "grpc_services": [{"envoy_grpc": {"cluster_name": _XDS}}],
            },
            "cds_config": ads,
            "lds_config": ads,
        },
        "static_resources": {"clusters": [_istiod(istiod_port)]},
    }


def _istiod(port: int) -> dict[str, Any]:
    endpoint = {"endpoint": {"address": _address(port)}}
    return {
        "name": _XDS,
        "alt_stat_name": f"{_XDS};",
        "type": "STATIC",
        "connect_timeout": "2s",
        "load_assignment": {"cluster_name": _XDS, "endpoints": [{"lb_endpoints": [endpoint]}]},
        "typed_extension_protocol_options": {
            _HTTP: {
                "@type": f"type.googleapis.com/{_HTTP}",
                "explicit_http_config": {"http2_protocol_options": {}},
            }
        },
    }


def _address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": LOOPBACK, "port_value": port}}
