"""The options of `governor run`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from controller.cli import logs

_LOCAL, _CLUSTER, _PROMETHEUS = "Local stack", "Cluster", "Prometheus"

FleetOption = Annotated[
    Path | None,
    typer.Option(
        "--fleet", help="Fleet file (YAML), or a folder of them.", envvar="GOVERNOR_FLEET", rich_help_panel=_LOCAL
    ),
]
SupervisorOption = Annotated[
    str | None,
    typer.Option("--supervisor", help="Supervisor that owns the replicas.", metavar="URL", rich_help_panel=_LOCAL),
]
ProxyOption = Annotated[
    str | None,
    typer.Option(
        "--proxy-admin",
        help="Envoy's admin address, read when scraping directly.",
        metavar="URL",
        rich_help_panel=_LOCAL,
    ),
]
KubeconfigOption = Annotated[
    Path | None,
    typer.Option(
        "--kubeconfig",
        help="Kubeconfig file; without it the pod's service account, else your own kubeconfig.",
        metavar="FILE",
        rich_help_panel=_CLUSTER,
    ),
]
ContextOption = Annotated[
    str | None,
    typer.Option("--context", help="Context of the kubeconfig.", metavar="NAME", rich_help_panel=_CLUSTER),
]
NamespaceOption = Annotated[
    str,
    typer.Option(
        "--namespace",
        "-n",
        help="Only the fleets of this namespace (a Role is enough then).",
        envvar="GOVERNOR_NAMESPACE",
        metavar="NAME",
        rich_help_panel=_CLUSTER,
    ),
]
OwnNamespaceOption = Annotated[
    str,
    typer.Option(
        "--own-namespace",
        help="Where lease and memory live; by default the pod's.",
        metavar="NAME",
        rich_help_panel=_CLUSTER,
    ),
]
LeaseOption = Annotated[
    str,
    typer.Option(
        "--lease", help="Name of the lease that instances contend for.", metavar="NAME", rich_help_panel=_CLUSTER
    ),
]
ProfilesOption = Annotated[
    Path | None,
    typer.Option(
        "--profiles",
        help="Folder of capacity profiles that fleets may name besides the shipped ones.",
        metavar="FOLDER",
        rich_help_panel=_CLUSTER,
    ),
]
PrometheusOption = Annotated[
    str | None,
    typer.Option(
        "--prometheus",
        help="Address of Prometheus, Thanos or Mimir (with its path). Without it a local stack is scraped.",
        envvar="GOVERNOR_PROMETHEUS",
        metavar="URL",
        rich_help_panel=_PROMETHEUS,
    ),
]
TokenOption = Annotated[
    Path | None,
    typer.Option(
        "--prometheus-token-file",
        help="Bearer token; read again when it changes.",
        metavar="FILE",
        rich_help_panel=_PROMETHEUS,
    ),
]
UserOption = Annotated[
    str | None,
    typer.Option(
        "--prometheus-user", help="Name for basic authentication.", metavar="NAME", rich_help_panel=_PROMETHEUS
    ),
]
PasswordOption = Annotated[
    Path | None,
    typer.Option("--prometheus-password-file", help="Its password.", metavar="FILE", rich_help_panel=_PROMETHEUS),
]
AuthorityOption = Annotated[
    Path | None,
    typer.Option(
        "--prometheus-ca-file",
        help="Certificates (PEM) that the server's is checked against.",
        metavar="FILE",
        rich_help_panel=_PROMETHEUS,
    ),
]
TenantOption = Annotated[
    str | None,
    typer.Option("--prometheus-tenant", help="Sent as X-Scope-OrgID.", metavar="ID", rich_help_panel=_PROMETHEUS),
]
HeaderOption = Annotated[
    list[str] | None,
    typer.Option(
        "--prometheus-header",
        help='Further header, "Name: text"; may be given several times. Not for secrets.',
        metavar="HEADER",
        rich_help_panel=_PROMETHEUS,
    ),
]
ProxyClusterOption = Annotated[
    str | None,
    typer.Option(
        "--proxy-cluster",
        help="What Envoy calls a subset's cluster, with {namespace}, {fleet}, {host} and {subset}.",
        metavar="PATTERN",
        rich_help_panel=_PROMETHEUS,
    ),
]
SettingsOption = Annotated[
    Path | None,
    typer.Option(
        "--settings",
        help="YAML file of settings (docs/settings.md lists them); options win.",
        envvar="GOVERNOR_SETTINGS",
        metavar="FILE",
    ),
]
StateOption = Annotated[
    Path | None,
    typer.Option("--state-dir", help="Folder of the journal, and of a local stack's memory. Default: .governor"),
]
HostOption = Annotated[
    str | None, typer.Option("--host", help="Where API, metrics and page listen. Default: 127.0.0.1")
]
PortOption = Annotated[
    int | None, typer.Option("--port", help="Its port; 0: a free one. Default: 9470", min=0, max=65535)
]
IntervalOption = Annotated[float | None, typer.Option("--interval", help="Seconds between full cycles. Default: 5")]
ScrapeOption = Annotated[
    float | None, typer.Option("--scrape-interval", help="Seconds between scrapes of vLLM. Default: 15")
]
OffsetOption = Annotated[float | None, typer.Option("--clock-offset", help="Seconds added to the clock.", hidden=True)]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Decide and record, write nothing.")]
ClientOption = Annotated[
    Path | None, typer.Option("--client-stats", help="JSON lines of a load generator, shown on the page.", hidden=True)
]
FormatOption = Annotated[logs.LogFormat, typer.Option("--log-format", help="auto, text or json.")]
VerboseOption = Annotated[bool, typer.Option("--verbose", "-v", help="Log every cycle, holds included.")]
