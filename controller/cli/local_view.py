"""The live table of `governor local`: load, attainment, replicas, and the last decision with its reason."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from engine.load.report import Report


def live_table(title: str, client: Mapping[str, Any] | None, fleets: list[Mapping[str, Any]], page: str) -> Group:
    """One frame. `client` is the load generator's last line, `fleets` the daemon's overview."""
    parts: list[RenderableType] = [Text(title, style="bold"), _client(client)]
    for fleet in fleets:
        parts.append(_fleet(fleet))
        style = {"Up": "green", "Down": "cyan", "Shift": "magenta"}.get(fleet["action"], "dim")
        parts.append(Text(f"{fleet['action']} ({fleet['reason']}): {fleet['sentence']}", style=style))
        parts.extend(Text(f"{c['type']}: {c['message']}", style="yellow") for c in fleet["amiss"])
    if not fleets:
        parts.append(Text("the daemon has not finished its first cycle", style="dim"))
    parts.append(Text(f"live page: {page}   end with Ctrl-C", style="dim"))
    return Group(*parts)


def _client(client: Mapping[str, Any] | None) -> RenderableType:
    table = Table(box=None, padding=(0, 1), header_style="dim")
    for name in ("requests/s", "in flight", "tokens/s", "inside (30 s)", "TTFT p95", "TPOT p95", "failed", "lag p99"):
        table.add_column(name, justify="right")
    if client is None:
        return Text("no traffic", style="dim")
    table.add_row(
        f"{client['offered_rps']:.1f}",
        f"{client['inflight']}",
        f"{client['output_tps']:.0f}",
        _percent(client["window_attainment_ratio"]),
        _seconds(client["ttft_p95_s"]),
        _seconds(client["tpot_p95_s"]),
        f"{client['failed'] + client['truncated']}",
        _seconds(client["loop_lag_p99_s"]),
    )
    return table


def _fleet(fleet: Mapping[str, Any]) -> Table:
    table = Table(box=None, padding=(0, 1), header_style="dim")
    headers = ("variant", "ready", "starting", "draining", "desired", "each carries", "TTFT in", "TPOT in")
    for name in headers:
        table.add_column(name, justify="left" if name == "variant" else "right")
    figures = fleet["figures"]
    for variant in figures["variants"]:
        table.add_row(
            f"{fleet['name']}/{variant['name']}",
            _count(variant["ready"]),
            _count(variant["starting"]),
            _count(variant["draining"]),
            _count(variant["desired"]),
            "-" if variant["capacity_rps"] is None else f"{variant['capacity_rps']:.2f}/s",
            _percent(figures["ttft_within_ratio"]),
            _percent(figures["tpot_within_ratio"]),
        )
    return table


def summary(report: Report, journal: str, run_dir: str) -> Table:
    """What is printed at the end."""
    table = Table(box=None, show_header=False, padding=(0, 2))
    client, hours = report.client, report.replica_hours
    saved = 1 - hours / report.replica_hours_static_peak if report.replica_hours_static_peak else 0.0
    rows = [
        ("requests", f"{client.requests} ({client.failed} failed, {client.truncated} cut short)"),
        ("inside the objectives", _percent(client.attainment_ratio)),
        ("TTFT p95, TPOT p95", f"{_seconds(client.ttft_p95_s)}, {_seconds(client.tpot_p95_s)}"),
        ("replicas", f"{report.replicas.start} at start, {report.replicas.max} at most, {report.replicas.end} at end"),
        (
            "replica-hours",
            f"{hours:.3f} against {report.replica_hours_static_peak:.3f} at static peak ({saved:.0%} less)",
        ),
        ("decisions", f"{report.decisions}, {len(report.writes)} of them changed the replicas"),
    ]
    if report.recovery_s is not None:
        delay = (
            "no scale-up"
            if report.scale_up_delay_s is None
            else f"first scale-up after {report.scale_up_delay_s:.1f} s"
        )
        after = _percent(client.attainment_after_recovery_ratio)
        text = f"{delay}, recovered after {report.recovery_s:.0f} s, then {after} inside"
        rows.append(("load step", text if report.recovered else f"{delay}, not recovered while the load lasted"))
    rows += [("journal", journal), ("logs", run_dir)]
    for name, value in rows:
        table.add_row(Text(name, style="dim"), value)
    return table


def _percent(ratio: float | None) -> str:
    return "-" if ratio is None else f"{ratio:.1%}"


def _seconds(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value * 1000:.0f} ms" if value < 1 else f"{value:.2f} s"


def _count(value: int | None) -> str:
    return "?" if value is None else str(value)
