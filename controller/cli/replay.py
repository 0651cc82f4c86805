"""`governor replay`: decide a journal again, bit for bit."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from controller.cli.instants import parse_instant
from controller.cli.output import Output, OutputOption, emit
from controller.errors import UsageError
from controller.plan import plan
from controller.record.journal_search import fleets_in
from controller.record.replaying import Replayed, replay
from controller.record.wording import instant

JournalArgument = Annotated[
    Path, typer.Argument(help="A journal file, or the folder that holds them.", metavar="JOURNAL", show_default=False)
]
FleetOption = Annotated[str | None, typer.Option("--fleet", help="Only this fleet.", metavar="NAMESPACE/NAME")]
FromOption = Annotated[str | None, typer.Option("--from", help="Compare from this instant on (UTC).", metavar="TIME")]
ToOption = Annotated[str | None, typer.Option("--to", help="Compare up to this instant (UTC).", metavar="TIME")]


def replay_journal(
    journal: JournalArgument,
    fleet: FleetOption = None,
    begin: FromOption = None,
    end: ToOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Decide every recorded cycle again, and say whether the same comes out, bit for bit.

    Exit code 0: all equal. 1: some differ. 2: the journal cannot be read.

    Examples: governor replay .governor/journal; governor replay old.jsonl --fleet llm/llama-8b
    """
    found = replay(journal, plan, fleet, parse_instant("--from", begin), parse_instant("--to", end))
    if not found.equal + found.different:
        raise UsageError(_nothing(journal))
    if output is Output.TABLE:
        typer.echo(_text(found))
    else:
        emit(_facts(found), output)
    raise typer.Exit(1 if found.different else 0)


def _nothing(journal: Path) -> str:
    if not fleets_in(journal):
        return f"the journal {journal} holds no decision yet: wait for the daemon's first cycle"
    return f"nothing to replay in {journal}: no decision of that fleet and time; drop --fleet, --from, --to"


def _text(found: Replayed) -> str:
    files = f"{found.files} file" if found.files == 1 else f"{found.files} files"
    if found.first is None:
        return f"{found.equal} decisions of {files} replayed: all equal, bit for bit"
    first, difference, total = found.first, found.first.difference, found.equal + found.different
    return (
        f"{total} decisions of {files} replayed: {found.equal} equal, {found.different} different\n"
        f"first difference: {instant(first.at)}, fleet {first.fleet}, {first.where}\n"
        f"  {difference.path}: {difference.recorded} recorded, {difference.replayed} replayed"
    )


def _facts(found: Replayed) -> dict[str, Any]:
    first = found.first
    return {
        "equal": found.equal,
        "different": found.different,
        "files": found.files,
        "first_difference": None
        if first is None
        else {
            "at": first.at,
            "fleet": first.fleet,
            "where": first.where,
            **first.difference._asdict(),
        },
    }
