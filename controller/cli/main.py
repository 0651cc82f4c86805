"""The `governor` command."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from controller.cli import local as local_command
from controller.cli import look
from controller.cli import replay as replay_command
from controller.cli import run as run_command
from controller.cli.compose import program_version
from controller.errors import GovernorError

app = typer.Typer(
    name="governor",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Holds vLLM fleets inside their latency objectives at the least cost, and explains every decision.\n\n"
    "Start with [bold]governor local[/bold]: the whole system on this machine, with simulated replicas.",
)


def _version(value: bool) -> None:  # noqa: FBT001 - typer's callback
    if value:
        typer.echo(f"governor {program_version()}")
        raise typer.Exit


@app.callback()
def _governor(
    _show: Annotated[
        bool, typer.Option("--version", help="Print the version and end.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Options of every command."""


app.command("run")(run_command.run)
app.command("local")(local_command.local)
app.command("status")(look.status)
app.command("explain")(look.explain)
app.command("replay")(replay_command.replay_journal)


def main() -> None:
    """Run the command; an expected error is one sentence on standard error and exit code 2."""
    try:
        app()
    except GovernorError as error:
        sys.stderr.write(f"governor: {error}\n")
        sys.exit(2)
