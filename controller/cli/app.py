"""The commands of `governor`, each imported when it is asked for: none waits for what another one needs."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typer.main import get_command

from controller.cli.version import program_version

_COMMANDS: Mapping[str, tuple[str, str]] = {
    "run": ("controller.cli.run", "run"),
    "local": ("controller.cli.local", "local"),
    "status": ("controller.cli.look", "status"),
    "explain": ("controller.cli.look", "explain"),
    "replay": ("controller.cli.replay", "replay_journal"),
    "crd": ("controller.cli.crd", "crd"),
}
"""Module and function by command, in the order of the help."""


class _Commands(TyperGroup):
    """Knows the commands' names at once, and each command when it is needed."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.commands: Any = dict.fromkeys(_COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002 - the signature is typer's
        """The command of that name, or None."""
        if cmd_name in _COMMANDS and self.commands[cmd_name] is None:
            self.commands[cmd_name] = _built(cmd_name)
        return self.commands.get(cmd_name)


def _built(name: str) -> Any:
    module, function = _COMMANDS[name]
    alone = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="rich")
    alone.command(name)(getattr(import_module(module), function))
    return get_command(alone)


app = typer.Typer(
    name="governor",
    cls=_Commands,
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
