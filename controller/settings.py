"""Settings of the daemon: values only. Options, files and the environment are read by the command line.

Every default is chosen to be safe with a Prometheus of which nothing is known; a local stack that scrapes more
often says so through `scrape_interval_s`, and the windows follow.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator

from controller.model.problems import Problem, RefusedError

_CONFIG = ConfigDict(
    frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True, validate_default=True
)


def _checked_url(text: str) -> str:
    """The URL without its final slash. Raises ValueError if it is no http(s) address of a server."""
    try:
        parts = urlsplit(text)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and not (parts.query or parts.fragment)
        valid = valid and (parts.port is None or parts.port > 0)
        named = parts.username is not None
    except ValueError:
        valid = named = False
    if named:
        masked = f'"{parts.scheme}://…@{parts.hostname}"'
        raise RefusedError([Problem((), "carries a name or password, which logs would show", "name its file", masked)])
    if not valid:
        raise ValueError('is no address of a server: write it as "http://host:port"')
    return text.rstrip("/")


Url = Annotated[str, AfterValidator(_checked_url)]
LabelName = Annotated[str, StringConstraints(pattern=r"^[a-zA-Z_][a-zA-Z0-9_]*$")]
"""A Prometheus label name."""


class MetricLabels(BaseModel):
    """How this Prometheus names what the daemon selects by: scrape configurations differ in their relabelling."""

    model_config = _CONFIG

    namespace: LabelName = "namespace"
    """Label with the Kubernetes namespace of the replica: `metadata.namespace` of a fleet. The name that the
    Prometheus Operator's monitors attach by themselves."""
    model_name: LabelName = "model_name"
    """Label with the served model: `spec.modelName`. vLLM itself writes it under this name."""
    variant: LabelName = "variant"
    """Label with the variant's name: `spec.variants[].name`. Attached by relabelling from a pod label."""
    pod: LabelName = "pod"
    """Label with the replica's name as the cluster knows it. The Prometheus Operator attaches it by itself."""
    metric_prefix: Annotated[str, StringConstraints(pattern=r"^[a-zA-Z_:][a-zA-Z0-9_:]*$")] = "vllm:"
    """What vLLM's metric names begin with; another one only behind a proxy or relabelling that renames them
    (`vllm_` where colons are not accepted)."""

    @model_validator(mode="after")
    def _distinct(self) -> MetricLabels:
        names = [self.namespace, self.model_name, self.variant, self.pod]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"label {twice[0]!r} is given two meanings: name a label of its own for each")
        return self


HeaderName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}$")]
HeaderText = Annotated[str, StringConstraints(pattern=r"^[\x21-\x7e]([\x20-\x7e]{0,1022}[\x21-\x7e])?$")]


class PrometheusAccess(BaseModel):
    """How Prometheus lets the daemon in. Secrets are named by their files, never written here."""

    model_config = _CONFIG

    bearer_token_file: Path | None = None
    """File with a bearer token, such as a projected service account token; read again when it changes."""
    username: Annotated[str, StringConstraints(pattern=r"^[^:]{1,256}$")] | None = None
    """Name for basic authentication, with `password_file`."""
    password_file: Path | None = None
    """File with the password for `username`; read again when it changes."""
    ca_file: Path | None = None
    """Certificates (PEM) that the server's is checked against. None: those that the Python client brings."""
    client_certificate_file: Path | None = None
    """Certificate (PEM) that the daemon shows, with `client_key_file`."""
    client_key_file: Path | None = None
    """Its private key (PEM)."""
    tenant: HeaderText | None = None
    """Tenant of Mimir, or of a gateway before Thanos: sent as X-Scope-OrgID."""
    headers: dict[HeaderName, HeaderText] = Field(default_factory=dict)
    """Further headers of every query. Not for secrets: they are in the process's arguments."""

    @model_validator(mode="after")
    def _consistent(self) -> PrometheusAccess:
        problems = list(self._contradictions())
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def _contradictions(self) -> Iterator[str]:
        for one, other in (("username", "password_file"), ("client_certificate_file", "client_key_file")):
            if (getattr(self, one) is None) != (getattr(self, other) is None):
                yield f"{one} and {other} belong together: give both or neither"
        if self.bearer_token_file is not None and self.username is not None:
            yield "bearer_token_file and username are two ways of proving the same: give one of them"
        if any(name.lower() == "authorization" for name in self.headers):
            yield "the header Authorization is a secret: name its file with bearer_token_file or password_file"


class Settings(BaseModel):
    """What the daemon is told besides its fleets. Times in seconds, UTC."""

    model_config = _CONFIG

    prometheus_url: Url | None = None
    """Address of Prometheus, Thanos or Mimir (for Mimir with its prefix, "http://mimir:8080/prometheus").
    None: replicas are scraped directly, which holds up to 50 of them."""
    prometheus_access: PrometheusAccess = PrometheusAccess()
    """How Prometheus lets the daemon in."""
    supervisor_url: Url | None = None
    """Address of the local supervisor that owns the replica processes. None: no local stack."""
    tick_interval_s: float = Field(default=5.0, ge=0.1, le=300)
    """Between two full cycles, 0.1-300 s. 5 s: a third of the usual scrape interval, so that no stored sample
    waits long, at 14 queries a tick."""
    wake_interval_s: float = Field(default=1.0, ge=0.1, le=60)
    """Between two light queries that can wake the tick early, 0.1-60 s, shorter than `tick_interval_s`.
    1 s: one cheap query over all fleets; on average it adds half of it to the reaction."""
    wake_ratio: float = Field(default=1.5, gt=1, le=100)
    """Wake when running + waiting exceeds so many times its maximum of the last `wake_window_s`; above 1.
    1.5: half as many again is no noise for the tens of requests that one replica holds."""
    wake_window_s: float = Field(default=60.0, ge=1, le=3600)
    """Look-back for `wake_ratio`, 1-3600 s. 60 s: long enough to have seen the ordinary peaks."""
    scrape_interval_s: float = Field(default=15.0, ge=0.5, le=120)
    """How often vLLM is scraped by Prometheus (or by the daemon itself), 0.5-120 s. It must not be shorter than
    what Prometheus does. 15 s: with the window that follows from it, 30 s of Prometheus still yields rates."""
    rate_window_s: float = Field(
        default_factory=lambda data: max(10.0, 5 * data.get("scrape_interval_s", 0.0)), ge=1, le=3600
    )
    """Window of rates and histograms, 1-3600 s, at least two scrape intervals. Default: the greater of 10 s and
    five scrape intervals: a rate survives three lost scrapes, and follows a step within one window."""
    query_timeout_s: float = Field(default=3.0, ge=0.1, le=60)
    """Longest wait for one answer, 0.1-60 s, shorter than `tick_interval_s`. 3 s: 14 aggregated queries over
    28,000 series take about 1.3 s in all, and a tick must end before the next one."""
    query_concurrency: int = Field(default=4, ge=1, le=32)
    """Most queries at once, 1-32. 4: Prometheus answers 20 at once by default, for all of its users."""
    stale_after_s: float = Field(
        default_factory=lambda data: max(10.0, 3 * data.get("scrape_interval_s", 0.0)), ge=1, le=300
    )
    """Age above which a sample is Stale and allows no reduction, 1-300 s, at least one scrape interval. Default:
    the greater of 10 s and three scrape intervals: one lost scrape is forgiven, two are not. 300 s is
    Prometheus's own look-back: nothing older is ever returned."""
    labels: MetricLabels = MetricLabels()
    """How this Prometheus names what is selected by."""
    proxy_cluster: str = "{namespace}/{fleet}/{subset}"
    """What the proxy calls the cluster of a subset, with {namespace}, {fleet}, {host} and {subset}: its counter of
    requests that found no healthy replica wakes a fleet at zero. Default: the local stack's."""
    state_dir: Path = Path(".governor")
    """Folder of memory and journal; made when missing. Relative to where the daemon was started."""
    journal_max_bytes: int = Field(default=2**30, ge=2**20, le=2**40)
    """Size of the journal, all of its files together, 1 MiB-1 TiB. 1 GiB: weeks of one fleet's decisions."""
    listen_host: str = Field(default="127.0.0.1", min_length=1, max_length=253)
    """Where /metrics, /healthz, the JSON API and the page listen. Loopback: open to others only when told so."""
    listen_port: int = Field(default=9470, ge=0, le=65_535)
    """TCP port, 0-65535; 0 takes a free one. 9470: used by none of its neighbours (vLLM 8000, Prometheus
    9090, Envoy's administration 9901)."""
    dry_run: bool = False
    """Decide and record, write nothing."""
    clock_offset_s: float = Field(default=0.0, ge=-86_400, le=86_400)
    """Added to the machine's clock, within a day. 0; another value is for showing what a wrong clock does."""

    @model_validator(mode="after")
    def _consistent(self) -> Settings:
        problems = list(self._contradictions())
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def _contradictions(self) -> Iterator[str]:
        ca_file = self.prometheus_access.ca_file
        if ca_file is not None and not (self.prometheus_url or "").startswith("https:"):
            yield f"ca_file {ca_file} checks nothing where prometheus_url is no https address"

        def pair(name: str) -> str:
            return f"{name} ({getattr(self, name):g} s)"

        if self.rate_window_s < 2 * self.scrape_interval_s:
            yield (
                f"{pair('rate_window_s')} holds fewer than two scrapes, so no rate can be seen: "
                f"make it at least twice {pair('scrape_interval_s')}"
            )
        if self.stale_after_s < self.scrape_interval_s:
            yield (
                f"{pair('stale_after_s')} is shorter than {pair('scrape_interval_s')}, so that every sample would "
                "be stale: make it longer"
            )
        for short, long in (
            ("wake_interval_s", "tick_interval_s"),
            ("query_timeout_s", "tick_interval_s"),
            ("wake_interval_s", "wake_window_s"),
        ):
            if getattr(self, short) >= getattr(self, long):
                yield f"{pair(short)} must be shorter than {pair(long)}: shorten the first or lengthen the second"
