"""`governor status` and `governor explain`: what the daemon sees, decided, and why."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError

from controller.cli.daemon_client import DEFAULT_URL, UrlOption, ask, overview
from controller.cli.instants import parse_instant
from controller.cli.output import Output, OutputOption, emit
from controller.errors import UsageError
from controller.model.codec import from_plain, to_plain
from controller.record.explain import explanation
from controller.record.history import DecisionRun
from controller.record.journal_search import find_decision, fleets_in
from controller.record.wording import UNKNOWN, instant, number, percent

_DECISIONS = 200
_NAMED = 3
"""Reasons of a failed check that are told; the rest is counted."""

CheckOption = Annotated[bool, typer.Option("--check", help="Exit with 1 when something needs attention.")]
FleetArgument = Annotated[
    str | None, typer.Argument(help="namespace/name; not needed where there is only one.", metavar="[FLEET]")
]
LastOption = Annotated[bool, typer.Option("--last", help="The last decision (the default).")]
AtOption = Annotated[str | None, typer.Option("--at", help="The decision in force then (UTC).", metavar="TIME")]
JournalOption = Annotated[
    Path | None, typer.Option("--journal", help="Read a journal file or folder instead of asking a daemon.")
]


def status(url: UrlOption = DEFAULT_URL, output: OutputOption = Output.TABLE, check: CheckOption = False) -> None:
    """Show every fleet: state, replicas, load, objectives, cost, last decision.

    Exit code 0; 2 when no daemon answers.

    With --check 1, and why on one line: a fleet needs attention, lacks metrics, was refused, or there is none.

    Examples: governor status; governor status --output json; governor status --check
    """
    seen = overview(url)
    if output is Output.TABLE:
        typer.echo(_status_text(seen))
    else:
        emit(seen, output)
    troubles = _troubles(seen) if check else []
    if troubles:
        more = [f"and {len(troubles) - _NAMED} more"] if len(troubles) > _NAMED else []
        typer.echo(f"governor: check failed: {'; '.join(troubles[:_NAMED] + more)}", err=True)
        raise typer.Exit(1)


def explain(
    fleet: FleetArgument = None,
    last: LastOption = False,
    at: AtOption = None,
    journal: JournalOption = None,
    url: UrlOption = DEFAULT_URL,
    output: OutputOption = Output.TABLE,
) -> None:
    """Explain a decision: steps, binding constraint, alternatives, what would have changed it, conditions.

    Exit code 2 when there is no such fleet or decision, or no daemon answers.

    Examples: governor explain; governor explain llm/llama-8b --at 2026-01-31T12:00:05 --journal .governor/journal
    """
    if last and at is not None:
        raise UsageError("--last and --at exclude each other: give one of them")
    moment = parse_instant("--at", at)
    run = _from_journal(journal, fleet, moment) if journal is not None else _from_daemon(url, fleet, moment)
    if output is Output.TABLE:
        typer.echo(explanation(run))
    else:
        emit(to_plain(run), output)


def _from_journal(journal: Path, fleet: str | None, moment: float | None) -> DecisionRun:
    known = fleets_in(journal)
    if not known:
        raise UsageError(f"the journal {journal} holds no decision yet: wait for the daemon's first cycle")
    key = _one_of(known, fleet, f"the journal {journal}")
    run = find_decision(journal, key, moment)
    if run is None:
        when = f" at or before {instant(moment)}" if moment is not None else ""
        raise UsageError(f"the journal {journal} has no decision about {key}{when}: give a later --at, or none")
    return run


def _from_daemon(url: str, fleet: str | None, moment: float | None) -> DecisionRun:
    known = [str(row["fleet"]) for row in overview(url)["fleets"]]
    key = _one_of(known, fleet, f"the daemon at {url}")
    plain = ask(url, "fleets", *key.split("/"), "decisions", limit=_DECISIONS)["decisions"]
    try:
        runs = [from_plain(DecisionRun, run) for run in plain]
    except ValidationError as error:
        raise UsageError(f"the daemon at {url} is of another version: use the `governor` that belongs to it") from error
    for run in runs:
        if moment is None or run.first_at <= moment:
            return run
    since = f" before {instant(runs[-1].first_at)}" if runs else ""
    raise UsageError(f"the daemon remembers no decision about {key}{since}: give --journal, its state folder")


def _one_of(known: list[str], fleet: str | None, place: str) -> str:
    if not known:
        raise UsageError(f"{place} knows no fleet yet: wait for its first cycle")
    if fleet is None and len(known) == 1:
        return known[0]
    matching = [key for key in known if fleet is not None and fleet in (key, key.partition("/")[2])]
    if len(matching) == 1:
        return matching[0]
    shown = ", ".join(known[:10]) + (", …" if len(known) > 10 else "")
    asked = f"no single fleet {fleet!r}" if fleet is not None else f"{len(known)} fleets"
    raise UsageError(f"{place} has {asked}: name one of {shown}")


def _troubles(seen: dict[str, Any]) -> list[str]:
    """Why somebody should look, most general first."""
    return [
        *([] if seen["fleets"] else [_no_fleet(seen)]),
        *seen["errors"],
        *(f"{fleet['fleet']}: {trouble}" for fleet in seen["fleets"] for trouble in _of_fleet(fleet)),
    ]


def _of_fleet(fleet: dict[str, Any]) -> list[str]:
    if fleet["state"]["level"] == "attention":
        return [fleet["state"]["sentence"]]
    lost = [c for c in fleet["amiss"] if c["type"] == "MetricsAvailable"]
    return [f"{c['type']} is {c['status']}: {c['message']}" for c in lost]


def _no_fleet(seen: dict[str, Any]) -> str:
    return "no fleet yet: the first cycle has not ended" if seen["at"] is None else "no fleet is controlled"


def _status_text(seen: dict[str, Any]) -> str:
    """Two lines for each fleet, which fit a terminal of 80 columns, and below them what is amiss."""
    if not seen["fleets"]:
        return "\n".join([_no_fleet(seen), *seen["errors"]])
    rows = [_HEADINGS, *map(_row, seen["fleets"])]
    widths = [max(len(row[i]) for row in rows) for i in range(len(_HEADINGS))]
    lines = [_aligned(_HEADINGS, widths)]
    for fleet, row in zip(seen["fleets"], rows[1:], strict=True):
        lines.append(_aligned(row, widths))
        lines.append(f"  {fleet['state']['sentence']} · {fleet['action']} ({fleet['reason']})")
        lines += [_amiss(condition) for condition in fleet["amiss"]]
    lines += [error for error in seen["errors"] if not any(error in line for line in lines)]
    if seen["dry_run"]:
        lines.append("dry run: nothing is written")
    return "\n".join(lines)


_HEADINGS = ("FLEET", "READY", "ARRIVING", "CARRIED", "TTFT", "TPOT", "COST")


def _row(fleet: dict[str, Any]) -> tuple[str, ...]:
    f = fleet["figures"]
    shown = [UNKNOWN if f[name] is None else str(f[name]) for name in ("ready", "desired")]
    return (
        fleet["fleet"],
        "/".join(shown),
        number(f["arrival_rps"], "/s"),
        number(f["capacity_rps"], "/s"),
        percent(f["ttft_within_ratio"]),
        percent(f["tpot_within_ratio"]),
        number(f["cost_per_hour"], "/h", 2),
    )


def _aligned(row: tuple[str, ...], widths: list[int]) -> str:
    """The name to the left, numbers to the right."""
    cells = [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
    return "  ".join([row[0].ljust(widths[0]), *cells])


def _amiss(condition: dict[str, Any]) -> str:
    what = f"{condition['type']} is {condition['status']} since {instant(condition['since'])}"
    return f"  ! {what} ({condition['reason']}): {condition['message']}"
