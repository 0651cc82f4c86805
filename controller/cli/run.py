"""`governor run`: the daemon."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from controller.cli import logs
from controller.cli import run_options as option
from controller.cli.compose import compose, spare_collector
from controller.cli.place import ClusterOptions, Place
from controller.cli.place_local import local_place
from controller.cli.serve import serve
from controller.cli.settings_file import settings_of
from controller.errors import UsageError
from controller.record.encoded import MemoryEncoder
from controller.settings import Settings

ISTIO_CLUSTER = "outbound|80|{subset}|{host}.{namespace}.svc.cluster.local"
"""What Istio's Envoy calls the cluster of a subset whose service listens on port 80."""
OPTIONS = {
    "prometheus_access.bearer_token_file": "--prometheus-token-file",
    "prometheus_access.headers": "--prometheus-header",
    "prometheus_access.tenant": "--prometheus-tenant",
    "prometheus_access": "the access to Prometheus",
    "bearer_token_file": "--prometheus-token-file",
    "password_file": "--prometheus-password-file",
    "username": "--prometheus-user",
    "ca_file": "--prometheus-ca-file",
    "prometheus_url": "--prometheus",
    "supervisor_url": "--supervisor",
    "state_dir": "--state-dir",
    "listen_host": "--host",
    "listen_port": "--port",
    "tick_interval_s": "--interval",
    "scrape_interval_s": "--scrape-interval",
    "clock_offset_s": "--clock-offset",
    "proxy_cluster": "--proxy-cluster",
}
"""Names of the settings that have an option, longer ones first where one is part of the other."""


def run(
    fleet: option.FleetOption = None,
    supervisor: option.SupervisorOption = None,
    proxy_admin: option.ProxyOption = None,
    kubeconfig: option.KubeconfigOption = None,
    context: option.ContextOption = None,
    namespace: option.NamespaceOption = "",
    own_namespace: option.OwnNamespaceOption = "",
    lease: option.LeaseOption = "vllm-governor",
    profiles: option.ProfilesOption = None,
    prometheus: option.PrometheusOption = None,
    token_file: option.TokenOption = None,
    user: option.UserOption = None,
    password_file: option.PasswordOption = None,
    ca_file: option.AuthorityOption = None,
    tenant: option.TenantOption = None,
    headers: option.HeaderOption = None,
    proxy_cluster: option.ProxyClusterOption = None,
    settings_file: option.SettingsOption = None,
    state_dir: option.StateOption = None,
    host: option.HostOption = None,
    port: option.PortOption = None,
    interval: option.IntervalOption = None,
    scrape_interval: option.ScrapeOption = None,
    clock_offset: option.OffsetOption = None,
    dry_run: option.DryRunOption = False,
    client_stats: option.ClientOption = None,
    log_format: option.FormatOption = "auto",
    verbose: option.VerboseOption = False,
) -> None:
    """Run the daemon: observe, decide, write, explain; until SIGTERM or Ctrl-C.

    In a cluster, on its Fleet resources; with --fleet and --supervisor on a local stack. Of several instances one
    leads, the others stand by.

    Examples:
      governor run --prometheus http://prometheus.monitoring:9090
      governor run --kubeconfig ~/.kube/config --namespace llm-inference --prometheus http://127.0.0.1:9090 --dry-run
      governor run --fleet fleet.yaml --supervisor http://127.0.0.1:7070
    """
    logs.configure(log_format, verbose=verbose)
    given = {
        "prometheus_url": prometheus,
        "prometheus_access": _access(token_file, user, password_file, ca_file, tenant, headers or ()),
        "supervisor_url": supervisor,
        "proxy_cluster": proxy_cluster,
        "state_dir": state_dir,
        "listen_host": host,
        "listen_port": port,
        "tick_interval_s": interval,
        "scrape_interval_s": scrape_interval,
        "clock_offset_s": clock_offset,
        "dry_run": dry_run or None,
    }
    settings = settings_of(settings_file, given, OPTIONS)
    cluster = ClusterOptions(kubeconfig, context, namespace, own_namespace, lease)
    daemon = compose(settings, _place(settings, fleet, cluster, profiles), proxy_admin)
    spare_collector()
    serve(daemon, client_stats)


def _access(
    token_file: Path | None,
    user: str | None,
    password_file: Path | None,
    ca_file: Path | None,
    tenant: str | None,
    headers: Sequence[str],
) -> dict[str, object] | None:
    """What was given of the access to Prometheus; None where nothing was. Raises UsageError for what is no header."""
    given = {
        "bearer_token_file": token_file,
        "username": user,
        "password_file": password_file,
        "ca_file": ca_file,
        "tenant": tenant,
        "headers": _headers(headers) or None,
    }
    return {name: value for name, value in given.items() if value is not None} or None


def _place(
    settings: Settings, fleet: Path | None, cluster: ClusterOptions, profiles: Path | None
) -> Callable[[MemoryEncoder], Place]:
    """A local stack where a part of one was named, else a cluster."""
    if fleet is not None:
        return partial(local_place, fleet, settings)
    if settings.supervisor_url is not None:
        raise UsageError("--supervisor is of a local stack, whose fleets are in a file: give --fleet FILE as well")
    return _cluster(settings, cluster, profiles)


def _cluster(settings: Settings, cluster: ClusterOptions, profiles: Path | None) -> Callable[[MemoryEncoder], Place]:
    from controller.cli.place_cluster import cluster_place  # noqa: PLC0415 - the client takes a second

    if "proxy_cluster" not in settings.model_fields_set:
        settings = settings.model_copy(update={"proxy_cluster": ISTIO_CLUSTER})
    if settings.prometheus_url is None:
        raise UsageError("in a cluster the daemon reads Prometheus: give --prometheus URL")
    if profiles is not None and not profiles.is_dir():
        raise UsageError(f"--profiles {profiles} is no folder")
    return partial(cluster_place, cluster, settings, profiles)


def _headers(given: Sequence[str]) -> dict[str, str]:
    pairs = [text.partition(":") for text in given]
    bad = next((text for text, (_, colon, _) in zip(given, pairs, strict=True) if not colon), None)
    if bad is not None:
        raise UsageError(f'--prometheus-header {bad!r} is no header: write it as "Name: text"')
    return {name.strip(): text.strip() for name, _, text in pairs}
